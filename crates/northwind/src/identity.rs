//! Who asks: the assertion that Pomerium signs for each request, and nothing else.
//!
//! Only where the operator named a route ([`Pomerium`]); without one, nobody verifies who asks.

mod keys;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::json;

use self::keys::KeySet;
use crate::serve::Error;

/// The header that carries the assertion. Its look-alikes (`-For`, `X-Pomerium-Claim-*`) can come
/// from anybody.
const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// Where each of Pomerium's hosts has its key set.
const JWKS_PATH: &str = "/.well-known/pomerium/jwks.json";

/// How far Pomerium's clock and ours may be apart, seconds.
const LEEWAY_SECONDS: u64 = 60;

/// Whose word about the caller is taken: the Pomerium in front of this server.
#[derive(Debug, Clone)]
pub struct Pomerium {
    /// The public host of the route that leads here, without scheme and port: the `aud` of its
    /// assertions.
    pub host: String,
    /// Where its keys are, an `https` URL; `None` is `https://HOST/.well-known/pomerium/jwks.json`.
    pub jwks: Option<Uri>,
    /// `host:port` to dial for the keys when DNS would not lead there. The certificate is still
    /// that of the URL's host.
    pub address: Option<String>,
    /// Root certificates beside the system's, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// A verified caller: what Pomerium's assertion says about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) sub: String,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) groups: Vec<String>,
}

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
enum Unverified {
    #[error(
        "The request carries no X-Pomerium-Jwt-Assertion. Ask through Pomerium, on a route with pass_identity_headers: true."
    )]
    Missing,
    #[error("The X-Pomerium-Jwt-Assertion does not verify: {0}.")]
    Invalid(&'static str),
    #[error("Pomerium's keys cannot be fetched, so nobody can be verified.")]
    NoKeys,
}

/// Verifies assertions made for one host.
#[derive(Debug)]
pub(crate) struct Verifier {
    host: String,
    keys: KeySet,
}

/// The claims that count (Pomerium's "JWT verification", "JWT data").
#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
}

/// Lets only requests through whose assertion verifies, and tells what is behind who asks: a
/// [`Caller`] in the request's extensions.
pub(crate) async fn admit(
    State(verifier): State<Arc<Verifier>>,
    mut request: Request,
    next: Next,
) -> Response {
    match verifier.caller(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(unverified) => unverified.into_response(),
    }
}

impl Verifier {
    pub(crate) fn new(pomerium: Pomerium) -> Result<Self, Error> {
        let Pomerium {
            host,
            jwks,
            address,
            ca_pem,
        } = pomerium;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if host.is_empty() || !host.chars().all(legal) {
            return Err(Error::Pomerium(
                "its host is a name without scheme and port".into(),
            ));
        }
        let host = host.to_ascii_lowercase();
        let jwks = match jwks {
            Some(jwks) => jwks,
            None => format!("https://{host}{JWKS_PATH}")
                .parse()
                .map_err(|error| Error::Pomerium(Box::new(error)))?,
        };
        Ok(Self {
            keys: KeySet::new(&jwks, address, ca_pem.as_deref()).map_err(Error::Pomerium)?,
            host,
        })
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unverified> {
        let mut assertions = headers.get_all(ASSERTION).iter();
        let (Some(assertion), rest) = (assertions.next(), assertions.next()) else {
            return Err(Unverified::Missing);
        };
        if rest.is_some() {
            return Err(Unverified::Invalid("there is more than one"));
        }
        let assertion = assertion.to_str();
        let assertion = assertion.map_err(|_| Unverified::Invalid("it is no JWT"))?;
        self.verify(assertion).await
    }

    async fn verify(&self, assertion: &str) -> Result<Caller, Unverified> {
        let header = decode_header(assertion).map_err(|_| Unverified::Invalid("it is no JWT"))?;
        let kid = header.kid.ok_or(Unverified::Invalid("it names no key"))?;
        let key = self.keys.find(&kid).await?;
        // The algorithm is the key's: the token does not get to choose.
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[&self.host]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        let claims = decode::<Claims>(assertion, &key.key, &validation)
            .map_err(|error| Unverified::Invalid(reason(error.kind())))?
            .claims;
        let host = &self.host;
        if claims.iss != *host && claims.iss != format!("https://{host}/") {
            return Err(Unverified::Invalid("another host issued it"));
        }
        // A public route's requests carry an assertion of nobody.
        if claims.sub.is_empty() {
            return Err(Unverified::Invalid("it names nobody"));
        }
        Ok(Caller {
            sub: claims.sub,
            email: claims.email.filter(|email| !email.is_empty()),
            name: claims.name.filter(|name| !name.is_empty()),
            groups: claims.groups.unwrap_or_default(),
        })
    }
}

impl IntoResponse for Unverified {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            // Behind Pomerium a 401 asks for an account, and its words are lost on the way; a 403
            // that asks for no scope passes as it is (v0.33, `extproc/handler.go`).
            Self::Missing | Self::Invalid(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NoKeys => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        tracing::debug!(reason = %self, "a request was refused");
        let body = json!({ "error": error, "message": self.to_string() });
        (status, Json(body)).into_response()
    }
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

#[cfg(test)]
mod tests;
