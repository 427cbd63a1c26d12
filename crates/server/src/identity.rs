//! Who the caller is: the assertion that Pomerium signs for each request, and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chat::{
    failure::Failure,
    ids::{Sid, Subject},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde::Deserialize;
use wire::pomerium::Pomerium;

/// The header that carries the assertion. Its look-alikes (`-For`, `X-Pomerium-Claim-*`) can come
/// from anybody.
pub const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// How far Pomerium's clock and ours may be apart, seconds.
const LEEWAY_SECONDS: u64 = 60;

/// How long a key set is used before it is fetched again: a key that was withdrawn must not be
/// trusted for ever.
const KEYS_LIFE: Duration = Duration::from_hours(1);

/// How long it is used while it cannot be fetched again: a Pomerium that cannot be asked for its
/// keys for a while must not lock everybody out.
const KEYS_LAST: Duration = Duration::from_hours(24);

/// The shortest time between two fetches, so that forged `kid`s cannot make us flood Pomerium.
const FETCH_PAUSE: Duration = Duration::from_secs(5);

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `sub`: keys everything that is theirs.
    pub subject: Subject,
    /// `sid`: the Pomerium session the request belongs to.
    pub sid: Sid,
    /// What to call them: `name`, else `email`, else `sub`.
    pub name: String,
    /// `email`, if Pomerium knows it.
    pub email: Option<String>,
}

/// Why a request has no caller.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// No assertion came with it.
    #[error("the request carries no assertion of Pomerium's")]
    Missing,
    /// The assertion is not what it should be.
    #[error("the assertion does not verify: {0}")]
    Invalid(Flaw),
    /// The keys to verify it with cannot be had.
    #[error("Pomerium's keys cannot be fetched")]
    NoKeys(Failure),
}

/// What is wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is not what Pomerium signs.
    #[error("{0}")]
    Malformed(&'static str),
    /// Its time is over by our clock.
    #[error("it has expired")]
    Expired,
    /// Another route's, or another Pomerium's.
    #[error("{0}")]
    OtherHost(&'static str),
    /// It was not signed with a key that we know to be Pomerium's.
    #[error("{0}")]
    Key(&'static str),
    /// It names nobody, as those of a public route.
    #[error("it names nobody")]
    Nobody,
}

impl Flaw {
    /// What to do about it, and who has to. Signing in again mends only the first two.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Malformed(_) => "Reload the page to sign in again.",
            Self::Expired => {
                "Reload the page to sign in again. If that does not help, the clocks of Pomerium \
                 and Toolgate differ: the operator has to set them right."
            }
            Self::OtherHost(_) => {
                "The operator has to set TOOLGATE_PUBLIC_URL to the `from` of Toolgate's route in \
                 Pomerium."
            }
            Self::Key(_) => {
                "Reload the page in a moment. If that does not help, ask the operator: `toolgate \
                 doctor` looks at Pomerium's keys."
            }
            Self::Nobody => {
                "The operator has to give Toolgate's route in Pomerium a policy that lets in only \
                 who is signed in."
            }
        }
    }
}

/// Who says who the caller is.
#[derive(Debug)]
pub enum Authority {
    /// Pomerium, by the assertion of each request.
    Pomerium(Box<Verifier>),
    /// Nobody: Toolgate stands alone and serves the one person of this machine.
    Local,
}

/// Verifies assertions against Pomerium's key set.
#[derive(Debug)]
pub struct Verifier {
    pomerium: Pomerium,
    audience: String,
    keys: Mutex<Keys>,
    /// Held while the set is fetched: the requests that wait for it share one fetch.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Keys {
    by_kid: HashMap<String, Arc<Key>>,
    /// When the set was fetched.
    fetched: Option<Instant>,
    /// When a fetch was last tried, and why it failed if it did.
    tried: Option<(Instant, Option<Failure>)>,
}

#[derive(Debug)]
pub(crate) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The claims that count (Pomerium's attested identity, section "JWT").
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    sid: String,
    iss: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

impl Verifier {
    /// A verifier of assertions made for `audience`, the public host name.
    pub fn new(pomerium: Pomerium, audience: &str) -> Self {
        Self {
            pomerium,
            audience: audience.to_owned(),
            keys: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The caller an assertion names.
    pub async fn verify(&self, assertion: &str) -> Result<Person, Unverified> {
        let malformed = |what| Unverified::Invalid(Flaw::Malformed(what));
        let header = decode_header(assertion).map_err(|_| malformed("it is no JWT"))?;
        let kid = header.kid.ok_or(malformed("it names no key"))?;
        let key = match self.known(&kid, KEYS_LIFE) {
            Some(key) => key,
            None => self.fetch(&kid).await?,
        };
        // The algorithm is the key's: the token does not get to choose.
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        let claims = decode::<Claims>(assertion, &key.key, &validation)
            .map_err(|error| Unverified::Invalid(flaw(error.kind())))?
            .claims;
        self.person(claims)
    }

    fn person(&self, claims: Claims) -> Result<Person, Unverified> {
        let host = &self.audience;
        if claims.iss != *host && claims.iss != format!("https://{host}/") {
            let flaw = Flaw::OtherHost("another host issued it");
            return Err(Unverified::Invalid(flaw));
        }
        // A public route's requests carry an assertion of nobody.
        if claims.sub.is_empty() || claims.sid.is_empty() {
            return Err(Unverified::Invalid(Flaw::Nobody));
        }
        let email = claims.email.filter(|email| !email.is_empty());
        let name = claims
            .name
            .filter(|name| !name.is_empty())
            .or_else(|| email.clone());
        Ok(Person {
            name: name.unwrap_or_else(|| claims.sub.clone()),
            subject: Subject(claims.sub),
            sid: Sid(claims.sid),
            email,
        })
    }

    fn known(&self, kid: &str, life: Duration) -> Option<Arc<Key>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = keys.fetched.is_some_and(|at| at.elapsed() < life);
        if fresh {
            keys.by_kid.get(kid).cloned()
        } else {
            None
        }
    }

    /// Fetches the set, unless that was tried a moment ago.
    async fn fetch(&self, kid: &str) -> Result<Arc<Key>, Unverified> {
        let _fetching = self.fetching.lock().await;
        if let Some(key) = self.known(kid, KEYS_LIFE) {
            return Ok(key);
        }
        let just_tried = {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let tried = keys.tried.as_ref();
            tried.is_some_and(|(at, _)| at.elapsed() < FETCH_PAUSE)
        };
        if !just_tried {
            let set = self.pomerium.jwks().await;
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            match set {
                Ok(set) => {
                    keys.by_kid = usable_keys(&set);
                    keys.fetched = Some(Instant::now());
                    keys.tried = Some((Instant::now(), None));
                }
                Err(failure) => keys.tried = Some((Instant::now(), Some(failure))),
            }
        }
        if let Some(key) = self.known(kid, KEYS_LAST) {
            return Ok(key);
        }
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Err(match &keys.tried {
            Some((_, Some(failure))) => Unverified::NoKeys(failure.clone()),
            Some((_, None)) | None => Unverified::Invalid(Flaw::Key("its key is unknown")),
        })
    }
}

/// The keys of a set that assertions can be verified with, by their ids (RFC 7517; `"keys": null` is
/// an empty set).
pub(crate) fn usable_keys(set: &serde_json::Value) -> HashMap<String, Arc<Key>> {
    let keys = set.get("keys").and_then(serde_json::Value::as_array);
    keys.into_iter()
        .flatten()
        .filter_map(|value| {
            let jwk = Jwk::deserialize(value).ok()?;
            let algorithm = match &jwk.algorithm {
                AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                    Algorithm::ES256
                }
                AlgorithmParameters::RSA(_) => Algorithm::RS256,
                AlgorithmParameters::EllipticCurve(_)
                | AlgorithmParameters::OctetKey(_)
                | AlgorithmParameters::OctetKeyPair(_)
                | AlgorithmParameters::Other(_)
                | _ => return None,
            };
            let key = DecodingKey::from_jwk(&jwk).ok()?;
            Some((jwk.common.key_id?, Arc::new(Key { algorithm, key })))
        })
        .collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a caller is told the few that matter"
)]
fn flaw(kind: &ErrorKind) -> Flaw {
    match kind {
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::InvalidSignature => Flaw::Key("its signature is wrong"),
        ErrorKind::InvalidAudience => Flaw::OtherHost("it was made for another host"),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            Flaw::Malformed("its algorithm is not its key's")
        }
        ErrorKind::MissingRequiredClaim(_) => Flaw::Malformed("a required claim is missing"),
        _ => Flaw::Malformed("it is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_that_assertions_are_verified_with_are_usable() {
        let p256 = json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "kid": "a" });
        let rsa = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "b" });
        let p384 = json!({ "kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB", "kid": "a" });
        let nameless = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let empty = json!({ "kty": "RSA", "kid": "b" });
        for (set, ids) in [
            (json!({ "keys": null }), vec![]),
            (json!({}), vec![]),
            (json!({ "keys": [p384, nameless, empty] }), vec![]),
            (json!({ "keys": [rsa, p256, {}] }), vec!["a", "b"]),
        ] {
            let mut found: Vec<_> = usable_keys(&set).into_keys().collect();
            found.sort_unstable();
            assert_eq!(found, ids, "{set}");
        }
    }
}
