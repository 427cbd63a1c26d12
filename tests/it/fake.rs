//! HTTP servers made by hand, each odd in its own way.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a server answers.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A request as a server sees it.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) http: Arc<Parts>,
    /// The JSON-RPC message; null when there is none.
    pub(crate) body: Value,
}

impl Seen {
    /// The JSON-RPC method; the HTTP method when there is no message.
    pub(crate) fn method(&self) -> &str {
        let method = self.body["method"].as_str();
        method.unwrap_or(self.http.method.as_str())
    }

    /// The tool that is called.
    pub(crate) fn tool(&self) -> &str {
        self.body["params"]["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.http.headers.get(name)?.to_str().ok()
    }

    /// A claim of the assertion that the stand-in added.
    pub(crate) fn claim(&self, name: &str) -> String {
        let assertion = self.header("x-pomerium-jwt-assertion").unwrap_or_default();
        let claims = assertion.split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("an assertion");
        let claims: Value = serde_json::from_slice(&claims).expect("claims");
        claims[name].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn result(&self, result: &Value) -> Answer {
        let id = &self.body["id"];
        json_answer(
            200,
            &json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        )
    }

    pub(crate) fn error(&self, code: i64, message: &str) -> Answer {
        let id = &self.body["id"];
        let error = json!({ "code": code, "message": message });
        json_answer(200, &json!({ "jsonrpc": "2.0", "id": id, "error": error }))
    }

    /// The result of a call: this text.
    pub(crate) fn says(&self, text: &str) -> Answer {
        self.result(&json!({ "content": [{ "type": "text", "text": text }] }))
    }

    /// What a plain server of 2025-11-25 with these tools answers.
    pub(crate) fn plain(&self, tools: &[Value]) -> Answer {
        match self.method() {
            "initialize" => self.result(&json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": { "listChanged": true } },
                "serverInfo": { "name": "fake", "version": "1" },
            })),
            "tools/list" => self.result(&json!({ "tools": tools })),
            "tools/call" => self.says(&format!("{} was here", self.tool())),
            method if method.starts_with("notifications/") => bare(202),
            "GET" | "DELETE" => bare(405),
            _ => self.error(-32601, "Method not found"),
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.tool())
    }
}

/// A tool that takes anything and only reads.
pub(crate) fn tool(name: &str) -> Value {
    json!({
        "name": name,
        "description": format!("Does {name}."),
        "inputSchema": { "type": "object" },
        "annotations": { "readOnlyHint": true },
    })
}

pub(crate) fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(io::Error::other);
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    if !kind.is_empty() {
        answer
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
    }
    answer
}

pub(crate) fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

pub(crate) fn bare(status: u16) -> Answer {
    answer(status, "", "")
}

pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

/// An answer in events; its connection is cut at the first error.
pub(crate) fn events(messages: impl Stream<Item = io::Result<Value>> + Send + 'static) -> Answer {
    let frames = messages.map(|message| {
        let event = format!("data: {}\n\n", message?);
        Ok(Frame::data(Bytes::from(event)))
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = "text/event-stream".parse().unwrap();
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// A running server. It ends when it is dropped; [`Fake::end`] also waits for that.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Fake {
    /// Serves on a free port.
    pub(crate) async fn start<F, A>(handler: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, None, handler)
    }

    /// A plain MCP server with these tools.
    pub(crate) async fn plain(tools: &[Value]) -> Self {
        let tools = tools.to_vec();
        Self::start(move |seen| std::future::ready(seen.plain(&tools))).await
    }

    /// Serves with TLS if there is an acceptor.
    pub(crate) fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, handler: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let fake = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let (seen, tasks, stop) = (fake.seen.clone(), fake.tasks.clone(), fake.stop.clone());
        let accepting = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, seen, handler) = (tls.clone(), seen.clone(), handler.clone());
                let serving = async move {
                    match tls {
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(io) => serve_one(io, seen, handler).await,
                            Err(error) => println!("no TLS: {error}"),
                        },
                        None => serve_one::<TcpStream, _, _>(tcp, seen, handler).await,
                    }
                };
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled(serving).await });
            }
        };
        let stop = fake.stop.clone();
        fake.tasks
            .spawn(async move { stop.run_until_cancelled(accepting).await });
        fake
    }

    /// Where MCP is spoken.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The tool calls so far.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.method() == "tools/call");
        seen
    }

    /// Ends it with all its connections.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve_one<I, F, A>(io: I, all: Arc<Mutex<Vec<Seen>>>, handler: F)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Fn(Seen) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (all, handler) = (all.clone(), handler.clone());
        async move {
            let (http, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let seen = Seen {
                http: Arc::new(http),
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            };
            all.lock().unwrap().push(seen.clone());
            Ok::<_, hyper::Error>(handler(seen).await)
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // A client that goes away is no failure here.
    server
        .serve_connection(TokioIo::new(io), service)
        .await
        .ok();
}
