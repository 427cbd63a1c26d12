//! What proves to the other side for whom a request is, and where that may go.

use std::fmt;

use ::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::{Origin, Url};

use super::HttpError;

/// What a request carries as `Authorization`. There is no request with two of them, and each kind
/// has its own hosts: see [`Http::send`](super::Http::send).
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// Pomerium's External Token (or a person's programmatic token, which is worth as much), sent
    /// as bearer. Only Pomerium's hosts get one, over TLS or on this machine.
    ExternalToken(SecretString),
    /// What the operator configured for one server. Only that server gets it.
    Configured(ServerKey),
}

impl Credential {
    /// The secret, if there is one.
    pub fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::None => None,
            Self::ExternalToken(token) => Some(token),
            Self::Configured(key) => key.bearer.as_ref(),
        }
    }

    /// Whether both carry the same secret, or none.
    pub fn is_like(&self, other: &Self) -> bool {
        let text = |credential: &Self| {
            let secret = credential.secret();
            secret.map(|secret| secret.expose_secret().to_owned())
        };
        text(self) == text(other)
    }

    /// The value of `Authorization` (RFC 6750, section 2.1).
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, HttpError> {
        let Some(secret) = self.secret() else {
            return Ok(None);
        };
        let text = format!("Bearer {}", secret.expose_secret());
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| HttpError::Refused("not sent: the token is no header value"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The operator's credential for one server, bound to the server's origin. There may be no secret
/// in it: then it only says that the server is the operator's and gets nothing else.
#[derive(Clone)]
pub struct ServerKey {
    origin: Origin,
    bearer: Option<SecretString>,
}

impl ServerKey {
    /// `bearer` for the server at `url`, whatever the path.
    pub fn new(url: &Url, bearer: Option<SecretString>) -> Self {
        Self {
            origin: url.origin(),
            bearer,
        }
    }

    pub(super) fn fits(&self, url: &Url) -> bool {
        self.origin == url.origin()
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey")
            .field("origin", &self.origin.ascii_serialization())
            .finish_non_exhaustive()
    }
}
