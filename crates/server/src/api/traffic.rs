//! Traffic as JSON: turns, their exchanges, one exchange whole, its bodies as files, and a turn as
//! HAR.

mod har;

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chat::{
    exchange::End,
    ids::{CallId, RoundId, Subject, TurnId},
};
use serde::{Deserialize, Serialize};
use store::traffic::{
    BodyRecord, Dropped, ExchangeId, ExchangeRow, ExchangeWhole, Kept, NotKept, Paused, Reported,
    TrafficTurn,
};

use crate::{
    app::{App, AppState},
    context::Context,
    error::Problem,
    extract::{Path, Query},
    gate::Caller,
    page::result::attachment,
    traffic::{OUTSIDE, is_of, is_shown},
};

/// Turns of one answer.
const TURNS: u32 = 100;

/// Which turns are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only those older than this one.
    #[serde(default)]
    before: Option<TurnId>,
}

/// The caller's turns that have traffic, the newest first.
#[derive(Serialize)]
pub(crate) struct TurnsBody {
    turns: Vec<TurnBody>,
    /// What `before` has to be for the turns that follow.
    next: Option<TurnId>,
    /// How much is recorded (`TOOLGATE_TRAFFIC`).
    mode: &'static str,
    /// What was not recorded since the start, of everybody's.
    dropped: DroppedBody,
}

#[derive(Serialize)]
struct TurnBody {
    turn: TurnId,
    started_at: i64,
    ended_at: Option<i64>,
    exchanges: u64,
    errors: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Serialize)]
struct DroppedBody {
    exchanges: u64,
    pieces: u64,
    /// Why nothing is recorded at the moment.
    paused: Option<&'static str>,
}

/// The exchanges of a turn, or those outside of turns.
#[derive(Serialize)]
pub(crate) struct ExchangesBody {
    exchanges: Vec<ExchangeBody>,
}

/// An exchange.
#[derive(Serialize)]
struct ExchangeBody {
    id: String,
    turn: Option<TurnId>,
    round: Option<RoundId>,
    call: Option<CallId>,
    peer: &'static str,
    server: Option<String>,
    label: Option<String>,
    method: String,
    url: String,
    status: Option<u16>,
    request_id: Option<String>,
    started_at: i64,
    headers_after_us: Option<u64>,
    ended_after_us: Option<u64>,
    bytes_out: u64,
    bytes_in: u64,
    frames_in: u64,
    /// None while it is open.
    end: Option<&'static str>,
    failure: Option<String>,
    /// Whether the result of the tool that came has `isError: true`.
    is_error: bool,
    /// The code of the JSON-RPC error that came.
    rpc_error: Option<i64>,
}

/// An exchange with everything that was kept of it.
#[derive(Serialize)]
pub(crate) struct WholeBody {
    #[serde(flatten)]
    exchange: ExchangeBody,
    request: SideBody,
    response: SideBody,
}

#[derive(Serialize)]
struct SideBody {
    headers: Vec<(String, String)>,
    /// The body as text, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    kept: &'static str,
    /// Up to which byte it had arrived at which microsecond.
    arrivals: Vec<(u64, u64)>,
}

/// One of the bodies of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// `GET /api/traffic`: the caller's turns that have traffic.
pub(crate) async fn turns(
    State(app): State<AppState>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Result<Json<TurnsBody>, Problem> {
    let traffic = &app.context.traffic;
    let subject = &caller.person.subject;
    let rows = traffic
        .turns(subject, wanted.before.as_ref(), TURNS)
        .await?;
    let is_full = rows.len() == TURNS as usize;
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| row.turn.clone());
    let mut turns = Vec::with_capacity(rows.len());
    for row in rows {
        if is_shown(&app.context.store, subject, &row.turn).await? {
            turns.push(TurnBody::from(row));
        }
    }
    Ok(Json(TurnsBody {
        next,
        turns,
        mode: traffic.settings().mode.name(),
        dropped: traffic.dropped().into(),
    }))
}

/// `GET /api/traffic/{turn}`: the exchanges of a turn in the order they began; of `outside` those
/// outside of turns, the newest first.
pub(crate) async fn exchanges(
    State(app): State<AppState>,
    Path(turn): Path<TurnId>,
    caller: Caller,
) -> Result<Json<ExchangesBody>, Problem> {
    let rows = rows(&app, &caller.person.subject, &turn).await?;
    Ok(Json(ExchangesBody {
        exchanges: rows.into_iter().map(ExchangeBody::from).collect(),
    }))
}

/// `GET /api/traffic/{turn}/{exchange}`: a request and its response.
pub(crate) async fn exchange(
    State(app): State<AppState>,
    Path((turn, id)): Path<(TurnId, String)>,
    caller: Caller,
) -> Result<Response, Problem> {
    let whole = whole(&app, &caller.person.subject, (&turn, id)).await?;
    let Context { traffic, tasks, .. } = &*app.context;
    let packing = traffic.pack(tasks, || Json(WholeBody::from(whole)).into_response());
    Ok(packing.await?)
}

/// `GET /api/traffic/{turn}/{exchange}/{side}`: a body as a file, byte for byte as it was kept.
pub(crate) async fn body(
    State(app): State<AppState>,
    Path((turn, id, side)): Path<(TurnId, String, Side)>,
    caller: Caller,
) -> Result<Response, Problem> {
    let whole = whole(&app, &caller.person.subject, (&turn, id)).await?;
    let (record, name) = match side {
        Side::Request => (whole.request, "request.bin"),
        Side::Response => (whole.response, "response.bin"),
    };
    Ok(attachment("application/octet-stream", name, record.bytes))
}

/// `GET /api/traffic/{turn}/har`: the turn's exchanges as HTTP Archive 1.2.
pub(crate) async fn har(
    State(app): State<AppState>,
    Path(turn): Path<TurnId>,
    caller: Caller,
) -> Result<Response, Problem> {
    let subject = caller.person.subject;
    let rows = rows(&app, &subject, &turn).await?;
    let archive = har::stream(app, subject, rows);
    let body = Body::from_stream(archive);
    Ok(attachment("application/json", "traffic.har", body))
}

async fn rows(app: &App, subject: &Subject, turn: &TurnId) -> Result<Vec<ExchangeRow>, Problem> {
    let of = Some(turn).filter(|turn| turn.as_str() != OUTSIDE);
    if !is_shown(&app.context.store, subject, turn).await? {
        return Err(Problem::not_found("turn"));
    }
    Ok(app.context.traffic.exchanges(subject, of, u32::MAX).await?)
}

async fn whole(
    app: &App,
    subject: &Subject,
    (turn, id): (&TurnId, String),
) -> Result<ExchangeWhole, Problem> {
    if !is_shown(&app.context.store, subject, turn).await? {
        return Err(Problem::not_found("turn"));
    }
    let whole = app
        .context
        .traffic
        .exchange(subject, &ExchangeId(id))
        .await?;
    whole
        .filter(|whole| is_of(whole.row.turn.as_ref(), turn))
        .ok_or_else(|| Problem::not_found("request"))
}

impl From<TrafficTurn> for TurnBody {
    fn from(row: TrafficTurn) -> Self {
        Self {
            turn: row.turn,
            started_at: row.started_at,
            ended_at: row.ended_at,
            exchanges: row.exchanges,
            errors: row.errors,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        }
    }
}

impl From<Dropped> for DroppedBody {
    fn from(dropped: Dropped) -> Self {
        Self {
            exchanges: dropped.exchanges,
            pieces: dropped.pieces,
            paused: dropped.paused.map(Paused::name),
        }
    }
}

impl From<ExchangeRow> for ExchangeBody {
    fn from(row: ExchangeRow) -> Self {
        Self {
            id: row.id.0,
            turn: row.turn,
            round: row.round,
            call: row.call,
            peer: row.peer.name(),
            server: row.server,
            label: row.label,
            method: row.method,
            url: row.url,
            status: row.status,
            request_id: row.request_id,
            started_at: row.started_at,
            headers_after_us: row.headers_after_us,
            ended_after_us: row.ended_after_us,
            bytes_out: row.bytes_out,
            bytes_in: row.bytes_in,
            frames_in: row.frames_in,
            end: row.end.as_ref().map(End::name),
            failure: row.end.as_ref().and_then(End::failure).map(str::to_owned),
            is_error: row.reported == Some(Reported::Tool),
            rpc_error: match row.reported {
                Some(Reported::Rpc(code)) => Some(code),
                Some(Reported::Tool) | None => None,
            },
        }
    }
}

impl From<ExchangeWhole> for WholeBody {
    fn from(whole: ExchangeWhole) -> Self {
        Self {
            exchange: whole.row.into(),
            request: SideBody::new(whole.request_headers, whole.request),
            response: SideBody::new(whole.response_headers, whole.response),
        }
    }
}

impl SideBody {
    fn new(headers: Vec<(String, String)>, record: BodyRecord) -> Self {
        let (text, base64) = text_or_base64(record.bytes);
        Self {
            headers,
            text,
            base64,
            kept: match record.kept {
                Kept::All => "all",
                Kept::Cut { .. } => "start",
                Kept::Not(NotKept::Metadata) => "metadata",
                Kept::Not(NotKept::Dropped) => "dropped",
            },
            arrivals: record.arrivals,
        }
    }
}

/// The bytes as text, or else in base64.
fn text_or_base64(bytes: Vec<u8>) -> (Option<String>, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
    }
}
