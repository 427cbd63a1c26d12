//! Pomerium's keys: fetched when one is missing, not more often than its patience allows.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{StatusCode, Uri};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use rustls::{ClientConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::Deserialize;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Unverified;
use crate::get::get;

/// How long a key set is used before it is fetched again: a key that was withdrawn must not be
/// trusted for ever.
const LIFE: Duration = Duration::from_hours(1);

/// How long it is used while it cannot be fetched again.
const LAST: Duration = Duration::from_hours(24);

/// How soon the set is fetched again, so that made-up key ids cannot make us flood Pomerium.
const FETCH_PAUSE: Duration = Duration::from_secs(5);

/// How long one fetch may take, the connection included.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

type BoxError = Box<dyn StdError + Send + Sync>;

/// The keys that assertions are signed with.
#[derive(Debug)]
pub(super) struct KeySet {
    source: Source,
    /// The shortest time between two fetches.
    pub(super) pause: Duration,
    known: Mutex<Known>,
    /// Held while the set is fetched: the requests that wait for it share one fetch.
    fetching: tokio::sync::Mutex<()>,
}

/// A key, with the one algorithm it is for.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

#[derive(Debug, Default)]
struct Known {
    by_kid: HashMap<String, Arc<Key>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    reachable: bool,
}

/// Where the set comes from.
struct Source {
    host: String,
    port: u16,
    authority: String,
    path: String,
    address: Option<String>,
    tls: TlsConnector,
}

impl KeySet {
    /// Fetches nothing yet.
    pub(super) fn new(
        url: &Uri,
        address: Option<String>,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, BoxError> {
        let (Some("https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err("the keys are at an https:// URL".into());
        };
        let source = Source {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(443),
            authority: authority.to_string(),
            path: url
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            address,
            tls: TlsConnector::from(Arc::new(client_config(ca_pem)?)),
        };
        Ok(Self {
            source,
            pause: FETCH_PAUSE,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// The key of this id.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<Key>, Unverified> {
        if let Some(key) = self.known().get(kid, LIFE) {
            return Ok(key);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(key) = self.known().get(kid, LIFE) {
            return Ok(key);
        }
        let tried = self.known().tried;
        if tried.is_none_or(|at| at.elapsed() >= self.pause) {
            let set = self.source.fetch().await;
            self.known().take(set);
        }
        let known = self.known();
        match known.get(kid, LAST) {
            Some(key) => Ok(key),
            None if known.reachable => Err(Unverified::Invalid("its key is unknown")),
            None => Err(Unverified::NoKeys),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic while the lock was held leaves a set that is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&self, kid: &str, life: Duration) -> Option<Arc<Key>> {
        let fresh = self.fetched.is_some_and(|at| at.elapsed() < life);
        self.by_kid.get(kid).filter(|_| fresh).cloned()
    }

    fn take(&mut self, set: io::Result<Value>) {
        let now = Instant::now();
        self.tried = Some(now);
        self.reachable = set.is_ok();
        match set {
            Ok(set) => {
                self.by_kid = parse(&set);
                self.fetched = Some(now);
            }
            Err(error) => tracing::warn!(%error, "cannot fetch Pomerium's keys"),
        }
    }
}

impl Source {
    async fn fetch(&self) -> io::Result<Value> {
        let (status, body) = timeout(FETCH_LIMIT, self.get())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"))??;
        if status != StatusCode::OK {
            return Err(io::Error::other(format!(
                "{}{} answers {status}",
                self.authority, self.path
            )));
        }
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    async fn get(&self) -> io::Result<(StatusCode, bytes::Bytes)> {
        let tcp = match &self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect((self.host.as_str(), self.port)).await?,
        };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let tls = self.tls.connect(name, tcp).await?;
        get(tls, &self.authority, &self.path).await
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// TLS towards Pomerium: the system's roots and those in `ca_pem`.
fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, BoxError> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default())
        .collect::<Result<Vec<_>, _>>()?;
    if ca_pem.is_some() && extra.is_empty() {
        return Err("the CA file holds no PEM certificate".into());
    }
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The usable keys of a set (RFC 7517; `"keys": null` is an empty one).
fn parse(set: &Value) -> HashMap<String, Arc<Key>> {
    let keys = set.get("keys").and_then(Value::as_array);
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
