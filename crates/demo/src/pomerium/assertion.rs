//! The identity assertion: an ES256 token for each request, and the key set that verifies it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Error;
use super::sessions::Session;
use super::vault::unix;

/// The request header that carries the assertion.
pub(super) const ASSERTION_HEADER: &str = "x-pomerium-jwt-assertion";

/// Seconds from `iat` to `exp`.
const LIFETIME: u64 = 300;

/// The signing key in use.
pub(super) struct Signer {
    current: Mutex<Arc<SigningKey>>,
}

/// A P-256 key and how it is named and published.
pub(super) struct SigningKey {
    encoding: EncodingKey,
    public: Jwk,
}

/// Claims as Pomerium orders them.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    email: &'a str,
    exp: u64,
    groups: [&'a str; 0],
    iat: u64,
    iss: &'a str,
    jti: String,
    name: &'a str,
    sid: &'a str,
    sub: &'a str,
    user: &'a str,
}

#[derive(Serialize)]
struct JwkSet<'a> {
    keys: [&'a Jwk; 1],
}

#[derive(Serialize)]
struct Jwk {
    #[serde(rename = "use")]
    usage: &'static str,
    kty: &'static str,
    kid: String,
    crv: &'static str,
    alg: &'static str,
    x: String,
    y: String,
}

impl Signer {
    /// Starts with a new key.
    pub(super) fn generate() -> Result<Self, Error> {
        Ok(Self {
            current: Mutex::new(Arc::new(SigningKey::generate()?)),
        })
    }

    /// Replaces the key; the old one is not published any more.
    pub(super) fn rotate(&self) -> Result<(), Error> {
        let next = Arc::new(SigningKey::generate()?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The assertion for a request to `host`; without a session it names nobody.
    pub(super) fn assert(&self, session: Option<&Session>, host: &str) -> Result<String, Error> {
        self.key().sign(session, host, SystemTime::now())
    }

    /// An assertion that looks right and is signed with a key that nobody published.
    pub(super) fn forge(&self, session: &Session, host: &str) -> Result<String, Error> {
        let mut forged = SigningKey::generate()?;
        forged.public.kid.clone_from(&self.key().public.kid);
        forged.sign(Some(session), host, SystemTime::now())
    }

    /// The published key set, as JSON.
    pub(super) fn jwks(&self) -> Result<Vec<u8>, serde_json::Error> {
        let key = self.key();
        serde_json::to_vec(&JwkSet {
            keys: [&key.public],
        })
    }

    fn key(&self) -> Arc<SigningKey> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl SigningKey {
    fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // An uncompressed point: 0x04, x, y.
        let (x, y) = match pair.public_key_raw().split_first() {
            Some((4, point)) if point.len() == 64 => point.split_at(32),
            Some(_) | None => return Err(Error::SigningKey),
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638, in hex as Pomerium writes it.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(Self {
            encoding: EncodingKey::from_ec_der(pair.serialized_der()),
            public: Jwk {
                usage: "sig",
                kty: "EC",
                kid: format!("{:x}", Sha256::digest(thumbprint)),
                crv: "P-256",
                alg: "ES256",
                x,
                y,
            },
        })
    }

    fn sign(
        &self,
        session: Option<&Session>,
        host: &str,
        now: SystemTime,
    ) -> Result<String, Error> {
        let sid = session.map(|session| session.sid.to_string());
        let user = session.map(|session| session.user);
        let subject = user.map_or("", |user| user.subject());
        let issued = unix(now);
        let claims = Claims {
            aud: host,
            email: user.map_or("", |user| user.email()),
            exp: issued + LIFETIME,
            groups: [],
            iat: issued,
            iss: host,
            jti: Uuid::new_v4().to_string(),
            name: user.map_or("", |user| user.name()),
            sid: sid.as_deref().unwrap_or_default(),
            sub: subject,
            user: subject,
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.public.kid.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.encoding)?)
    }
}
