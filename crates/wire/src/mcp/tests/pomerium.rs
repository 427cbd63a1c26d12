//! Tokens: where they go, and which.

use super::*;
use crate::{
    http::tests::certificate,
    tap::{Exchange, Tap},
};

/// A token that another takes the place of, as pages bring them.
#[derive(Default)]
struct Tokens(Mutex<Vec<&'static str>>);

impl Tokens {
    fn renew(&self, token: &'static str) {
        self.0.lock().unwrap().push(token);
    }
}

impl CredentialSource for Tokens {
    fn credential(&self) -> Credential {
        let tokens = self.0.lock().unwrap();
        let newest = tokens.last();
        newest.map_or(Credential::None, |token| {
            Credential::ExternalToken((*token).into())
        })
    }
}

/// Options for a server on a host of Pomerium's, which takes the token that `valid` holds, over
/// HTTP/2 with TLS; its URL has another scheme and port.
async fn behind_pomerium(valid: Arc<Mutex<&'static str>>, tokens: Arc<Tokens>) -> ConnectOptions {
    let (tls, ca) = certificate("db.localhost");
    let port = serve_with(Some(tls), move |seen| {
        let expected = format!("Bearer {}", valid.lock().unwrap());
        async move {
            assert_eq!(seen.http.version, ::http::Version::HTTP_2);
            let authority = seen.http.uri.authority().map(ToString::to_string);
            assert_eq!(authority.as_deref(), Some("db.localhost:8000"));
            if seen.header("authorization") != Some(&expected) {
                let body = json!({ "error": "Unauthorized", "request_id": "r" });
                return json_answer(401, &body);
            }
            seen.plain()
        }
    })
    .await;
    let options = options("http://db.localhost:8000/mcp".parse().unwrap());
    let http = Http::new(HttpOptions {
        pomerium_addr: Some(format!("127.0.0.1:{port}")),
        ca_pem: Some(ca),
        tap: Arc::new(TraceTap),
        tasks: options.tasks.clone(),
        shutdown: options.shutdown.clone(),
    })
    .unwrap();
    http.trust_pomerium_host("db.localhost");
    ConnectOptions {
        http,
        credentials: tokens,
        ..options
    }
}

#[tokio::test]
async fn each_request_carries_the_newest_token_and_a_stale_one_is_told() {
    let (valid, tokens) = (Arc::new(Mutex::new("TE-1")), Arc::new(Tokens::default()));
    tokens.renew("TE-1");
    let options = behind_pomerium(valid.clone(), tokens.clone()).await;
    let connection = Connection::connect(options).await.unwrap();

    *valid.lock().unwrap() = "TE-2";
    let stale = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&stale), Refusal::StaleToken);
    tokens.renew("TE-2");
    let fresh = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&fresh), Outcome::Ok);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn without_a_token_the_server_is_asked_and_the_token_is_what_is_missing() {
    let (valid, tokens) = (Arc::new(Mutex::new("TE-1")), Arc::new(Tokens::default()));
    let error = Connection::connect(behind_pomerium(valid, tokens).await)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::StaleToken(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_pomerium_did_not_name_gets_no_token() {
    let asked = Counter::default();
    let counted = asked.clone();
    let url = serve(move |seen| {
        counted.next();
        async move { seen.plain() }
    })
    .await;
    let tokens = Arc::new(Tokens::default());
    tokens.renew("TE-1");
    let options = ConnectOptions {
        credentials: tokens,
        ..options(url)
    };
    let error = Connection::connect(options).await.unwrap_err();
    assert!(
        error.failure().message.contains("only to hosts"),
        "{error:?}"
    );
    assert_eq!(asked.count(), 0);
}

/// Whom each exchange was recorded for.
#[derive(Default)]
struct Records(Mutex<Vec<(String, Option<Subject>)>>);

impl Tap for Records {
    fn finished(&self, exchange: &Exchange) {
        let record = (
            exchange.method.to_string(),
            exchange.context.subject.clone(),
        );
        self.0.lock().unwrap().push(record);
    }
}

/// Ana, who has no token.
struct Ana;

impl CredentialSource for Ana {
    fn credential(&self) -> Credential {
        Credential::None
    }

    fn subject(&self) -> Option<Subject> {
        Some(Subject::from("ana"))
    }
}

#[tokio::test]
async fn every_exchange_is_recorded_for_its_person() {
    let url = serve(|seen| async move {
        match seen.method() {
            "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
            _ => seen.plain(),
        }
    })
    .await;
    let (options, records) = (options(url), Arc::new(Records::default()));
    let http = Http::new(HttpOptions {
        pomerium_addr: None,
        ca_pem: None,
        tap: records.clone(),
        tasks: options.tasks.clone(),
        shutdown: options.shutdown.clone(),
    });
    let connection = Connection::connect(ConnectOptions {
        http: http.unwrap(),
        credentials: Arc::new(Ana),
        ..options
    });
    let connection = connection.await.unwrap();
    last(connection.call(a_call("echo", json!({})))).await;
    connection.close().await;

    let records = records.0.lock().unwrap();
    for method in ["POST", "GET", "DELETE"] {
        assert!(
            records.iter().any(|(sent, _)| sent == method),
            "{records:?}"
        );
    }
    let ana = Some(Subject::from("ana"));
    assert!(
        records.iter().all(|(_, subject)| *subject == ana),
        "{records:?}"
    );
}
