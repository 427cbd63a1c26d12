//! Requests with and without assertions, in front of a server whose keys come over TLS.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::HeaderValue;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::*;
use crate::tests::{Era, Running, text};

const HOST: &str = "db.example.com";

/// A key pair as Pomerium signs with.
struct Signer {
    kid: &'static str,
    pair: KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.der_bytes()[1..].split_at(32);
        json!({
            "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        encode(
            &header,
            claims,
            &EncodingKey::from_ec_der(&self.pair.serialize_der()),
        )
        .unwrap()
    }
}

/// Serves key sets over TLS under a certificate of its own.
struct Keys {
    address: SocketAddr,
    ca_pem: Vec<u8>,
    set: Arc<Mutex<Value>>,
    fetched: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl Keys {
    async fn serve(set: Value) -> Self {
        let certified = generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                PrivateKeyDer::Pkcs8(key),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys = Self {
            address: listener.local_addr().unwrap(),
            ca_pem: certified.cert.pem().into_bytes(),
            set: Arc::new(Mutex::new(set)),
            fetched: Arc::default(),
            tasks: TaskTracker::new(),
        };
        let (set, fetched) = (keys.set.clone(), keys.fetched.clone());
        keys.tasks.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    continue;
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tls.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                assert!(head.starts_with("get /.well-known/pomerium/jwks.json http/1.1"));
                assert!(head.contains("host: db.example.com\r\n"), "{head}");
                fetched.fetch_add(1, Ordering::Relaxed);
                let body = set.lock().unwrap().to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                tls.write_all(answer.as_bytes()).await.unwrap();
                tls.shutdown().await.ok();
            }
        });
        keys
    }

    fn pomerium(&self) -> Pomerium {
        Pomerium {
            host: HOST.to_owned(),
            jwks: None,
            address: Some(self.address.to_string()),
            ca_pem: Some(self.ca_pem.clone()),
        }
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::Relaxed)
    }
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    json!({
        "aud": HOST, "iss": HOST, "iat": now.as_secs(), "exp": now.as_secs() + 300,
        "sub": "u1", "user": "u1", "sid": "s1", "email": "ana@example.com", "name": "Ana",
        "groups": ["sales", "admins"],
    })
}

fn changed(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

async fn refused(server: &Running, assertions: &[String]) -> (u16, Value) {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let mut request = server.post(&message, &[]);
    for assertion in assertions {
        let value = HeaderValue::from_str(assertion).unwrap();
        request.headers_mut().append(ASSERTION, value);
    }
    let response = server.send(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_request_without_a_valid_assertion_is_refused_and_told_why() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    let keys = Keys::serve(json!({ "keys": [signer.jwk()] })).await;
    let server = Running::behind(Some(keys.pomerium())).await;
    let past = claims()["iat"].as_u64().unwrap() - 61;
    let hs256 = encode(
        &Header {
            kid: Some("k1".to_owned()),
            ..Header::new(Algorithm::HS256)
        },
        &claims(),
        &EncodingKey::from_secret(b"guess"),
    )
    .unwrap();
    for (assertions, why) in [
        (vec![], "carries no X-Pomerium-Jwt-Assertion"),
        (vec!["nonsense".to_owned()], "it is no JWT"),
        (vec![signer.sign(&claims()); 2], "more than one"),
        (vec![stranger.sign(&claims())], "signature is wrong"),
        (vec![hs256], "algorithm is not its key's"),
        (vec![signer.sign(&changed("exp", past))], "it has expired"),
        (
            vec![signer.sign(&changed("aud", "chat.example.com"))],
            "made for another host",
        ),
        (
            vec![signer.sign(&changed("iss", "https://evil.example.com/"))],
            "another host issued it",
        ),
        (vec![signer.sign(&changed("sub", ""))], "it names nobody"),
        (vec![signer.sign(&changed("sub", 7))], "malformed"),
        (
            vec![Signer::new("k2").sign(&claims())],
            "its key is unknown",
        ),
    ] {
        let (status, body) = refused(&server, &assertions).await;
        assert_eq!((status, &body["error"]), (403, &json!("forbidden")));
        assert!(body["message"].as_str().unwrap().contains(why), "{body}");
    }
    // One fetch for all: the unknown key came within the pause.
    assert_eq!(keys.fetched(), 1);
    server.stop().await;
}

#[tokio::test]
async fn whoami_says_whom_the_assertion_of_that_very_request_names() {
    let signer = Signer::new("k1");
    let keys = Keys::serve(json!({ "keys": [signer.jwk()] })).await;
    let mut server = Running::behind(Some(keys.pomerium())).await;
    for era in [Era::Legacy, Era::Modern] {
        server.headers = vec![(ASSERTION, signer.sign(&claims()))];
        let mut client = server.client(era).await;
        let told = client.call("whoami", json!({})).await;
        assert_eq!(
            told["structuredContent"],
            json!({
                "verified": true, "sub": "u1", "email": "ana@example.com", "name": "Ana",
                "groups": ["sales", "admins"],
            })
        );
        for part in [
            "name: Ana",
            "email: ana@example.com",
            "sub: u1",
            "sales, admins",
        ] {
            assert!(text(&told).contains(part), "{told}");
        }
        let session = client.session.take();
        // The same session, somebody else: issued in the other form, and a minute late.
        let mut ben = changed("iss", format!("https://{HOST}/"));
        ben["sub"] = json!("u2");
        ben["name"] = json!("");
        ben["exp"] = json!(claims()["iat"].as_u64().unwrap() - 30);
        ben["groups"] = json!([]);
        server.headers = vec![(ASSERTION, signer.sign(&ben))];
        let mut client = server.client(era).await;
        client.session = session.or(client.session);
        let told = client.call("whoami", json!({})).await;
        assert_eq!(told["structuredContent"]["sub"], "u2", "{told}");
        assert_eq!(told["structuredContent"]["name"], Value::Null);
        assert!(text(&told).contains("groups: none"), "{told}");
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_pomerium_nobody_is_named_whatever_a_request_claims() {
    let mut server = Running::behind(None).await;
    server.headers = vec![(ASSERTION, Signer::new("k1").sign(&claims()))];
    let client = server.client(Era::Modern).await;
    let told = client.call("whoami", json!({})).await;
    assert_eq!(told["structuredContent"]["verified"], false);
    assert_eq!(told["structuredContent"]["sub"], Value::Null);
    assert!(text(&told).contains("Nobody verifies who asks"), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_fault_of_the_caller() {
    let signer = Signer::new("k1");
    let keys = Keys::serve(json!({ "keys": [signer.jwk()] })).await;
    let other = Keys::serve(json!({ "keys": [signer.jwk()] })).await;
    // The certificate of what answers is not to be trusted.
    let pomerium = Pomerium {
        ca_pem: Some(other.ca_pem.clone()),
        ..keys.pomerium()
    };
    let server = Running::behind(Some(pomerium)).await;
    let (status, body) = refused(&server, &[signer.sign(&claims())]).await;
    assert_eq!((status, keys.fetched()), (503, 0));
    assert!(body["message"].as_str().unwrap().contains("keys"), "{body}");
    // Whether it serves, anybody may ask.
    crate::check(&server.address.to_string()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_empty_key_set_is_fetched_again_and_then_has_the_key() {
    let signer = Signer::new("k1");
    let keys = Keys::serve(json!({ "keys": null })).await;
    let mut set = KeySet::new(
        &format!("https://{HOST}{JWKS_PATH}").parse().unwrap(),
        Some(keys.address.to_string()),
        Some(&keys.ca_pem),
    )
    .unwrap();
    assert!(matches!(
        set.find("k1").await,
        Err(Unverified::Invalid("its key is unknown"))
    ));
    *keys.set.lock().unwrap() = json!({ "keys": [signer.jwk()] });
    assert!(set.find("k1").await.is_err());
    assert_eq!(keys.fetched(), 1);
    set.pause = Duration::ZERO;
    set.find("k1").await.unwrap();
    set.find("k1").await.unwrap();
    assert_eq!(keys.fetched(), 2);
}

#[test]
fn what_cannot_be_verified_stops_the_start() {
    let pomerium = |host: &str| Pomerium {
        host: host.to_owned(),
        jwks: None,
        address: None,
        ca_pem: None,
    };
    for wrong in [
        pomerium(""),
        pomerium("https://db.example.com"),
        pomerium("db.example.com:443"),
        Pomerium {
            jwks: Some("http://db.example.com/jwks.json".parse().unwrap()),
            ..pomerium(HOST)
        },
        Pomerium {
            ca_pem: Some(b"no certificate".to_vec()),
            ..pomerium(HOST)
        },
    ] {
        assert!(Verifier::new(wrong.clone()).is_err(), "{wrong:?}");
    }
    Verifier::new(pomerium(HOST)).unwrap();
}
