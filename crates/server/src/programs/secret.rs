//! Secrets that a person hands to a command: in a file, as arguments can be read by everybody on
//! the machine.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use secrecy::SecretString;

use super::Error;

/// The longest secret taken, bytes: what fits in a request's header beside the others.
const LONGEST: u64 = 16 * 1024;

/// The one line of `path`, or of standard input where that is `-`; `option` is what the file was
/// named with.
pub(crate) fn read(option: &str, path: &Path) -> Result<SecretString, Error> {
    let read = if path == Path::new("-") {
        line_of(io::stdin().lock())
    } else {
        File::open(path).and_then(line_of)
    };
    read.map_err(|why| Error::failed(format!("{option} {}: {why}", path.display())))
}

fn line_of(source: impl Read) -> io::Result<SecretString> {
    let mut text = String::new();
    let read = source.take(LONGEST + 1).read_to_string(&mut text)?;
    let line = text.trim();
    let wrong = if read as u64 > LONGEST {
        "it is too long for a secret"
    } else if line.is_empty() {
        "it is empty"
    } else if line.contains(char::is_control) {
        "it is more than one line"
    } else {
        return Ok(line.into());
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, wrong))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_is_one_line_and_no_error_quotes_it() {
        let long = "x".repeat(20_000);
        for (wrong, why) in [
            ("", "empty"),
            (" \n", "empty"),
            ("sk-1\nsk-2\n", "more than one line"),
            (long.as_str(), "too long"),
        ] {
            let error = line_of(wrong.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("sk-"), "{error}");
        }
        let key = line_of(&b"  sk-1 \r\n"[..]).unwrap();
        assert_eq!(key.expose_secret(), "sk-1");
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_option() {
        let error = read("--key-file", Path::new("/nowhere/key")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("--key-file /nowhere/key: "), "{error}");
    }
}
