//! What an exchange is, as it is written and as it is read.

use chat::{
    exchange::{End, Peer},
    ids::{CallId, RoundId, Subject, TurnId},
};

use super::Reported;

/// The id of an exchange: a `UUIDv7`, made by whoever records it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub String);

impl ExchangeId {
    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An exchange at its beginning: the request's head and what caused it.
#[derive(Clone, Debug)]
pub struct ExchangeHead {
    /// Its id.
    pub id: ExchangeId,
    /// The person it is made for.
    pub subject: Subject,
    /// The turn that caused it.
    pub turn: Option<TurnId>,
    /// The model round.
    pub round: Option<RoundId>,
    /// The tool call.
    pub call: Option<CallId>,
    /// Whom it is with.
    pub peer: Peer,
    /// The MCP server's name.
    pub server: Option<String>,
    /// The request's method.
    pub method: String,
    /// The request's URL, redacted.
    pub url: String,
    /// The request's headers, redacted.
    pub request_headers: Vec<(String, String)>,
    /// When it began, milliseconds since 1970.
    pub started_at: i64,
    /// What of the bodies is kept.
    pub bodies: Bodies,
}

/// What of an exchange's bodies is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Everything.
    Kept,
    /// Nothing: metadata only. The request's body is looked at for its label.
    Left,
}

/// How far an exchange is.
#[derive(Clone, Debug, Default)]
pub struct ExchangeState {
    /// The answer's status; none if there is no answer.
    pub status: Option<u16>,
    /// Pomerium's id of the request.
    pub request_id: Option<String>,
    /// The answer's headers, redacted.
    pub response_headers: Vec<(String, String)>,
    /// From the start to the answer's headers, microseconds.
    pub headers_after_us: Option<u64>,
    /// From the start to the end, microseconds.
    pub ended_after_us: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_out: u64,
    /// Bytes of the answer's body that arrived.
    pub bytes_in: u64,
    /// Frames of the answer's body that arrived.
    pub frames_in: u64,
    /// How it ended; none: it is still open.
    pub end: Option<End>,
}

/// Which body of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// A piece of a body, as it was captured.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Of which body.
    pub side: Side,
    /// Where in the body it begins.
    pub start: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The frames it arrived in; none of a request.
    pub frames: u64,
    /// When it arrived: up to where in the body at which time, microseconds after the start of the
    /// exchange.
    pub arrivals: Vec<(u64, u64)>,
    /// Whether the same bytes may well come again, and are to be stored once.
    pub repeats: Repeats,
}

/// Whether a piece's bytes may well come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// As a model request repeats its messages, and `tools/list` its answer.
    Often,
    /// As the pieces of a stream, which carry ids and times.
    Seldom,
}

/// An exchange, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRow {
    /// Which.
    pub id: ExchangeId,
    /// The turn that caused it; none outside of turns.
    pub turn: Option<TurnId>,
    /// The model round.
    pub round: Option<RoundId>,
    /// The tool call.
    pub call: Option<CallId>,
    /// Whom it was with.
    pub peer: Peer,
    /// The MCP server's name.
    pub server: Option<String>,
    /// The request's method.
    pub method: String,
    /// The request's URL, redacted.
    pub url: String,
    /// The answer's status; none if there is no answer.
    pub status: Option<u16>,
    /// Pomerium's id of the request.
    pub request_id: Option<String>,
    /// When it began, milliseconds since 1970.
    pub started_at: i64,
    /// From the start to the answer's headers, microseconds.
    pub headers_after_us: Option<u64>,
    /// From the start to the end, microseconds.
    pub ended_after_us: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_out: u64,
    /// Bytes of the answer's body that arrived; of an open exchange those that are in the file.
    pub bytes_in: u64,
    /// Frames of the answer's body, likewise.
    pub frames_in: u64,
    /// How it ended; none: it is still open.
    pub end: Option<End>,
    /// What the answer itself says went wrong, of an MCP server whose bodies are kept.
    pub reported: Option<Reported>,
    /// The JSON-RPC method (of `tools/call` with the tool's name) or the model, from the request's
    /// body.
    pub label: Option<String>,
}

impl ExchangeRow {
    /// Whether it failed: it broke off, ended without an answer, was refused, or its answer says
    /// that something failed. (Of those that are open or were interrupted it cannot be said;
    /// [`TrafficTurn::errors`] counts the same.)
    pub fn failed(&self) -> bool {
        let refused = self.status.is_none_or(|status| status >= 400);
        let reported = self.reported.is_some();
        match self.end {
            Some(End::Failed(_)) => true,
            Some(End::Complete) => refused || reported,
            Some(End::Dropped) => refused && self.status.is_some() || reported,
            Some(End::Interrupted) | None => false,
        }
    }
}

/// An exchange with everything that was kept of it.
#[derive(Clone, Debug)]
pub struct ExchangeWhole {
    /// What lists show.
    pub row: ExchangeRow,
    /// The request's headers, redacted.
    pub request_headers: Vec<(String, String)>,
    /// The answer's headers, redacted.
    pub response_headers: Vec<(String, String)>,
    /// The request's body.
    pub request: BodyRecord,
    /// The answer's body.
    pub response: BodyRecord,
}

/// A body, as far as it was kept. Secrets in it were replaced by as many other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyRecord {
    /// What was kept: its start.
    pub bytes: Vec<u8>,
    /// How much of it that is.
    pub kept: Kept,
    /// When it arrived: up to where in the body at which time, microseconds after the start of the
    /// exchange. None for a request.
    pub arrivals: Vec<(u64, u64)>,
}

/// How much of a body was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it; of an open exchange all that came so far (a stream's last bytes may be missing
    /// until more come).
    All,
    /// Its start: the rest was over the limit, or there was no room for it.
    Cut {
        /// Bytes of the whole.
        of: u64,
    },
    /// Nothing.
    Not(NotKept),
}

/// Why nothing of a body was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Only metadata is recorded (`TOOLGATE_TRAFFIC`).
    Metadata,
    /// There was no room for it: too much waited to be written, or the disk was full.
    Dropped,
}

/// A turn with exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficTurn {
    /// Which.
    pub turn: TurnId,
    /// When its first exchange began, milliseconds since 1970.
    pub started_at: i64,
    /// When its last exchange ended, milliseconds since 1970; none while one is open.
    pub ended_at: Option<i64>,
    /// Its exchanges.
    pub exchanges: u64,
    /// Those that [`failed`](ExchangeRow::failed).
    pub errors: u64,
    /// Bytes of answers.
    pub bytes_in: u64,
    /// Bytes of requests.
    pub bytes_out: u64,
}

/// What was not recorded since the start, and why nothing is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Exchanges of which nothing is in the file.
    pub exchanges: u64,
    /// Pieces of bodies that are not in the file.
    pub pieces: u64,
    /// Why nothing is recorded at the moment, if so.
    pub paused: Option<Paused>,
}

/// Why nothing is recorded at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// The disk is almost full: what is left is for conversations.
    DiskFull,
    /// The file cannot be written.
    Failing,
}

impl Paused {
    /// The word in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Failing => "failing",
        }
    }
}
