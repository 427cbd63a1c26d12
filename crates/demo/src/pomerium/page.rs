//! The pages: sign-in, signed out, and errors. Self-contained, without scripts.

use http::StatusCode;

use super::sessions::DemoUser;

const SHELL: &str = include_str!("../../assets/pomerium/shell.html");
const STYLE: &str = include_str!("../../assets/pomerium/style.css");
const SIGN_IN: &str = include_str!("../../assets/pomerium/sign_in.html");
const SIGN_IN_USER: &str = include_str!("../../assets/pomerium/sign_in_user.html");
const MESSAGE: &str = include_str!("../../assets/pomerium/message.html");
const LINK: &str = include_str!("../../assets/pomerium/link.html");

/// Where people choose who they are; the form goes back to where the page came from.
pub(super) fn sign_in(destination: &str) -> String {
    let users: String = DemoUser::ALL
        .map(|user| {
            fill(
                SIGN_IN_USER,
                &[
                    ("email", &escape(user.email())),
                    ("name", &escape(user.name())),
                ],
            )
        })
        .concat();
    let content = fill(
        SIGN_IN,
        &[("users", &users), ("destination", &escape(destination))],
    );
    shell("Sign in", &content)
}

/// The session has ended; `again` leads back.
pub(super) fn signed_out(again: &str) -> String {
    let said = "Your session has ended on every page and for every program that used it.";
    shell(
        "Signed out",
        &message("Signed out", said, &link(again, "Sign in again")),
    )
}

/// Something went wrong with signing in; `again` starts anew.
pub(super) fn sign_in_failed(said: &str, again: &str) -> String {
    let title = "This did not sign you in";
    shell(title, &message(title, said, &link(again, "Try again")))
}

/// An error that comes from here and not from the upstream.
pub(super) fn error(status: StatusCode, title: &str, said: &str) -> String {
    let title = format!("{} {title}", status.as_u16());
    shell(&title, &message(&title, said, ""))
}

fn message(title: &str, said: &str, action: &str) -> String {
    fill(
        MESSAGE,
        &[
            ("title", &escape(title)),
            ("said", &escape(said)),
            ("action", action),
        ],
    )
}

fn link(url: &str, name: &str) -> String {
    fill(LINK, &[("url", &escape(url)), ("name", &escape(name))])
}

fn shell(title: &str, content: &str) -> String {
    fill(
        SHELL,
        &[
            ("title", &escape(title)),
            ("style", STYLE),
            ("content", content),
        ],
    )
}

/// Puts each value in the place of its `{{name}}`, in one pass: a value is never looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_never_templates() {
        let html = sign_in("http://x/?a=<script>&b={{users}}\"");
        assert!(!html.contains("<script>"));
        assert!(html.contains("http://x/?a=&lt;script&gt;&amp;b={{users}}&quot;"));
    }

    #[test]
    fn the_sign_in_page_names_everybody_and_says_what_it_is() {
        let html = sign_in("http://chat.localhost:8000/");
        for words in ["Sign in as Ana", "Sign in as Ben", "stand-in for Pomerium"] {
            assert!(html.contains(words), "{words}");
        }
        assert!(!html.contains("{{"));
        assert!(!html.contains("//fonts.") && !html.contains("src=\"http"));
    }
}
