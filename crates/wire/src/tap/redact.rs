//! What the tap never keeps. Redacted at capture: no later step sees a secret.

use ::http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

/// What stands in a secret's place.
const REDACTED: &str = "[redacted]";

/// Headers whose value is a secret, whoever sends them.
const SECRET: [&str; 9] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "x-goog-api-key",
    "x-pomerium-authorization",
    "x-pomerium-jwt-assertion",
];

/// The headers as text, without secrets; `token` is also removed where nobody would expect it.
pub(super) fn headers(headers: &HeaderMap, token: Option<&SecretString>) -> Vec<(String, String)> {
    let redact = |(name, value): (&::http::HeaderName, &::http::HeaderValue)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let secret = value.is_sensitive()
            || SECRET.contains(&name.as_str())
            || token.is_some_and(|token| contains(&text, token));
        let text = if secret {
            REDACTED.to_owned()
        } else {
            text.into_owned()
        };
        (name.as_str().to_owned(), text)
    };
    headers.iter().map(redact).collect()
}

fn contains(text: &str, token: &SecretString) -> bool {
    let token = token.expose_secret();
    !token.is_empty() && text.contains(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_by_name_by_mark_and_by_value() {
        let mut map = HeaderMap::new();
        for name in SECRET {
            map.insert(name, "s3cret".parse().unwrap());
        }
        map.insert("x-echo", "seen: TE-42".parse().unwrap());
        map.insert("x-marked", {
            let mut value: ::http::HeaderValue = "s3cret".parse().unwrap();
            value.set_sensitive(true);
            value
        });
        map.insert("accept", "application/json".parse().unwrap());
        let seen = headers(&map, Some(&SecretString::from("TE-42")));
        let kept: Vec<_> = seen.iter().filter(|(_, value)| value != REDACTED).collect();
        assert_eq!(
            kept,
            [&("accept".to_owned(), "application/json".to_owned())]
        );
        assert_eq!(seen.len(), SECRET.len() + 3);
    }
}
