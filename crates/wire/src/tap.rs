//! The tap: a record of every exchange, and every byte of it as it passes.

mod capture;
mod recording;
mod redact;
mod secret;

use std::time::{Duration, Instant};

use ::http::{Method, StatusCode};
pub use chat::exchange::{End, Peer};
use chat::ids::{CallId, RoundId, Subject, TurnId};
use url::Url;

pub use self::capture::{ARRIVALS_KEPT, BODY_KEPT_BYTES};
pub(crate) use self::recording::{Recording, RequestHead, Tapping};

/// What caused a request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Whom it goes to.
    pub peer: Peer,
    /// The person it is made for.
    pub subject: Option<Subject>,
    /// The turn it belongs to.
    pub turn: Option<TurnId>,
    /// The model round.
    pub round: Option<RoundId>,
    /// The tool call.
    pub call: Option<CallId>,
    /// The MCP server's name.
    pub server: Option<String>,
    /// Of a model request: the MCP servers that were called before, whose results it may carry.
    pub called: Vec<String>,
}

/// One request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What caused it.
    pub context: Context,
    /// The request's method.
    pub method: Method,
    /// The request's URL, redacted.
    pub url: Url,
    /// The request's headers, redacted, as far as they are kept.
    pub request_headers: Vec<(String, String)>,
    /// The answer's status; none if there was no answer.
    pub status: Option<StatusCode>,
    /// The answer's headers, likewise.
    pub response_headers: Vec<(String, String)>,
    /// Bytes of the request's body.
    pub bytes_out: u64,
    /// Bytes of the answer's body that arrived.
    pub bytes_in: u64,
    /// Frames of the answer's body that arrived.
    pub frames_in: u64,
    /// When the request was handed to the HTTP client.
    pub started: Instant,
    /// From then to the answer's headers.
    pub headers_after: Option<Duration>,
    /// From then to the end.
    pub ended_after: Option<Duration>,
    /// How it ended.
    pub end: End,
}

impl Exchange {
    /// Pomerium's id of the request (`x-request-id`, the same as in its authorization log).
    pub fn request_id(&self) -> Option<&str> {
        let id = self
            .response_headers
            .iter()
            .find(|(name, _)| name == "x-request-id");
        id.map(|(_, value)| value.as_str())
    }

    /// Whether the answer is a stream of events (`text/event-stream`).
    pub fn is_stream(&self) -> bool {
        let mut headers = self.response_headers.iter();
        let kind = headers.find(|(name, _)| name == "content-type");
        kind.is_some_and(|(_, value)| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
    }
}

/// Sees every exchange. It is called in the middle of the traffic, so it must not wait: what it
/// cannot keep at once it has to drop.
pub trait Tap: Send + Sync {
    /// An exchange begins: its request has its head. Returns what records it, if more of it than
    /// its end is wanted.
    fn begin(&self, exchange: &Exchange) -> Option<Box<dyn Record>> {
        let _ = exchange;
        None
    }

    /// The exchange is over. Called exactly once for each.
    fn finished(&self, exchange: &Exchange);
}

/// Records one exchange. It must not wait either. Secrets are removed before it sees anything:
/// in bodies as many other bytes stand in their place.
pub trait Record: Send {
    /// What of the bodies it wants.
    fn wants(&self) -> Wants;

    /// A piece of a body, in order: the request's first, whole; then the answer's.
    fn piece(&mut self, piece: Piece);

    /// The answer is a stream, and here is its head. (Of other answers the end tells everything.)
    fn answered(&mut self, exchange: &Exchange);

    /// The exchange is over.
    fn finished(&mut self, exchange: &Exchange);
}

/// What of an exchange's bodies is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Both.
    Bodies,
    /// Only the beginning of the request's: enough to see what it is about.
    Beginning,
}

/// A piece of a body. Of one over [`BODY_KEPT_BYTES`] only the start comes.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What of the exchange it is.
    pub part: Part,
    /// Where in the body it begins.
    pub start: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The frames it arrived in; none of a request.
    pub frames: u64,
    /// When it arrived: up to where in the body at which time, microseconds after the start of the
    /// exchange. Frames that came together have one time, and a body has about [`ARRIVALS_KEPT`].
    pub arrivals: Vec<(u64, u64)>,
}

/// What of an exchange a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The request's body.
    Request,
    /// Part of the answer's body.
    Answer,
    /// Part of an answer that is a stream of events.
    Stream,
}

/// Writes one line for each exchange: target `toolgate::exchange`, level debug.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceTap;

impl Tap for TraceTap {
    fn finished(&self, exchange: &Exchange) {
        let context = &exchange.context;
        let duration = exchange.ended_after.unwrap_or_default();
        tracing::debug!(
            target: "toolgate::exchange",
            kind = context.peer.name(),
            method = %exchange.method,
            host = exchange.url.host_str().unwrap_or_default(),
            path = exchange.url.path(),
            status = exchange.status.map(|status| status.as_u16()),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            bytes_in = exchange.bytes_in,
            bytes_out = exchange.bytes_out,
            subject = context.subject.as_ref().map(Subject::as_str),
            turn = context.turn.as_ref().map(TurnId::as_str),
            round = context.round.map(|round| round.0),
            call = context.call.map(|call| call.0),
            server = context.server.as_deref(),
            request_id = exchange.request_id(),
            end = ?exchange.end,
        );
    }
}
