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
    Invalid(&'static str),
    /// The keys to verify it with cannot be had.
    #[error("Pomerium's keys cannot be fetched")]
    NoKeys(Failure),
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
struct Key {
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
        let header = decode_header(assertion).map_err(|_| Unverified::Invalid("it is no JWT"))?;
        let kid = header.kid.ok_or(Unverified::Invalid("it names no key"))?;
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
            .map_err(|error| Unverified::Invalid(reason(error.kind())))?
            .claims;
        self.person(claims)
    }

    fn person(&self, claims: Claims) -> Result<Person, Unverified> {
        let host = &self.audience;
        if claims.iss != *host && claims.iss != format!("https://{host}/") {
            return Err(Unverified::Invalid("another host issued it"));
        }
        // A public route's requests carry an assertion of nobody.
        if claims.sub.is_empty() || claims.sid.is_empty() {
            return Err(Unverified::Invalid("it names nobody"));
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
                    keys.by_kid = parse(&set);
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
            Some((_, None)) | None => Unverified::Invalid("its key is unknown"),
        })
    }
}

/// The usable keys of a set (RFC 7517; `"keys": null` is an empty one).
fn parse(set: &serde_json::Value) -> HashMap<String, Arc<Key>> {
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
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAudience => "it was made for another host",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "its algorithm is not its key's"
        }
        ErrorKind::MissingRequiredClaim(_) => "a required claim is missing",
        _ => "it is malformed",
    }
}
