//! The tap: a record of every exchange, and every byte of it as it passes.

mod redact;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{HeaderMap, Method, StatusCode};
use chat::ids::{CallId, RoundId, Subject, TurnId};
use secrecy::SecretString;
use url::Url;

/// Whom an exchange was with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    /// A model endpoint.
    #[default]
    Model,
    /// An MCP server, possibly through Pomerium.
    Mcp,
    /// Pomerium itself.
    Pomerium,
}

impl Peer {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Mcp => "mcp",
            Self::Pomerium => "pomerium",
        }
    }
}

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
}

/// One request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What caused it.
    pub context: Context,
    /// The request's method.
    pub method: Method,
    /// The request's URL.
    pub url: Url,
    /// The request's headers, redacted.
    pub request_headers: Vec<(String, String)>,
    /// The answer's status; none if there was no answer.
    pub status: Option<StatusCode>,
    /// The answer's headers, redacted.
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
}

/// How an exchange ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// With the end of the answer's body.
    Complete,
    /// With an error.
    Failed(String),
    /// Because nobody wanted the rest: the caller dropped it.
    #[default]
    Dropped,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the other side.
    Out,
    /// From the other side.
    In,
}

/// Sees every exchange. It is called in the middle of the traffic, so it must not wait: what it
/// cannot keep at once it has to drop.
pub trait Tap: Send + Sync {
    /// Bytes of a body passed, in the order of the wire.
    fn frame(&self, exchange: &Exchange, direction: Direction, bytes: &[u8]) {
        let _ = (exchange, direction, bytes);
    }

    /// The exchange is over. Called exactly once for each.
    fn finished(&self, exchange: &Exchange);
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

/// An exchange in the making. It completes when the body ends, on an error, and on drop.
pub(crate) struct Recording {
    exchange: Exchange,
    tap: Arc<dyn Tap>,
    secret: Option<SecretString>,
    finished: bool,
}

/// The head of a request, as it is recorded.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a HeaderMap,
    /// The live secret of the request: redacted wherever it appears.
    pub(crate) secret: Option<&'a SecretString>,
}

impl Recording {
    pub(crate) fn start(tap: Arc<dyn Tap>, context: Context, request: RequestHead<'_>) -> Self {
        let exchange = Exchange {
            context,
            method: request.method.clone(),
            url: request.url.clone(),
            request_headers: redact::headers(request.headers, request.secret),
            status: None,
            response_headers: Vec::new(),
            bytes_out: 0,
            bytes_in: 0,
            frames_in: 0,
            started: Instant::now(),
            headers_after: None,
            ended_after: None,
            end: End::default(),
        };
        Self {
            exchange,
            tap,
            secret: request.secret.cloned(),
            finished: false,
        }
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.exchange.bytes_out += bytes.len() as u64;
        self.tap.frame(&self.exchange, Direction::Out, bytes);
    }

    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.exchange.status = Some(status);
        self.exchange.headers_after = Some(self.exchange.started.elapsed());
        self.exchange.response_headers = redact::headers(headers, self.secret.as_ref());
    }

    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.exchange.bytes_in += bytes.len() as u64;
        self.exchange.frames_in += 1;
        self.tap.frame(&self.exchange, Direction::In, bytes);
    }

    pub(crate) fn end(&mut self, end: End) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.exchange.ended_after = Some(self.exchange.started.elapsed());
        self.exchange.end = end;
        self.tap.finished(&self.exchange);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}
