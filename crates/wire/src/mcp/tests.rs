//! Against servers made by hand, each odd in its own way, over real sockets; and against a real
//! one.

mod calls;
mod connecting;
mod echo;
mod pomerium;
mod reads;
mod real;

use std::{future::Future, io, sync::atomic::AtomicUsize};

use ::http::{Request, Response};
use bytes::Bytes;
use chat::{
    ids::{CallId, TurnId},
    input::Refusal,
    outcome::Outcome,
};
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{http::HttpOptions, tap::TraceTap};

/// What Pomerium wants, for a server that an account is needed for.
const CHALLENGE: &str =
    r#"Bearer resource_metadata="https://db/.well-known/oauth-protected-resource""#;

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A request as a hand-made server sees it.
struct Seen {
    http: ::http::request::Parts,
    body: Value,
}

impl Seen {
    /// The JSON-RPC method; the HTTP method when there is no message.
    fn method(&self) -> &str {
        self.body["method"]
            .as_str()
            .unwrap_or(self.http.method.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.http.headers.get(name)?.to_str().ok()
    }

    fn result(&self, result: &Value) -> Answer {
        json_answer(
            200,
            &json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }),
        )
    }

    fn error(&self, code: i64, message: &str) -> Answer {
        let error = json!({ "code": code, "message": message });
        json_answer(
            200,
            &json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error }),
        )
    }

    /// What Pomerium answers for a tool that its policy refuses.
    fn denied(&self) -> Answer {
        let error = json!({
            "code": -32602,
            "message": "access denied, please see the authorization log for the request r-2",
            "data": { "request_id": "r-2" },
        });
        json_answer(
            200,
            &json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error }),
        )
    }

    /// What a plain server of 2025-11-25 answers, with one tool.
    fn plain(&self) -> Answer {
        match self.method() {
            "initialize" => self.result(&json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": { "listChanged": true } },
                "serverInfo": { "name": "fake", "version": "1" },
            })),
            "tools/list" => self.result(&json!({ "tools": [tool("echo")] })),
            "tools/call" => self.result(&json!({ "content": [text("done")] })),
            method if method.starts_with("notifications/") => bare(202),
            "GET" | "DELETE" => bare(405),
            _ => self.error(-32601, "Method not found"),
        }
    }
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into())
        .map_err(io::Error::other)
        .boxed_unsync();
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body)
        .unwrap()
}

fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

fn bare(status: u16) -> Answer {
    Response::builder()
        .status(status)
        .body(Full::default().map_err(io::Error::other).boxed_unsync())
        .unwrap()
}

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

/// What Pomerium answers to a token that is stale.
fn stale() -> Answer {
    let body = json!({ "error": "Unauthorized", "request_id": "r-1" });
    with(json_answer(401, &body), "x-request-id", "r-1")
}

/// What Pomerium answers to who has no account at the server.
fn unconnected() -> Answer {
    with(bare(401), "www-authenticate", CHALLENGE)
}

/// An answer in events: each item is an event's JSON.
fn stream(events: impl Stream<Item = Value> + Send + 'static) -> Answer {
    raw_stream(events.map(|event| format!("data: {event}\n\n")))
}

fn raw_stream(chunks: impl Stream<Item = String> + Send + 'static) -> Answer {
    cut_stream(chunks.map(Ok))
}

/// An answer in events whose connection is cut by the first error.
fn cut_stream(chunks: impl Stream<Item = io::Result<String>> + Send + 'static) -> Answer {
    let body = StreamBody::new(chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk?)))));
    let answer = Response::builder().header("content-type", "text/event-stream");
    answer.body(body.boxed_unsync()).unwrap()
}

fn progress(token: &Value, at: u32) -> Value {
    let params = json!({ "progressToken": token, "progress": at, "total": 1000 });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

fn progress_token(seen: &Seen) -> Value {
    seen.body["params"]["_meta"]["progressToken"].clone()
}

/// Serves on a free port; returns the URL.
async fn serve<F, A>(handler: F) -> Url
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let port = serve_with(None, handler).await;
    format!("http://127.0.0.1:{port}/mcp").parse().unwrap()
}

/// Serves on a free port, with TLS if there is an acceptor; returns the port.
async fn serve_with<F, A>(tls: Option<TlsAcceptor>, handler: F) -> u16
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, handler) = (tls.clone(), handler.clone());
            tasks.spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let handler = handler.clone();
                    async move {
                        let (http, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                        Ok::<_, hyper::Error>(handler(Seen { http, body }).await)
                    }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                if let Some(tls) = tls {
                    let Ok(io) = tls.accept(tcp).await else {
                        return;
                    };
                    server
                        .serve_connection(TokioIo::new(io), service)
                        .await
                        .ok();
                } else {
                    server
                        .serve_connection(TokioIo::new(tcp), service)
                        .await
                        .ok();
                }
            });
        }
    });
    port
}

struct NoToken;

impl CredentialSource for NoToken {
    fn credential(&self) -> Credential {
        Credential::None
    }
}

fn options(url: Url) -> ConnectOptions {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let http = Http::new(HttpOptions {
        pomerium_addr: None,
        ca_pem: None,
        tap: Arc::new(TraceTap),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    });
    ConnectOptions {
        http: http.unwrap(),
        server: ServerAddress {
            name: "fake".to_owned(),
            url,
        },
        credentials: Arc::new(NoToken),
        max_request_bytes: 1024 * 1024,
        eras: EraMemory::default(),
        tasks,
        shutdown,
    }
}

/// Options for a server on a host of Pomerium's: on loopback it may be reached in clear.
fn pomeriums(url: Url) -> ConnectOptions {
    let host = url.host_str().unwrap().to_owned();
    let options = options(url);
    options.http.trust_pomerium_host(&host);
    options
}

async fn connect(url: Url) -> Connection {
    Connection::connect(pomeriums(url)).await.unwrap()
}

/// A connection to a server that answers these methods by `reply`, and all others by `others`.
async fn answered<F, A>(
    methods: &'static [&'static str],
    others: fn(&Seen) -> Answer,
    reply: F,
) -> Connection
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let url = serve(move |seen| {
        let reply = reply.clone();
        async move {
            if methods.contains(&seen.method()) {
                reply(seen).await
            } else {
                others(&seen)
            }
        }
    });
    connect(url.await).await
}

async fn no_connection(url: Url) -> ConnectError {
    match Connection::connect(pomeriums(url)).await {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    }
}

fn names(catalog: &Catalog) -> Vec<&str> {
    catalog
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect()
}

fn a_call(tool: &str, arguments: Value) -> CallRequest {
    CallRequest {
        tool: tool.to_owned(),
        arguments: serde_json::from_value(arguments).unwrap(),
        context: CallContext {
            turn: TurnId::from("turn-1"),
            call: CallId(1),
        },
        idle: Duration::from_secs(20),
        total: Duration::from_secs(40),
    }
}

/// All events of a call.
async fn events(mut call: RunningCall) -> Vec<CallEvent> {
    let mut events = Vec::new();
    while let Some(event) = call.events.recv().await {
        events.push(event);
    }
    events
}

/// The last event of a call, and how many had ended it.
async fn last(call: RunningCall) -> CallEvent {
    let mut events = events(call).await;
    let ends = events
        .iter()
        .filter(|event| matches!(event, CallEvent::Refused { .. } | CallEvent::Ended { .. }));
    assert_eq!(ends.count(), 1, "{events:?}");
    events.pop().unwrap()
}

fn outcome(event: &CallEvent) -> Outcome {
    let CallEvent::Ended { outcome, .. } = event else {
        panic!("not ended: {event:?}")
    };
    *outcome
}

fn refusal(event: &CallEvent) -> Refusal {
    let CallEvent::Refused { refusal, .. } = event else {
        panic!("not refused: {event:?}")
    };
    *refusal
}

fn failure(event: &CallEvent) -> &Failure {
    let (CallEvent::Refused { failure, .. }
    | CallEvent::Ended {
        failure: Some(failure),
        ..
    }) = event
    else {
        panic!("no failure: {event:?}")
    };
    failure
}

#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    /// Counts one more; returns how many there were before.
    fn next(&self) -> usize {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
    }

    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
