//! A Pomerium with a Toolgate behind it, both played: one session, one stream, as a test orders.

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::fake::{Answer, Fake, Seen, answer, json_answer, with};

/// The token of the one session.
pub(super) const TOKEN: &str = "eyJh.eyJz.c2ln-_";

/// How long a token of Toolgate's lives, seconds: the forwarder asks for a new one after a good
/// third of it.
const TOKEN_SECONDS: u64 = 2;

/// A running one.
pub(super) struct Gateway {
    fake: Fake,
    state: Arc<State>,
}

/// What is streamed: pieces, and then an end or a break.
pub(super) type Pieces = mpsc::UnboundedSender<io::Result<&'static str>>;

#[derive(Default)]
struct State {
    signed_out: AtomicBool,
    /// Whether the session is Ben's.
    is_bens: AtomicBool,
    refreshes: AtomicUsize,
    streams: Mutex<Vec<mpsc::UnboundedReceiver<io::Result<&'static str>>>>,
    /// Cancelled when somebody has gone who waited for an answer or read a stream.
    gone: CancellationToken,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let fake = Fake::start(move |seen| {
            let serving = Arc::clone(&serving);
            async move {
                if seen.http.uri.path() == "/v1/waits" {
                    let _left = serving.gone.clone().drop_guard();
                    pending::<()>().await;
                }
                serving.answer(&seen)
            }
        })
        .await;
        Self { fake, state }
    }

    /// Its address, as a person types it.
    pub(super) fn url(&self) -> String {
        format!("http://chat.localhost:{}", self.fake.address.port())
    }

    /// Ends the session.
    pub(super) fn sign_out(&self) {
        self.state.signed_out.store(true, Ordering::Relaxed);
    }

    /// Whoever signs in from now on is Ben.
    pub(super) fn give_to_ben(&self) {
        self.state.is_bens.store(true, Ordering::Relaxed);
    }

    /// The pieces of the next streamed answer.
    pub(super) fn stream(&self) -> Pieces {
        let (pieces, receiver) = mpsc::unbounded_channel();
        self.state.streams.lock().unwrap().push(receiver);
        pieces
    }

    /// Whether somebody went away before the end of an answer.
    pub(super) fn is_left(&self) -> bool {
        self.state.gone.is_cancelled()
    }

    /// How often it was asked about the session.
    pub(super) fn refreshes(&self) -> usize {
        self.state.refreshes.load(Ordering::Relaxed)
    }

    /// What arrived at this path.
    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.fake.seen();
        seen.retain(|seen| seen.http.uri.path() == path);
        seen
    }

    pub(super) async fn end(self) {
        self.fake.end().await;
    }
}

impl State {
    fn answer(&self, seen: &Seen) -> Answer {
        let path = seen.http.uri.path();
        if path == "/.pomerium/api/v1/login" {
            return sign_in_address(seen);
        }
        let bearer = seen.header("authorization");
        let known = bearer == Some(&format!("Bearer Pomerium-{TOKEN}"));
        if !known || self.signed_out.load(Ordering::Relaxed) {
            let error = json!({ "error": "Unauthenticated", "request_id": "req-1" });
            return json_answer(401, &error);
        }
        match path {
            "/api/session" => {
                self.refreshes.fetch_add(1, Ordering::Relaxed);
                if self.is_bens.load(Ordering::Relaxed) {
                    json_answer(200, &session_of("Ben", "ben"))
                } else {
                    json_answer(200, &session_of("Ana", "ana"))
                }
            }
            "/v1/chat/completions" => self.streamed(),
            "/v1/models" => with(
                with(
                    json_answer(200, &json!({ "data": [] })),
                    "set-cookie",
                    "_pomerium=x",
                ),
                "x-toolgate-turn",
                "turn-1",
            ),
            "/v1/device" => json_answer(
                450,
                &json!({ "error": "device not authorized", "request_id": "req-2" }),
            ),
            "/v1/refused" => answer(403, "text/html", "<h1>Access denied"),
            "/v1/slow" => answer(504, "text/plain", "upstream request timeout"),
            "/v1/wrong" => json_answer(400, &json!({ "error": { "message": "no messages" } })),
            "/v1/moved" => with(answer(302, "", ""), "location", "https://idp.example.com/"),
            _ => answer(404, "text/plain", "not found"),
        }
    }

    fn streamed(&self) -> Answer {
        let pieces = self.streams.lock().unwrap().pop().expect("a stream");
        let left = self.gone.clone().drop_guard();
        let frames = stream::unfold((pieces, Some(left)), |(mut pieces, mut left)| async {
            let Some(piece) = pieces.recv().await else {
                left.take()?.disarm();
                return None;
            };
            let frame = piece.map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
            Some((frame, (pieces, left)))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let kind = "text/event-stream".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
        response
    }
}

/// What Pomerium says to whoever wants to sign in: an address to be opened in a browser.
fn sign_in_address(seen: &Seen) -> Answer {
    let query = seen.http.uri.query().unwrap_or_default();
    answer(
        200,
        "text/plain; charset=utf-8",
        format!("https://authenticate.example.com/.pomerium/sign_in?{query}"),
    )
}

/// Where a sign-in at this address brings the token.
pub(super) fn redirect_of(address: &str) -> Url {
    let address = Url::parse(address.trim()).unwrap();
    let mut pairs = address.query_pairs();
    let to = pairs.find(|(name, _)| name == "pomerium_redirect_uri");
    Url::parse(&to.expect("where the token goes").1).unwrap()
}

fn session_of(name: &str, id: &str) -> Value {
    json!({
        "subject": format!("sub-{id}"),
        "name": name,
        "email": format!("{id}@example.com"),
        "token_seconds": TOKEN_SECONDS,
    })
}
