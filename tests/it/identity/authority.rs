//! A Pomerium that has nothing but a key set.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertifiedKey, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use uuid::Uuid;

use crate::fake::{Fake, answer, json_answer};

/// The host of the page.
pub(super) const HOST: &str = "chat.example.com";

/// Ana's claims, good for five minutes.
pub(super) fn claims() -> Value {
    json!({
        "aud": HOST, "iss": HOST, "iat": now(), "exp": now() + 300,
        "sub": "sub-ana", "user": "sub-ana", "sid": "sid-1", "jti": Uuid::new_v4(),
        "email": "ana@example.com", "name": "Ana", "groups": [],
    })
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// A P-256 key that signs assertions.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) kid: String,
    secret: EncodingKey,
    x: String,
    y: String,
}

impl Key {
    pub(super) fn generate() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        // An uncompressed point: 0x04, x, y.
        let point = &pair.public_key_raw()[1..];
        Self {
            kid: Uuid::new_v4().simple().to_string(),
            secret: EncodingKey::from_ec_der(pair.serialized_der()),
            x: URL_SAFE_NO_PAD.encode(&point[..32]),
            y: URL_SAFE_NO_PAD.encode(&point[32..]),
        }
    }

    /// The same key under another name.
    pub(super) fn named(self, kid: &str) -> Self {
        let kid = kid.to_owned();
        Self { kid, ..self }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.secret).unwrap()
    }

    /// An assertion that nobody signed (`alg: none`, RFC 7518, section 3.6).
    pub(super) fn unsigned(&self, claims: &Value) -> String {
        let header = json!({ "alg": "none", "typ": "JWT", "kid": self.kid });
        let [header, claims] =
            [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{claims}.")
    }

    /// An assertion whose signature takes the public key for a shared secret.
    pub(super) fn as_secret(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.kid.clone());
        let x = URL_SAFE_NO_PAD.decode(&self.x).unwrap();
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&x)).unwrap()
    }

    fn public(&self) -> Value {
        json!({
            "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256",
            "kid": self.kid, "x": self.x, "y": self.y,
        })
    }
}

/// What the key set's URL answers instead of the set: status and body.
type Odd = Option<(u16, &'static str)>;

/// The server of the key set.
pub(super) struct Authority {
    /// The certificate that clients must trust.
    pub(super) ca_pem: String,
    key: Arc<Mutex<Key>>,
    odd: Arc<Mutex<Odd>>,
    tls: TlsAcceptor,
    fake: Fake,
}

/// An [`Authority`] that does not run.
pub(super) struct Down {
    ca_pem: String,
    key: Arc<Mutex<Key>>,
    tls: TlsAcceptor,
    address: SocketAddr,
}

impl Authority {
    pub(super) async fn start() -> Self {
        wire::http::install_crypto();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let private = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(private));
        let down = Down {
            ca_pem: cert.pem(),
            key: Arc::new(Mutex::new(Key::generate())),
            tls: TlsAcceptor::from(Arc::new(config.unwrap())),
            address: ([127, 0, 0, 1], 0).into(),
        };
        down.start_again().await
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.fake.address
    }

    /// The key that is published.
    pub(super) fn key(&self) -> Key {
        self.key.lock().unwrap().clone()
    }

    /// Publishes this key instead.
    pub(super) fn publish(&self, key: Key) {
        *self.key.lock().unwrap() = key;
    }

    pub(super) fn answer_with(&self, odd: Odd) {
        *self.odd.lock().unwrap() = odd;
    }

    /// How often the set was fetched.
    pub(super) fn fetches(&self) -> usize {
        self.fake.seen().len()
    }

    pub(super) async fn end(self) {
        self.fake.end().await;
    }

    pub(super) async fn stop(self) -> Down {
        let address = self.address();
        self.fake.end().await;
        Down {
            ca_pem: self.ca_pem,
            key: self.key,
            tls: self.tls,
            address,
        }
    }
}

impl Down {
    /// Starts it where it was before.
    pub(super) async fn start_again(self) -> Authority {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let odd: Arc<Mutex<Odd>> = Arc::default();
        let (key, answers) = (self.key.clone(), odd.clone());
        let fake = Fake::serve(listener, Some(self.tls.clone()), move |seen| {
            assert_eq!(seen.http.uri.path(), "/.well-known/pomerium/jwks.json");
            let set = json!({ "keys": [key.lock().unwrap().public()] });
            std::future::ready(match *answers.lock().unwrap() {
                Some((status, body)) => answer(status, "application/json", body),
                None => json_answer(200, &set),
            })
        });
        Authority {
            ca_pem: self.ca_pem,
            key: self.key,
            odd,
            tls: self.tls,
            fake,
        }
    }
}
