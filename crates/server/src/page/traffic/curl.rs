//! A recorded request as a command for a shell.

/// Bytes of a body that an argument can hold: Linux takes 128 KiB an argument, with its end.
const ARGUMENT_BYTES: usize = 100 * 1024;

/// What stands where a secret stood (`wire::tap`).
const REDACTED: &str = "[redacted]";

/// The file that holds a body which is no argument.
const BODY_FILE: &str = "body.bin";

/// Headers that belong to one connection: curl sets its own.
const OWN: [&str; 6] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
];

/// A request to be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
    /// All of the body was recorded.
    pub(super) whole: bool,
    pub(super) token: Token<'a>,
}

/// What its `Authorization` was.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// The model endpoint's key.
    Key,
    /// Pomerium's token; people get theirs with `toolgate token` and the origin of the page.
    Pomerium(&'a str),
    /// What the operator set for the server.
    Configured,
}

/// The command, for any POSIX shell. Secrets are variables; the first lines say what to put there.
pub(super) fn command(request: &Request<'_>) -> String {
    let mut words = format!("curl --globoff --request {}", quote(request.method));
    let mut hints = Vec::new();
    let mut add = |argument: String| {
        words.push_str(" \\\n  ");
        words.push_str(&argument);
    };
    add(format!("--url {}", quote(request.url)));
    for (name, value) in request.headers {
        if OWN.contains(&name.as_str()) {
            continue;
        }
        if value == REDACTED {
            let (variable, hint) = request.token.variable(name);
            let scheme = if name == "authorization" {
                "Bearer "
            } else {
                ""
            };
            let before = quote(&format!("{name}: {scheme}"));
            add(format!("--header {before}\"${variable}\""));
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        } else if value.is_empty() {
            add(format!("--header {}", quote(&format!("{name};"))));
        } else {
            add(format!("--header {}", quote(&format!("{name}: {value}"))));
        }
    }
    if !request.body.is_empty() || !request.whole {
        match argument(request) {
            Ok(body) => add(format!("--data-raw {}", quote(body))),
            Err(why) => {
                add(format!("--data-binary @{BODY_FILE}"));
                hints.push(format!("{BODY_FILE}: download the body; {why}."));
            }
        }
    }
    let mut command = String::new();
    for hint in hints {
        command.push_str("# ");
        command.push_str(&hint);
        command.push('\n');
    }
    command + &words
}

impl Token<'_> {
    /// The shell's variable for the secret in this header, and how to set it.
    fn variable(self, header: &str) -> (&'static str, String) {
        match (self, header) {
            (Self::Key, _) => (
                "OPENAI_API_KEY",
                "OPENAI_API_KEY: the key of the model endpoint.".to_owned(),
            ),
            (Self::Pomerium(origin), "authorization") => {
                ("TE", format!("TE=\"$(toolgate token {})\"", quote(origin)))
            }
            (Self::Pomerium(_), _) => ("SECRET", format!("SECRET: the value of {header}.")),
            (Self::Configured, _) => (
                "TOKEN",
                "TOKEN: what the operator set for this server.".to_owned(),
            ),
        }
    }
}

/// The body as an argument, or why it cannot be one.
fn argument<'a>(request: &Request<'a>) -> Result<&'a str, &'static str> {
    if !request.whole {
        return Err("not all of it was recorded");
    }
    if request.body.len() > ARGUMENT_BYTES {
        return Err("it is too long for an argument");
    }
    let text = str::from_utf8(request.body).map_err(|_| "it is no text")?;
    // A terminal obeys them when they are pasted; a NUL ends an argument.
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) {
        return Err("there are control characters in it");
    }
    Ok(text)
}

/// The text as one word of a POSIX shell (2.2.2 "Single-Quotes"), which finds nothing in it to do.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    fn request<'a>(headers: &'a [(String, String)], body: &'a [u8]) -> Request<'a> {
        Request {
            method: "POST",
            url: "https://db.example.com/mcp?a=[1]&b='x'",
            headers,
            body,
            whole: true,
            token: Token::Pomerium("https://chat.example.com"),
        }
    }

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// The arguments that a shell gives to curl.
    fn run(command: &str) -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let curl = directory.path().join("curl");
        fs::write(&curl, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n").unwrap();
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .env_clear()
            .env("PATH", directory.path())
            .env("TE", "a token's $value")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}\n{command}");
        assert!(output.stderr.is_empty(), "{output:?}\n{command}");
        let arguments = output.stdout.strip_suffix(b"\0").unwrap();
        arguments
            .split(|byte| *byte == 0)
            .map(<[u8]>::to_vec)
            .collect()
    }

    #[test]
    fn a_shell_hands_every_byte_to_curl() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            "it's; rm -rf ~ && $(reboot) `reboot` $HOME \\ \" ! * ? [a] {b,c} #",
            "two\nlines\n\n\tand a tab\n",
            "'''''",
            "\\'",
            "@/etc/passwd",
            "ünï \u{202e}cödé",
            " ",
        ] {
            let headers = [
                header("content-type", "application/json"),
                header("x-odd", "a 'b' \"c\" $d `e` \\"),
                header("x-empty", ""),
                header("content-length", "7"),
                header("authorization", REDACTED),
            ];
            let request = request(&headers, body.as_bytes());
            let arguments = run(&command(&request));
            let expected = [
                "--globoff",
                "--request",
                "POST",
                "--url",
                request.url,
                "--header",
                "content-type: application/json",
                "--header",
                "x-odd: a 'b' \"c\" $d `e` \\",
                "--header",
                "x-empty;",
                "--header",
                "authorization: Bearer a token's $value",
                "--data-raw",
                body,
            ];
            let expected = expected.map(|argument| argument.as_bytes().to_vec());
            assert_eq!(arguments, expected);
        }
    }

    #[test]
    fn what_is_no_argument_is_a_file() {
        let long = vec![b'x'; ARGUMENT_BYTES + 1];
        let bodies: [&[u8]; 4] = [b"a\0b", b"\xff\xfe", b"\x1b[2J", &long];
        for body in bodies {
            let command = command(&request(&[], body));
            let arguments = run(&command);
            let last = arguments.last().unwrap();
            assert_eq!(last, b"@body.bin", "{command}");
            assert!(command.starts_with("# body.bin: download the body; "));
        }
        let cut = Request {
            whole: false,
            ..request(&[], b"half of")
        };
        assert!(command(&cut).contains("not all of it was recorded"));
        let empty = command(&request(&[], b""));
        assert!(!empty.contains("--data"), "{empty}");
    }

    #[test]
    fn a_secret_is_a_variable_that_is_explained() {
        let secret = [header("authorization", REDACTED)];
        let pomerium = command(&request(&secret, b""));
        assert!(pomerium.starts_with("# TE=\"$(toolgate token https://chat.example.com)\"\n"));
        let key = Request {
            token: Token::Key,
            ..request(&secret, b"")
        };
        assert!(command(&key).contains("'authorization: Bearer '\"$OPENAI_API_KEY\""));
        let configured = Request {
            token: Token::Configured,
            ..request(&secret, b"")
        };
        assert!(command(&configured).contains("Bearer '\"$TOKEN\""));
        assert!(!command(&request(&secret, b"")).contains("redacted"));
    }
}
