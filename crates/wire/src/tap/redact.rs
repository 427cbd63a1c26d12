//! What the tap never keeps. Redacted at capture: no later step sees a secret.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::http::{HeaderMap, header::AUTHORIZATION};
use chat::ids::Subject;
use memchr::{memchr_iter, memmem::Finder};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

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

/// Parameters of a URL's query whose value is a secret.
const SECRET_PARAMETERS: [&str; 14] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "client_secret",
    "code",
    "key",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
];

/// How long a secret is looked for after its last use: twice as long as Pomerium's tokens live.
const LIFE: Duration = Duration::from_mins(10);

/// Secrets of one person that are looked for: more tokens than come in [`LIFE`], and some
/// credentials of servers.
const OF_ONE: usize = 16;

/// Bytes below which a secret is only removed from headers: anything shorter is also a word.
const SHORTEST: usize = 5;

/// The secrets that were lately sent, by the person they were sent for: what one server was sent
/// may come back in the answer of another, or in the next request to the model.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<HashMap<Option<Subject>, VecDeque<Seen>>>);

#[derive(Debug)]
struct Seen {
    secret: Secret,
    last: Instant,
}

/// A secret to look for.
#[derive(Clone, Debug)]
pub(super) struct Secret(Arc<Finder<'static>>);

impl Secret {
    fn new(text: &str) -> Self {
        Self(Arc::new(Finder::new(text.as_bytes()).into_owned()))
    }

    fn bytes(&self) -> &[u8] {
        self.0.needle()
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.find(bytes).is_some()
    }
}

impl Secrets {
    /// What must not be recorded of an exchange of this person's, in which `secret` is sent, or
    /// what `headers` carry as bearer.
    pub(super) fn of(
        &self,
        subject: Option<&Subject>,
        secret: Option<&SecretString>,
        headers: &HeaderMap,
    ) -> Vec<Secret> {
        let now = Instant::now();
        let text = secret
            .map(ExposeSecret::expose_secret)
            .or_else(|| bearer(headers));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = subject.cloned();
        if !all.contains_key(&key) {
            all.retain(|_, seen| seen.iter().any(|seen| !seen.is_over(now)));
        }
        let seen = all.entry(key).or_default();
        seen.retain(|seen| !seen.is_over(now));
        if let Some(text) = text.filter(|text| text.len() >= SHORTEST) {
            let known = seen
                .iter_mut()
                .find(|seen| seen.secret.bytes() == text.as_bytes());
            if let Some(known) = known {
                known.last = now;
            } else {
                if seen.len() == OF_ONE {
                    seen.pop_front();
                }
                let secret = Secret::new(text);
                seen.push_back(Seen { secret, last: now });
            }
        }
        seen.iter().map(|seen| seen.secret.clone()).collect()
    }
}

impl Seen {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > LIFE
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The headers as text, without secrets; those of `secrets` also where nobody would expect them.
pub(super) fn headers(headers: &HeaderMap, secrets: &[Secret]) -> Vec<(String, String)> {
    let redact = |(name, value): (&::http::HeaderName, &::http::HeaderValue)| {
        let secret = value.is_sensitive()
            || SECRET.contains(&name.as_str())
            || secrets.iter().any(|secret| secret.is_in(value.as_bytes()));
        let text = if secret {
            REDACTED.to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        (name.as_str().to_owned(), text)
    };
    headers.iter().map(redact).collect()
}

/// The URL without credentials.
pub(super) fn url(url: &Url, secrets: &[Secret]) -> Url {
    let holds = |text: &str| secrets.iter().any(|secret| secret.is_in(text.as_bytes()));
    let mut redacted = url.clone();
    // URLs that can be asked for have a place for them.
    redacted.set_username("").ok();
    redacted.set_password(None).ok();
    if holds(url.path()) {
        redacted.set_path(REDACTED);
    }
    let secret = |name: &str, value: &str| {
        let named = SECRET_PARAMETERS
            .iter()
            .any(|secret| secret.eq_ignore_ascii_case(name));
        named || holds(value) || holds(name)
    };
    if url.query_pairs().any(|(name, value)| secret(&name, &value)) {
        let mut pairs = redacted.query_pairs_mut();
        pairs.clear();
        for (name, value) in url.query_pairs() {
            let value = if secret(&name, &value) {
                REDACTED
            } else {
                &value
            };
            pairs.append_pair(if holds(&name) { REDACTED } else { &name }, value);
        }
        drop(pairs);
    }
    if url.fragment().is_some() {
        redacted.set_fragment(None);
    }
    redacted
}

/// Text without secrets.
pub(super) fn text(text: &str, secrets: &[Secret]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mask(&mut bytes, secrets);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Puts as many other bytes in the place of each secret: sizes and offsets stay what they are.
pub(super) fn mask(bytes: &mut [u8], secrets: &[Secret]) {
    for secret in secrets {
        let mut from = 0;
        while let Some(at) = bytes.get(from..).and_then(|rest| secret.0.find(rest)) {
            let start = from + at;
            let end = start + secret.bytes().len();
            if let Some(place) = bytes.get_mut(start..end) {
                place.fill(b'*');
                for (byte, shown) in place.iter_mut().zip(REDACTED.bytes()) {
                    *byte = shown;
                }
            }
            from = end;
        }
    }
}

/// How many of the last bytes may be the start of a secret that goes on in the next ones.
pub(super) fn undecided(bytes: &[u8], secrets: &[Secret]) -> usize {
    let longest = |secret: &Secret| {
        let secret = secret.bytes();
        let (first, others) = secret.split_first()?;
        let tail = bytes.len().saturating_sub(others.len());
        let tail = bytes.get(tail..)?;
        memchr_iter(*first, tail)
            .filter_map(|at| tail.get(at..))
            .find(|end| secret.starts_with(end))
            .map(<[u8]>::len)
    };
    secrets.iter().filter_map(longest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(text)).collect()
    }

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
        let seen = headers(&map, &secrets(&["TE-42"]));
        let kept: Vec<_> = seen.iter().filter(|(_, value)| value != REDACTED).collect();
        assert_eq!(
            kept,
            [&("accept".to_owned(), "application/json".to_owned())]
        );
        assert_eq!(seen.len(), SECRET.len() + 3);
    }

    #[test]
    fn a_url_keeps_no_credentials() {
        let secrets = secrets(&["TE-42/+ x"]);
        for (given, kept) in [
            ("https://h/p?a=b%20c&d", "https://h/p?a=b%20c&d"),
            ("https://u:pw@h/p#f", "https://h/p"),
            (
                "https://h/p?Token=x&a=b",
                "https://h/p?Token=%5Bredacted%5D&a=b",
            ),
            (
                "https://h/p?a=1&q=TE-42%2F%2B+x",
                "https://h/p?a=1&q=%5Bredacted%5D",
            ),
        ] {
            let given = given.parse().unwrap();
            assert_eq!(url(&given, &secrets).as_str(), kept, "{given}");
        }
        let path = "https://h/TE-42-path/x".parse().unwrap();
        let path = url(&path, &[Secret::new("TE-42-path")]);
        assert_eq!(path.as_str(), "https://h/[redacted]");
    }

    #[test]
    fn a_masked_body_is_as_long_as_before() {
        let mut body = br#"{"a":"TE-1234567890","b":"TE-1234567890TE-1234567890"}"#.to_vec();
        let before = body.len();
        mask(&mut body, &secrets(&["TE-1234567890", "not there"]));
        let text = String::from_utf8(body).unwrap();
        assert_eq!(
            text,
            r#"{"a":"[redacted]***","b":"[redacted]***[redacted]***"}"#
        );
        assert_eq!(text.len(), before);
        let mut short = b"x secret1 y".to_vec();
        mask(&mut short, &secrets(&["secret1"]));
        assert_eq!(short, b"x [redact y");
    }

    #[test]
    fn the_start_of_a_secret_at_the_end_is_undecided() {
        let secrets = secrets(&["abcabd", "xyz"]);
        for (bytes, undecided_bytes) in [
            ("", 0),
            ("hello", 0),
            ("hello a", 1),
            ("hello abcab", 5),
            ("hello abcabc", 3),
            ("abcabd", 0),
            ("hello xy", 2),
            ("bca", 1),
        ] {
            let found = undecided(bytes.as_bytes(), &secrets);
            assert_eq!(found, undecided_bytes, "{bytes}");
        }
    }

    #[test]
    fn what_was_sent_for_a_person_is_looked_for_in_all_of_theirs() {
        let seen = Secrets::default();
        let (ana, ben) = (Subject::from("ana"), Subject::from("ben"));
        let none = HeaderMap::new();
        let te = SecretString::from("TE-of-ana");
        assert_eq!(seen.of(Some(&ana), Some(&te), &none).len(), 1);
        let key = HeaderMap::from_iter([(AUTHORIZATION, "bearer sk-model-key".parse().unwrap())]);
        let of_model: Vec<_> = seen.of(Some(&ana), None, &key);
        let texts: Vec<_> = of_model.iter().map(Secret::bytes).collect();
        assert_eq!(texts, [b"TE-of-ana".as_slice(), b"sk-model-key"]);
        assert_eq!(seen.of(Some(&ben), None, &none).len(), 0);
        for number in 0..100 {
            let te = SecretString::from(format!("TE-number-{number}"));
            seen.of(Some(&ana), Some(&te), &none);
        }
        assert_eq!(seen.of(Some(&ana), None, &none).len(), OF_ONE);
        // A word is not looked for everywhere.
        let short = SecretString::from("key1");
        assert_eq!(seen.of(None, Some(&short), &none).len(), 0);
    }
}
