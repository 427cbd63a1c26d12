//! Notes over real HTTP: what it refuses, and the way to a note.

use axum::http::{HeaderMap, Request, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use url::{Url, form_urlencoded::Serializer};

use super::*;

const BACK: &str = "http://notes.localhost:8000/back";
const VERIFIER: &str = "a-verifier-that-is-long-enough-to-be-allowed-43";

struct Running {
    notes: Notes,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

struct Response {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }

    fn location(&self) -> Url {
        assert_eq!(self.status, 303, "{}", self.body);
        Url::parse(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    fn challenge(&self) -> &str {
        assert_eq!(self.status, 401, "{}", self.body);
        self.headers[header::WWW_AUTHENTICATE].to_str().unwrap()
    }
}

impl Running {
    async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let client = Client {
            id: "pomerium".to_owned(),
            secret: "s3cret".to_owned(),
            redirect_uri: BACK.to_owned(),
        };
        let notes = Notes::start(options, client, listener, &tracker, shutdown.clone()).unwrap();
        Self {
            notes,
            tracker,
            shutdown,
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response {
        let stream = TcpStream::connect(self.notes.address()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tracker.spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Response {
        let request = Request::get(path).header("host", self.notes.address().to_string());
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Response {
        let body = form(pairs);
        let request = Request::post(path)
            .header("host", self.notes.address().to_string())
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Full::from(body)).unwrap()).await
    }

    /// A message over MCP with these values of `Authorization`.
    async fn mcp(&self, message: &Value, authorization: &[&str]) -> Response {
        let mut request = Request::post(MCP_PATH)
            .header("host", self.notes.address().to_string())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for value in authorization {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let body = Full::from(message.to_string());
        self.send(request.body(body).unwrap()).await
    }

    async fn call(&self, tool: &str, arguments: Value, token: &str) -> Value {
        let bearer = format!("Bearer {token}");
        let response = self.mcp(&call(tool, &arguments), &[&bearer]).await;
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()["result"].take()
    }

    /// The ticket of a consent page.
    async fn ticket(&self) -> String {
        let page = self.get(&authorize(&[])).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let (_, rest) = page.body.split_once("name=\"ticket\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    async fn code(&self, account: &str) -> String {
        let ticket = self.ticket().await;
        let answer = [
            ("ticket", ticket.as_str()),
            ("account", account),
            ("decision", "allow"),
        ];
        let back = self.form("/authorize", &answer).await.location();
        assert_eq!(query(&back, "state").unwrap(), "st&te");
        query(&back, "code").unwrap()
    }

    /// Exchanges a code; `change` takes the place of parameters.
    async fn exchange(&self, code: &str, change: &[(&str, &str)]) -> Response {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
            ("client_id", "pomerium"),
            ("client_secret", "s3cret"),
            ("code_verifier", VERIFIER),
        ];
        self.form("/token", &changed(&pairs, change)).await
    }

    async fn tokens(&self, account: &str) -> (String, String) {
        let code = self.code(account).await;
        let tokens = self.exchange(&code, &[]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        assert_eq!(tokens.headers[header::CACHE_CONTROL], "no-store");
        let text = |key: &str| tokens.json()[key].as_str().unwrap().to_owned();
        (text("access_token"), text("refresh_token"))
    }

    async fn refresh(&self, token: &str) -> Response {
        let pairs = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", "pomerium"),
            ("client_secret", "s3cret"),
        ];
        self.form("/token", &pairs).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.tracker.wait());
        ended.await.unwrap();
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn changed<'a>(
    pairs: &[(&'a str, &'a str)],
    change: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = pairs
        .iter()
        .filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    kept.chain(change).copied().collect()
}

fn authorize(change: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let pairs = [
        ("response_type", "code"),
        ("client_id", "pomerium"),
        ("redirect_uri", BACK),
        ("state", "st&te"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("scope", SCOPE),
        ("resource", "http://127.0.0.1:9"),
    ];
    format!("/authorize?{}", form(&changed(&pairs, change)))
}

fn query(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let (_, value) = pairs.find(|(known, _)| known == name)?;
    Some(value.into_owned())
}

fn message(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn call(tool: &str, arguments: &Value) -> Value {
    message(
        "tools/call",
        &json!({ "name": tool, "arguments": arguments }),
    )
}

fn initialize() -> Value {
    let client = json!({ "name": "test", "version": "1" });
    message(
        "initialize",
        &json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client }),
    )
}

#[tokio::test]
async fn without_a_token_one_may_look_and_not_call() {
    let server = Running::start(Options::default()).await;
    let metadata = format!("http://{}{}", server.notes.address(), bearer::METADATA_PATH);
    for refused in [
        call("list_notes", &json!({})),
        json!([message("tools/list", &json!({}))]),
        message("resources/list", &json!({})),
        json!("nonsense"),
    ] {
        let response = server.mcp(&refused, &[]).await;
        let challenge = response.challenge();
        assert!(
            challenge.starts_with(&format!("Bearer resource_metadata=\"{metadata}\""))
                && !challenge.contains("error"),
            "{challenge}"
        );
    }
    for (authorization, error) in [
        (&["Bearer made-up"][..], "invalid_token"),
        (&["Basic eDp5"][..], "invalid_request"),
        (&["Bearer a", "Bearer b"][..], "invalid_request"),
    ] {
        let list = message("tools/list", &json!({}));
        let response = server.mcp(&list, authorization).await;
        let challenge = response.challenge();
        assert!(challenge.ends_with(&format!("error=\"{error}\"")));
    }

    let hello = server.mcp(&initialize(), &[]).await;
    assert_eq!(hello.json()["result"]["serverInfo"]["name"], "notes");
    let list = server.mcp(&message("tools/list", &json!({})), &[]).await;
    let tools = list.json()["result"]["tools"].take();
    assert_eq!(tools[0]["name"], "add_note");
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], false);
    assert_eq!(tools[1]["name"], "list_notes");
    assert_eq!(tools[1]["annotations"]["readOnlyHint"], true);

    let resource = server.get(bearer::METADATA_PATH).await.json();
    let origin = format!("http://{}", server.notes.address());
    assert_eq!(resource["authorization_servers"], json!([origin]));
    let login = server.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(
        login.json()["token_endpoint"],
        json!(format!("{origin}/token"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_closed_server_shows_nothing_without_a_token() {
    let server = Running::start(Options {
        listing: Listing::Closed,
        ..Options::default()
    })
    .await;
    server.mcp(&initialize(), &[]).await.challenge();
    let (token, _) = server.tokens("Ana").await;
    let hello = server
        .mcp(&initialize(), &[&format!("bearer {token}")])
        .await;
    assert_eq!(hello.status, 200, "{}", hello.body);
    server.stop().await;
}

#[tokio::test]
async fn only_the_client_is_sent_back_and_told_what_was_wrong() {
    let server = Running::start(Options::default()).await;
    for change in [
        ("client_id", "somebody"),
        ("redirect_uri", "http://notes.localhost:8000/back/"),
        ("redirect_uri", ""),
    ] {
        let page = server.get(&authorize(&[change])).await;
        assert_eq!(page.status, 400, "{change:?}");
        assert!(!page.headers.contains_key(header::LOCATION));
    }
    let twice = format!("{}&client_id=pomerium", authorize(&[]));
    assert_eq!(server.get(&twice).await.status, 400);
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "notes everything"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
    ] {
        let back = server.get(&authorize(&[change])).await.location();
        assert!(back.as_str().starts_with(BACK));
        assert_eq!(query(&back, "error").unwrap(), error);
        assert_eq!(query(&back, "state").unwrap(), "st&te");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_denies_or_presses_twice_gives_no_code() {
    let server = Running::start(Options::default()).await;
    let page = server.get(&authorize(&[])).await;
    for words in ["Pomerium wants to use your notes", ">Allow<", ">Deny<"] {
        assert!(page.body.contains(words), "{words}");
    }
    assert!(!page.body.contains("{{"));
    let policy = page.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.contains("frame-ancestors 'none'"));

    for (decision, account) in [("deny", "Ana"), ("allow", "Nobody"), ("", "Ana")] {
        let ticket = server.ticket().await;
        let answer = [
            ("ticket", ticket.as_str()),
            ("account", account),
            ("decision", decision),
        ];
        let back = server.form("/authorize", &answer).await.location();
        assert_eq!(query(&back, "error").unwrap(), "access_denied");
        assert_eq!(query(&back, "code"), None);
        let again = server.form("/authorize", &answer).await;
        assert_eq!(again.status, 400);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_code_is_good_once_and_for_the_one_who_asked() {
    let server = Running::start(Options::default()).await;
    for (change, status, error) in [
        (("client_secret", "guess"), 401, "invalid_client"),
        (("client_id", "somebody"), 401, "invalid_client"),
        (("grant_type", "password"), 400, "unsupported_grant_type"),
        (("grant_type", ""), 400, "invalid_request"),
        (("code", "made-up"), 400, "invalid_grant"),
        (("code_verifier", "another"), 400, "invalid_grant"),
        (("code_verifier", ""), 400, "invalid_grant"),
        (("redirect_uri", "http://evil/"), 400, "invalid_grant"),
    ] {
        let code = server.code("Ana").await;
        let refused = server.exchange(&code, &[change]).await;
        let told = (refused.status, refused.json());
        assert_eq!(told, (status, json!({ "error": error })), "{change:?}");
    }
    let code = server.code("Ana").await;
    assert_eq!(server.exchange(&code, &[]).await.status, 200);
    assert_eq!(server.exchange(&code, &[]).await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn notes_belong_to_the_account_that_consented() {
    let server = Running::start(Options::default()).await;
    let ((ana, _), (ben, _)) = (server.tokens("Ana").await, server.tokens("Ben").await);
    for wrong in ["", " \n", &"x".repeat(5000)] {
        let refused = server.call("add_note", json!({ "text": wrong }), &ana);
        assert_eq!(refused.await["isError"], true);
    }
    let misspelt = server.call("add_note", json!({ "note": "x" }), &ana).await;
    assert_eq!(misspelt["isError"], true);
    let added = server
        .call("add_note", json!({ "text": " Buy ink " }), &ana)
        .await;
    assert_eq!(
        added["structuredContent"],
        json!({ "account": "Ana", "count": 3 })
    );
    let listed = server.call("list_notes", json!({}), &ana).await;
    assert_eq!(listed["structuredContent"]["notes"][2], "Buy ink");
    let text = listed["content"][0]["text"].as_str().unwrap();
    assert!(text.ends_with("\n- Buy ink"), "{text}");
    let of_ben = server.call("list_notes", json!({}), &ben).await;
    assert!(!of_ben.to_string().contains("Buy ink"));
    assert_eq!(
        server.notes.notes_of(Account::Ana).last().unwrap(),
        "Buy ink"
    );
    server.stop().await;
}

#[tokio::test]
async fn an_access_token_ends_and_a_refresh_token_gets_another() {
    let server = Running::start(Options {
        access_token_life: Duration::ZERO,
        ..Options::default()
    })
    .await;
    let (access, refresh) = server.tokens("Ben").await;
    let list = call("list_notes", &json!({}));
    let bearer = format!("Bearer {access}");
    let ended = server.mcp(&list, &[&bearer]).await;
    assert!(ended.challenge().contains("invalid_token"));
    let refreshed = server.refresh(&refresh).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_eq!(refreshed.json()["expires_in"], 0);
    assert_ne!(refreshed.json()["access_token"], access);
    // An access token is no refresh token, and after a revocation nothing is.
    assert_eq!(server.refresh(&access).await.status, 400);
    server.notes.revoke_all();
    assert_eq!(
        server.refresh(&refresh).await.json(),
        json!({ "error": "invalid_grant" })
    );
    server.stop().await;
}
