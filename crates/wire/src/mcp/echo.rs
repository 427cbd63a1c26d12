//! Secrets that a server says back. What a request carried as proof of who asks goes no further
//! than here: not to rmcp, a log, a page or a model.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{HeaderMap, HeaderValue};
use memchr::memmem::Finder;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::{trouble::Trouble, wire::SESSION};
use crate::http::Credential;

/// What stands in a secret's place.
const REDACTED: &str = "[redacted]";

/// Bytes below which a secret is left alone: anything shorter is also a word.
const SHORTEST: usize = 8;

/// Secrets of a connection that are looked for beside the one that the request itself carried:
/// more tokens than live at the same time.
const KEPT: usize = 8;

/// A secret to look for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Secret(Arc<Finder<'static>>);

impl Secret {
    fn of(credential: &Credential) -> Option<Self> {
        let text = credential.secret()?.expose_secret().as_bytes();
        let finder = (text.len() >= SHORTEST).then(|| Finder::new(text).into_owned())?;
        Some(Self(Arc::new(finder)))
    }

    fn is_of(&self, credential: &Credential) -> bool {
        let secret = credential.secret();
        secret.is_some_and(|secret| secret.expose_secret().as_bytes() == self.0.needle())
    }
}

/// The secrets that the requests of one connection carried last, the newest at the end.
#[derive(Default)]
pub(super) struct Secrets(Mutex<VecDeque<Secret>>);

impl Secrets {
    /// Remembers what a request carries; returns it, if it is to be looked for.
    pub(super) fn learn(&self, credential: &Credential) -> Option<Secret> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|secret| secret.is_of(credential));
        let secret = match known {
            Some(place) => kept.remove(place)?,
            None => Secret::of(credential)?,
        };
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(secret.clone());
        Some(secret)
    }

    /// What is looked for in an answer to a request that carried `own`.
    pub(super) fn echo(&self, own: Option<&Secret>) -> Echo {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets: Vec<Secret> = kept.iter().cloned().collect();
        drop(kept);
        if let Some(own) = own
            && !secrets.iter().any(|known| Arc::ptr_eq(&known.0, &own.0))
        {
            secrets.push(own.clone());
        }
        // One may be the beginning of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.needle().len()));
        Echo(secrets)
    }
}

/// The secrets that an answer must not hand on.
pub(super) struct Echo(Vec<Secret>);

impl Echo {
    /// Redacts every string of a message, names of members too. (Two members whose names differ
    /// only in a secret become one.)
    pub(super) fn redact(&self, message: &mut Value) {
        // `serde_json` reads no more than 128 levels.
        match message {
            Value::String(text) => self.redact_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(members) => {
                self.redact_names(members);
                members.values_mut().for_each(|value| self.redact(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Redacts what a person is told.
    pub(super) fn redact_trouble(&self, mut trouble: Trouble) -> Trouble {
        self.redact_text(&mut trouble.failure.message);
        trouble
    }

    /// Redacts every header that has a secret in it, but for the session's id: only the server
    /// gets that.
    pub(super) fn redact_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if name != SESSION && self.is_in(value.as_bytes()) {
                *value = HeaderValue::from_static(REDACTED);
            }
        }
    }

    fn redact_text(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.redacted(text) {
            *text = redacted;
        }
    }

    fn redact_names(&self, members: &mut Map<String, Value>) {
        if members.keys().any(|name| self.is_in(name.as_bytes())) {
            let renamed = std::mem::take(members).into_iter();
            *members = renamed
                .map(|(name, value)| (self.redacted(&name).into_owned(), value))
                .collect();
        }
    }

    fn redacted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut redacted = Cow::Borrowed(text);
        for secret in &self.0 {
            if let Some(without) = replaced(&redacted, &secret.0) {
                redacted = Cow::Owned(without);
            }
        }
        redacted
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|secret| secret.0.find(bytes).is_some())
    }
}

/// The text without what is looked for; none if it is not there.
fn replaced(text: &str, secret: &Finder<'_>) -> Option<String> {
    let mut places = secret.find_iter(text.as_bytes()).peekable();
    places.peek()?;
    let (mut without, mut from) = (String::with_capacity(text.len()), 0);
    for place in places {
        // A secret is text: it begins and ends where characters do.
        without.push_str(text.get(from..place)?);
        without.push_str(REDACTED);
        from = place + secret.needle().len();
    }
    without.push_str(text.get(from..)?);
    Some(without)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(text: impl Into<String>) -> Credential {
        Credential::ExternalToken(text.into().into())
    }

    #[test]
    fn every_string_loses_the_secret_and_nothing_else_changes() {
        let secrets = Secrets::default();
        let own = secrets.learn(&token("TE/1+23=="));
        let mut message = json!({
            "text": "aTE/1+23==TE/1+23==é TE/1+23",
            "deep": [[{ "a TE/1+23==": { "TE/1+23==": 1.50 } }], null, true],
            "é": "other",
        });
        secrets.echo(own.as_ref()).redact(&mut message);
        assert_eq!(
            message,
            json!({
                "text": "a[redacted][redacted]é TE/1+23",
                "deep": [[{ "a [redacted]": { "[redacted]": 1.50 } }], null, true],
                "é": "other",
            })
        );
    }

    #[test]
    fn text_without_a_secret_is_not_copied() {
        let secrets = Secrets::default();
        secrets.learn(&token("TE-12345"));
        let echo = secrets.echo(None);
        assert!(matches!(echo.redacted("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_short_secret_is_a_word() {
        let secrets = Secrets::default();
        assert!(secrets.learn(&token("1234567")).is_none());
        assert!(secrets.learn(&Credential::None).is_none());
        let mut text = "1234567".to_owned();
        secrets.echo(None).redact_text(&mut text);
        assert_eq!(text, "1234567");
    }

    #[test]
    fn a_longer_secret_goes_before_one_that_it_begins_with() {
        let secrets = Secrets::default();
        secrets.learn(&token("TE-12345"));
        secrets.learn(&token("TE-12345-more"));
        let mut text = "TE-12345-more TE-12345".to_owned();
        secrets.echo(None).redact_text(&mut text);
        assert_eq!(text, "[redacted] [redacted]");
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_request_always_knows_its_own() {
        let secrets = Secrets::default();
        let own = secrets.learn(&token("TE-of-this-request"));
        for number in 0..100 {
            secrets.learn(&token(format!("TE-number-{number}")));
            secrets.learn(&token("TE-again-and-again"));
        }
        assert_eq!(secrets.echo(None).0.len(), KEPT);
        assert_eq!(secrets.echo(own.as_ref()).0.len(), KEPT + 1);
        assert!(secrets.echo(None).is_in(b"TE-again-and-again"));
        assert!(secrets.echo(own.as_ref()).is_in(b"TE-of-this-request"));
    }
}
