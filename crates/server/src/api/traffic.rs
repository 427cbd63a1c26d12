//! Traffic as JSON: turns, their exchanges, one exchange whole, its bodies as files, and a turn as
//! HAR.

mod har;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chat::ids::{CallId, RoundId, Subject, TurnId};
use serde::{Deserialize, Serialize};
use store::traffic::{
    BodyRecord, Dropped, ExchangeEnd, ExchangeId, ExchangeRow, ExchangeWhole, Kept, NotKept,
    Paused, TrafficTurn,
};

use crate::{
    app::{App, AppState},
    config::TrafficMode,
    error::Problem,
    extract::{Path, Query},
    gate::Caller,
    page::traffic::{OUTSIDE, is_of},
};

/// Turns of one answer.
const TURNS: u32 = 100;

/// Bytes of bodies in one HAR, which is made in memory: what is over it comes without its bodies.
const HAR_BYTES: usize = 64 * 1024 * 1024;

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
    Ok(Json(TurnsBody {
        next: last.map(|row| row.turn.clone()),
        turns: rows.into_iter().map(TurnBody::from).collect(),
        mode: match traffic.settings().mode {
            TrafficMode::Full => "full",
            TrafficMode::Metadata => "metadata",
            TrafficMode::Off => "off",
        },
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
) -> Result<Json<WholeBody>, Problem> {
    let whole = whole(&app, &caller.person.subject, (&turn, id)).await?;
    Ok(Json(whole.into()))
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
    Ok(file(record.bytes, "application/octet-stream", name))
}

/// `GET /api/traffic/{turn}/har`: the turn's exchanges as HTTP Archive 1.2.
pub(crate) async fn har(
    State(app): State<AppState>,
    Path(turn): Path<TurnId>,
    caller: Caller,
) -> Result<Response, Problem> {
    let subject = &caller.person.subject;
    let (mut entries, mut room) = (Vec::new(), HAR_BYTES);
    for row in rows(&app, subject, &turn).await? {
        let Some(mut whole) = app.context.traffic.exchange(subject, &row.id).await? else {
            continue;
        };
        let bytes = whole.request.bytes.len() + whole.response.bytes.len();
        if bytes > room {
            whole.request.bytes.clear();
            whole.response.bytes.clear();
        } else {
            room -= bytes;
        }
        entries.push(har::entry(&whole));
    }
    let archive = har::archive(&entries);
    let json = serde_json::to_vec(&archive).map_err(|error| Problem::internal(&error))?;
    Ok(file(json, "application/json", "traffic.har"))
}

async fn rows(app: &App, subject: &Subject, turn: &TurnId) -> Result<Vec<ExchangeRow>, Problem> {
    let of = Some(turn).filter(|turn| turn.as_str() != OUTSIDE);
    let rows = app.context.traffic.exchanges(subject, of, u32::MAX).await?;
    let known = match of {
        Some(turn) if rows.is_empty() => {
            app.context.store.transcript(subject, turn).await?.is_some()
        }
        Some(_) | None => true,
    };
    known
        .then_some(rows)
        .ok_or_else(|| Problem::not_found("turn"))
}

async fn whole(
    app: &App,
    subject: &Subject,
    (turn, id): (&TurnId, String),
) -> Result<ExchangeWhole, Problem> {
    let whole = app
        .context
        .traffic
        .exchange(subject, &ExchangeId(id))
        .await?;
    whole
        .filter(|whole| is_of(whole.row.turn.as_ref(), turn))
        .ok_or_else(|| Problem::not_found("request"))
}

/// A file to be kept, never to be opened by the browser.
fn file(bytes: Vec<u8>, media: &'static str, name: &str) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Ok(value) = format!("attachment; filename=\"{name}\"").parse() {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
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
            paused: dropped.paused.map(|paused| match paused {
                Paused::DiskFull => "disk_full",
                Paused::Failing => "failing",
            }),
        }
    }
}

impl From<ExchangeRow> for ExchangeBody {
    fn from(row: ExchangeRow) -> Self {
        let (end, failure) = match row.end {
            None => (None, None),
            Some(ExchangeEnd::Complete) => (Some("complete"), None),
            Some(ExchangeEnd::Dropped) => (Some("dropped"), None),
            Some(ExchangeEnd::Failed(why)) => (Some("failed"), Some(why)),
            Some(ExchangeEnd::Interrupted) => (Some("interrupted"), None),
        };
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
            end,
            failure,
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
