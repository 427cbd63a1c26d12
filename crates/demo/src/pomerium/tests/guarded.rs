//! An MCP server that wants a token of its own, and the authorization server that gives it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::rt::Executor as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json as object;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::super::answer::{Answer, empty, whole};
use super::*;

pub(super) struct Guarded {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// How it behaves, and what it has seen.
pub(super) struct State {
    /// The person says no.
    pub(super) denies: bool,
    /// What the token endpoint answers.
    pub(super) token_status: StatusCode,
    /// `expires_in` of the tokens given from now on.
    pub(super) expires_in: Option<u64>,
    /// The refresh token that is given, if any.
    pub(super) refresh: Option<&'static str>,
    /// How it refuses: a 401, or a 403 for want of a scope.
    pub(super) refusal: StatusCode,
    /// The `Authorization` of each MCP request.
    pub(super) bearers: Vec<Option<String>>,
    /// Each form that the token endpoint got.
    pub(super) forms: Vec<HashMap<String, String>>,
    /// The one access token that is good.
    token: String,
    /// The `code_challenge` of the newest consent.
    challenge: String,
}

impl Guarded {
    pub(super) async fn start(tasks: &Tracked) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            denies: false,
            token_status: StatusCode::OK,
            expires_in: None,
            refresh: None,
            refusal: StatusCode::UNAUTHORIZED,
            bearers: Vec::new(),
            forms: Vec::new(),
            token: "none".to_owned(),
            challenge: String::new(),
        }));
        let (serving, spawner) = (Arc::clone(&state), tasks.clone());
        tasks.execute(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                spawner.execute(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, state }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/authorize") => state.authorize(parts.uri.query().unwrap()),
        (&Method::POST, "/token") => {
            assert_eq!(parts.headers["accept"], "application/json");
            state.token(&body)
        }
        _ => {
            let bearer = parts.headers.get("authorization");
            let bearer = bearer.map(|value| value.to_str().unwrap().to_owned());
            state.mcp(bearer, &body)
        }
    }
}

impl State {
    fn authorize(&mut self, query: &str) -> Answer {
        let asked = pairs(query.as_bytes());
        self.challenge.clone_from(&asked["code_challenge"]);
        let said = if self.denies {
            "error=access_denied"
        } else {
            "code=abc"
        };
        let there = format!("{}?{said}&state={}", asked["redirect_uri"], asked["state"]);
        super::super::answer::redirect(StatusCode::FOUND, &there)
    }

    fn token(&mut self, body: &[u8]) -> Answer {
        let form = pairs(body);
        self.forms.push(form.clone());
        let is_good = match &*form["grant_type"] {
            "authorization_code" => {
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
                form["code"] == "abc" && challenge == self.challenge
            }
            "refresh_token" => form["refresh_token"] == "again",
            _ => false,
        };
        if !is_good {
            return empty(StatusCode::BAD_REQUEST);
        }
        if self.token_status != StatusCode::OK {
            return empty(self.token_status);
        }
        self.token = format!("token-{}", self.forms.len());
        let mut given = object!({"access_token": self.token, "token_type": "Bearer"});
        if let Some(seconds) = self.expires_in {
            given["expires_in"] = seconds.into();
        }
        if let Some(refresh) = self.refresh {
            given["refresh_token"] = refresh.into();
        }
        Response::new(whole(given.to_string()))
    }

    fn mcp(&mut self, bearer: Option<String>, body: &[u8]) -> Answer {
        let is_good = bearer.as_deref() == Some(&*format!("Bearer {}", self.token));
        self.bearers.push(bearer);
        if !is_good {
            let mut answer = Response::new(whole("the upstream's own words"));
            *answer.status_mut() = self.refusal;
            let challenge = r#"Bearer realm="up", error="insufficient_scope""#;
            let challenge = challenge.parse().unwrap();
            answer.headers_mut().insert("www-authenticate", challenge);
            return answer;
        }
        assert!(String::from_utf8_lossy(body).contains("tools/list"));
        let tools = r#"{"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "echo", "inputSchema": {"type": "object", "properties": {}}}, {"name": "admin_drop", "inputSchema": {"type": "object", "properties": {}}}]}}"#;
        let mut answer = Response::new(whole(tools));
        let headers = answer.headers_mut();
        let json = "application/json; charset=utf-8".parse().unwrap();
        headers.insert("content-type", json);
        headers.insert("mcp-session-id", "sess-up".parse().unwrap());
        answer
    }
}

fn pairs(form: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(form).into_owned().collect()
}
