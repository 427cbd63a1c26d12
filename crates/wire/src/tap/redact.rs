//! What the tap never keeps. Redacted at capture: no later step sees a secret.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::http::{HeaderMap, header::AUTHORIZATION};
use chat::{ids::Subject, limits::clip};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::secret::{Needle, needles};

/// What stands in a secret's place.
const REDACTED: &str = "[redacted]";

/// Headers whose value is a secret, whoever sends them.
const SECRET: [&str; 13] = [
    "api-key",
    "authentication-info",
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-goog-api-key",
    "x-pomerium-authorization",
    "x-pomerium-jwt-assertion",
];

/// Headers whose value is a URL, or ends with one (`refresh: 0; url=…`).
const WITH_URL: [&str; 4] = ["content-location", "location", "referer", "refresh"];

/// Bytes of a header's value that are kept.
const VALUE_BYTES: usize = 8 * 1024;

/// Bytes of the headers of a request or an answer that are kept, with their names: several times
/// what servers take.
const HEADERS_BYTES: usize = 64 * 1024;

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
pub(super) struct Secrets {
    sent: Mutex<HashMap<Option<Subject>, VecDeque<Seen>>>,
    /// Grows with every secret that is new.
    version: AtomicU64,
}

#[derive(Debug)]
struct Seen {
    secret: Secret,
    last: Instant,
}

/// A secret to look for, in every way it may be written.
#[derive(Clone, Debug)]
pub(super) struct Secret(Arc<[Needle]>);

impl Secret {
    fn new(text: &str) -> Self {
        Self(needles(text.as_bytes()).into())
    }

    /// The secret itself.
    fn bytes(&self) -> &[u8] {
        self.0.first().map(Needle::text).unwrap_or_default()
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|needle| needle.find(bytes, 0).is_some())
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
        let mut all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
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
                if seen.len() == OF_ONE
                    && let Some(oldest) =
                        (0..seen.len()).min_by_key(|at| seen.get(*at).map(|it| it.last))
                {
                    seen.remove(oldest);
                }
                let secret = Secret::new(text);
                seen.push_back(Seen { secret, last: now });
                self.version.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut secrets: Vec<_> = seen.iter().map(|seen| seen.secret.clone()).collect();
        longest_first(&mut secrets);
        secrets
    }

    /// Which secrets there are: another number when there may be others.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// What is looked for in an exchange that began with `own`, with what was sent for the person
    /// since: an answer that takes long, as a standing stream does, outlives the token it was asked
    /// for with.
    pub(super) fn with_new(&self, subject: Option<&Subject>, own: &[Secret]) -> Vec<Secret> {
        let mut all = own.to_vec();
        for secret in self.of(subject, None, &HeaderMap::new()) {
            if !own.iter().any(|it| Arc::ptr_eq(&it.0, &secret.0)) {
                all.push(secret);
            }
        }
        longest_first(&mut all);
        all
    }
}

/// One may begin with another: of the longer one nothing may be left.
fn longest_first(secrets: &mut [Secret]) {
    secrets.sort_by_key(|secret| Reverse(secret.bytes().len()));
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
/// A long value is cut, and headers that do not fit into [`HEADERS_BYTES`] are left out.
pub(super) fn headers(headers: &HeaderMap, secrets: &[Secret]) -> Vec<(String, String)> {
    let redact = |(name, value): (&::http::HeaderName, &::http::HeaderValue)| {
        let secret = value.is_sensitive()
            || SECRET.contains(&name.as_str())
            || secrets.iter().any(|secret| secret.is_in(value.as_bytes()));
        let text = if secret {
            REDACTED.to_owned()
        } else if WITH_URL.contains(&name.as_str()) {
            without_query(&String::from_utf8_lossy(value.as_bytes()), secrets)
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        (name.as_str().to_owned(), clip(text, VALUE_BYTES))
    };
    let mut room = HEADERS_BYTES;
    let mut fits = |(name, text): &(String, String)| {
        let left = room.checked_sub(name.len() + text.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    headers.iter().map(redact).filter(|it| fits(it)).collect()
}

/// A header's URL without credentials; of one that is not absolute, or not alone, without all that
/// may have some.
fn without_query(value: &str, secrets: &[Secret]) -> String {
    if let Ok(absolute) = Url::parse(value) {
        return url(&absolute, secrets).into();
    }
    match value.split_once(['?', '#']) {
        Some((before, _)) => format!("{before}?{REDACTED}"),
        None => value.to_owned(),
    }
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
    for needle in secrets.iter().flat_map(|secret| secret.0.iter()) {
        let mut from = 0;
        while let Some(found) = needle.find(bytes, from) {
            from = found.end;
            if let Some(place) = bytes.get_mut(found) {
                place.fill(b'*');
                for (byte, shown) in place.iter_mut().zip(REDACTED.bytes()) {
                    *byte = shown;
                }
            }
        }
    }
}

/// How many of the last bytes may be the start of a secret that goes on in the next ones.
pub(super) fn undecided(bytes: &[u8], secrets: &[Secret]) -> usize {
    let needles = secrets.iter().flat_map(|secret| secret.0.iter());
    let longest = needles.map(|needle| needle.undecided(bytes)).max();
    longest.unwrap_or(0)
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
    fn headers_of_any_length_are_kept_up_to_a_limit() {
        let mut map = HeaderMap::new();
        for number in 0..40 {
            let name: ::http::HeaderName = format!("x-{number}").parse().unwrap();
            map.insert(name, "v".repeat(20_000).parse().unwrap());
        }
        map.insert("x-last", "small".parse().unwrap());
        let kept = headers(&map, &[]);
        let bytes: usize = kept
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(bytes <= HEADERS_BYTES, "{bytes}");
        assert!(kept.iter().all(|(_, value)| value.len() <= VALUE_BYTES));
        assert!(kept[0].1.ends_with("v…"));
        // What is short has room behind what is long.
        assert!(kept.contains(&("x-last".to_owned(), "small".to_owned())));
    }

    #[test]
    fn a_url_in_a_header_keeps_no_credentials() {
        for (name, given, kept) in [
            (
                "location",
                "https://i/cb?code=x&a=b",
                "https://i/cb?code=%5Bredacted%5D&a=b",
            ),
            ("location", "https://i/cb#access_token=x", "https://i/cb"),
            ("location", "/cb?code=x", "/cb?[redacted]"),
            ("refresh", "0; url=/cb?code=x", "0; url=/cb?[redacted]"),
            ("content-location", "/a/b", "/a/b"),
            ("x-other", "/cb?code=x", "/cb?code=x"),
        ] {
            let name: ::http::HeaderName = name.parse().unwrap();
            let map = HeaderMap::from_iter([(name, given.parse().unwrap())]);
            assert_eq!(headers(&map, &[])[0].1, kept, "{given}");
        }
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
        assert_eq!(texts, [b"sk-model-key".as_slice(), b"TE-of-ana"]);
        assert_eq!(seen.of(Some(&ben), None, &none).len(), 0);
        for number in 0..100 {
            let te = SecretString::from(format!("TE-number-{number}"));
            seen.of(Some(&ana), Some(&te), &none);
        }
        assert_eq!(seen.of(Some(&ana), None, &none).len(), OF_ONE);
        // What is in use stays, however many others come.
        for number in 0..100 {
            seen.of(Some(&ana), Some(&te), &none);
            let other = SecretString::from(format!("TE-other-{number}"));
            seen.of(Some(&ana), Some(&other), &none);
        }
        let left = seen.of(Some(&ana), None, &none);
        assert!(left.iter().any(|secret| secret.bytes() == b"TE-of-ana"));
        let mut body = b"TE-of-ana, TE-of-ana-too".to_vec();
        let longer = SecretString::from("TE-of-ana-too");
        mask(&mut body, &seen.of(Some(&ana), Some(&longer), &none));
        assert_eq!(body, b"[redacted, [redacted]***");
        // A word is not looked for everywhere.
        let short = SecretString::from("key1");
        assert_eq!(seen.of(None, Some(&short), &none).len(), 0);
    }
}
