//! The program behind every route: an app and an MCP server in one.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::Executor as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::super::answer::{Answer, BodyError, whole};
use super::*;

pub(super) struct Fake {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Parts>>,
    /// Cancelled when an endless answer was given up by whoever asked for it.
    given_up: CancellationToken,
}

impl Fake {
    pub(super) async fn start(tasks: &Tracked) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (serving, spawner) = (Arc::clone(&state), tasks.clone());
        tasks.execute(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                spawner.execute(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, state }
    }

    /// The newest request.
    pub(super) fn last(&self) -> Parts {
        self.state.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// Waits until an endless answer was given up.
    pub(super) async fn given_up(&self) {
        let waiting = self.state.given_up.cancelled();
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        self.seen.lock().unwrap().push(parts.clone());
        match parts.uri.path() {
            "/events" => self.events(),
            "/ticks" => ticks(),
            "/hang" => {
                let _guard = self.given_up.clone().drop_guard();
                std::future::pending().await
            }
            "/duplex" => Response::new(body.map_err(BodyError::from).boxed_unsync()),
            _ if parts.method == http::Method::POST => {
                let body = body.collect().await.unwrap().to_bytes();
                mcp_answer(&body)
            }
            _ => Response::new(whole("app")),
        }
    }

    /// One event, and then silence.
    fn events(&self) -> Answer {
        let guard = self.given_up.clone().drop_guard();
        let first = stream::iter([Ok(Frame::data(Bytes::from("data: 1\n\n")))]);
        let silence = stream::once(async move {
            let _guard = guard;
            std::future::pending().await
        });
        let mut answer = Response::new(StreamBody::new(first.chain(silence)).boxed_unsync());
        let sse = "text/event-stream".parse().unwrap();
        answer.headers_mut().insert("content-type", sse);
        answer
    }
}

/// An event every now and then, for ever.
fn ticks() -> Answer {
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok(Frame::data(Bytes::from("data: 1\n\n"))), ()))
    });
    Response::new(StreamBody::new(ticks).boxed_unsync())
}

/// Answers as the server of the captures did, to the letter.
fn mcp_answer(body: &[u8]) -> Answer {
    let request: Value = serde_json::from_slice(body).unwrap();
    let tool = |call: &Value| {
        call["params"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (text, session) = if let Some(first) = request.get(0) {
        let ran = ran(&format!("batch ran {}", tool(first)));
        (format!("[{ran}]"), None)
    } else if request["method"] == "tools/call" {
        (ran(&format!("ran {}", tool(&request))), Some("sess-db"))
    } else {
        let hello = r#"{"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "db", "version": "1"}}}"#;
        (hello.to_owned(), Some("sess-db"))
    };
    let mut answer = Response::new(whole(text));
    let headers = answer.headers_mut();
    let json = "application/json; charset=utf-8".parse().unwrap();
    headers.insert("content-type", json);
    if let Some(session) = session {
        headers.insert("mcp-session-id", session.parse().unwrap());
    }
    answer
}

fn ran(text: &str) -> String {
    format!(
        r#"{{"jsonrpc": "2.0", "id": 1, "result": {{"content": [{{"type": "text", "text": "{text}"}}]}}}}"#
    )
}
