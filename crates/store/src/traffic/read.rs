//! Reading traffic, each exchange for the person it was made for.

use chat::{
    exchange::{End, Peer},
    ids::{CallId, RoundId, Subject, TurnId},
};
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Bodies, BodyRecord, ExchangeId, ExchangeRow, ExchangeWhole, Kept, NotKept, Reported, Side,
    TrafficStore, TrafficTurn, pack,
};
use crate::{body::stored_count, error::StoreError};

/// Turns of one answer, at most: a page of the list.
pub const TURNS_PAGE: u32 = 200;

/// Exchanges of one answer, at most: more than a turn of 32 rounds and 128 calls has.
pub const EXCHANGES_PAGE: u32 = 1000;

/// The columns of an [`ExchangeRow`]. Of an open exchange the pieces say how far it is.
macro_rules! select_rows {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT e.id, e.key, e.turn_id, e.round, e.call, e.peer, e.server, e.method, e.url, \
             e.label, e.status, e.request_id, e.started_at, e.headers_after, e.ended_after, \
             e.bytes_out, e.ended, e.failure, \
             CASE WHEN e.ended IS NULL THEN (SELECT COALESCE(SUM(p.size), 0) FROM pieces p \
             WHERE p.exchange_id = e.id AND p.side = 1) ELSE e.bytes_in END AS bytes_in, \
             CASE WHEN e.ended IS NULL THEN (SELECT COALESCE(SUM(p.frames), 0) FROM pieces p \
             WHERE p.exchange_id = e.id AND p.side = 1) ELSE e.frames_in END AS frames_in",
            $more,
            " FROM exchanges e ",
            $rest
        )
    };
}

impl TrafficStore {
    /// The turns of a person that have exchanges, the newest first: at most `limit`, and at most
    /// [`TURNS_PAGE`], that come after `before`. (Turns are ordered by their ids, which are made
    /// of the time.) What counts as an error is what [`ExchangeRow::failed`] says.
    pub async fn turns(
        &self,
        subject: &Subject,
        before: Option<&TurnId>,
        limit: u32,
    ) -> Result<Vec<TrafficTurn>, StoreError> {
        let Some(readers) = self.readers() else {
            return Ok(Vec::new());
        };
        let rows: Vec<TurnColumns> = sqlx::query_as(
            "SELECT turn_id, MIN(started_at), \
             CASE WHEN COUNT(*) = COUNT(ended) \
             THEN MAX(started_at + COALESCE(ended_after, 0) / 1000) END, \
             COUNT(*), \
             COUNT(CASE WHEN ended = 'failed' OR ended = 'complete' AND status IS NULL \
             OR ended IN ('complete', 'dropped') AND (status >= 400 OR failure IS NOT NULL) \
             THEN 1 END), \
             SUM(bytes_in), SUM(bytes_out) FROM exchanges \
             WHERE subject = $1 AND turn_id IS NOT NULL AND ($2 IS NULL OR turn_id < $2) \
             GROUP BY turn_id ORDER BY turn_id DESC LIMIT $3",
        )
        .bind(subject.as_str())
        .bind(before.map(TurnId::as_str))
        .bind(limit.min(TURNS_PAGE))
        .fetch_all(readers)
        .await?;
        let turn =
            |(turn, started_at, ended_at, exchanges, errors, bytes_in, bytes_out)| TrafficTurn {
                turn: TurnId(turn),
                started_at,
                ended_at,
                exchanges: stored_count(exchanges),
                errors: stored_count(errors),
                bytes_in: stored_count(bytes_in),
                bytes_out: stored_count(bytes_out),
            };
        Ok(rows.into_iter().map(turn).collect())
    }

    /// The exchanges of a person's turn in the order they began, or without `turn` those outside
    /// of turns, the newest first: at most `limit`, and at most [`EXCHANGES_PAGE`].
    pub async fn exchanges(
        &self,
        subject: &Subject,
        turn: Option<&TurnId>,
        limit: u32,
    ) -> Result<Vec<ExchangeRow>, StoreError> {
        let Some(readers) = self.readers() else {
            return Ok(Vec::new());
        };
        let limit = limit.min(EXCHANGES_PAGE);
        let rows: Vec<Columns> = match turn {
            Some(turn) => {
                sqlx::query_as(select_rows!(
                    "",
                    "WHERE e.subject = $1 AND e.turn_id = $2 ORDER BY e.id LIMIT $3"
                ))
                .bind(subject.as_str())
                .bind(turn.as_str())
                .bind(limit)
                .fetch_all(readers)
                .await?
            }
            None => {
                sqlx::query_as(select_rows!(
                    "",
                    "WHERE e.subject = $1 AND e.turn_id IS NULL ORDER BY e.id DESC LIMIT $2"
                ))
                .bind(subject.as_str())
                .bind(limit)
                .fetch_all(readers)
                .await?
            }
        };
        Ok(rows.into_iter().map(|columns| columns.row).collect())
    }

    /// A person's exchange with its headers, and as if nothing of its bodies had been kept. `None`
    /// when they have no such exchange.
    pub async fn exchange_head(
        &self,
        subject: &Subject,
        id: &ExchangeId,
    ) -> Result<Option<ExchangeWhole>, StoreError> {
        let Some(readers) = self.readers() else {
            return Ok(None);
        };
        let mut conn = readers.acquire().await?;
        let found = whole(&mut conn, subject, id).await?;
        let Some(found) = found else { return Ok(None) };
        found.with(Stored::default(), Stored::default()).map(Some)
    }

    /// A person's exchange with its headers and bodies. `None` when they have no such exchange.
    pub async fn exchange(
        &self,
        subject: &Subject,
        id: &ExchangeId,
    ) -> Result<Option<ExchangeWhole>, StoreError> {
        let Some(readers) = self.readers() else {
            return Ok(None);
        };
        let mut tx = readers.begin().await?;
        let found = whole(&mut tx, subject, id).await?;
        let Some(found) = found else { return Ok(None) };
        let request = body(&mut tx, found.columns.id, Side::Request).await?;
        let response = body(&mut tx, found.columns.id, Side::Response).await?;
        tx.commit().await?;
        // Unpacking up to 16 MiB is nothing for the threads that serve everybody.
        let unpacking = || found.with(request, response);
        let unpacked = self.0.tasks.spawn_blocking(unpacking);
        unpacked.await.map_err(|_| StoreError::Closed)?.map(Some)
    }
}

async fn whole(
    conn: &mut SqliteConnection,
    subject: &Subject,
    id: &ExchangeId,
) -> Result<Option<WholeColumns>, sqlx::Error> {
    sqlx::query_as(select_rows!(
        ", e.with_bodies, e.request_headers, e.response_headers",
        "WHERE e.subject = $1 AND e.key = $2"
    ))
    .bind(subject.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await
}

type TurnColumns = (String, i64, Option<i64>, i64, i64, i64, i64);

/// An exchange's row, and its number in the file.
struct Columns {
    id: i64,
    row: ExchangeRow,
}

impl FromRow<'_, SqliteRow> for Columns {
    fn from_row(from: &SqliteRow) -> Result<Self, sqlx::Error> {
        let number = |name: &str| from.try_get::<Option<i64>, _>(name);
        let text = |name: &str| from.try_get::<Option<String>, _>(name);
        let small = |number: Option<i64>| number.and_then(|n| u32::try_from(n).ok());
        let peer: String = from.try_get("peer")?;
        let failure = text("failure")?;
        // Of what failed by itself it says how that failed.
        let reported = failure.as_deref().and_then(Reported::of_text);
        // A word of a newer version's is an end, too.
        let end = |name: String| End::of_name(&name, failure).unwrap_or(End::Interrupted);
        let end = text("ended")?.map(end);
        let row = ExchangeRow {
            id: ExchangeId(from.try_get("key")?),
            turn: text("turn_id")?.map(TurnId),
            round: small(number("round")?).map(RoundId),
            call: small(number("call")?).map(CallId),
            peer: Peer::of_name(&peer)
                .ok_or_else(|| sqlx::Error::Decode(format!("no peer: {peer}").into()))?,
            server: text("server")?,
            method: from.try_get("method")?,
            url: from.try_get("url")?,
            status: number("status")?.and_then(|status| u16::try_from(status).ok()),
            request_id: text("request_id")?,
            started_at: from.try_get("started_at")?,
            headers_after_us: number("headers_after")?.map(stored_count),
            ended_after_us: number("ended_after")?.map(stored_count),
            bytes_out: stored_count(from.try_get("bytes_out")?),
            bytes_in: stored_count(from.try_get("bytes_in")?),
            frames_in: stored_count(from.try_get("frames_in")?),
            reported: reported.filter(|_| !matches!(end, Some(End::Failed(_)))),
            end,
            label: text("label")?,
        };
        Ok(Self {
            id: from.try_get("id")?,
            row,
        })
    }
}

/// What is read of one exchange.
struct WholeColumns {
    columns: Columns,
    bodies: Bodies,
    request_headers: String,
    response_headers: String,
}

impl FromRow<'_, SqliteRow> for WholeColumns {
    fn from_row(from: &SqliteRow) -> Result<Self, sqlx::Error> {
        let response_headers: Option<String> = from.try_get("response_headers")?;
        let with_bodies: i64 = from.try_get("with_bodies")?;
        Ok(Self {
            columns: Columns::from_row(from)?,
            bodies: if with_bodies == 0 {
                Bodies::Left
            } else {
                Bodies::Kept
            },
            request_headers: from.try_get("request_headers")?,
            response_headers: response_headers.unwrap_or_else(|| "[]".to_owned()),
        })
    }
}

impl WholeColumns {
    /// The exchange, with what is stored of its bodies.
    fn with(self, request: Stored, response: Stored) -> Result<ExchangeWhole, StoreError> {
        let row = self.columns.row;
        Ok(ExchangeWhole {
            request_headers: headers(&self.request_headers)?,
            response_headers: headers(&self.response_headers)?,
            request: request.record(self.bodies, row.bytes_out)?,
            response: response.record(self.bodies, row.bytes_in)?,
            row,
        })
    }
}

fn headers(json: &str) -> Result<Vec<(String, String)>, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::body("the headers", error))
}

/// A body as it is in the file.
#[derive(Default)]
struct Stored(Vec<StoredPiece>);

struct StoredPiece {
    start: u64,
    arrivals: Option<Vec<u8>>,
    /// The plain size of each part, and the part.
    parts: Vec<(i64, Vec<u8>)>,
}

/// Reads the pieces of a body, up to the first that is missing.
async fn body(conn: &mut SqliteConnection, id: i64, side: Side) -> Result<Stored, StoreError> {
    let rows: Vec<PieceColumns> = sqlx::query_as(
        "SELECT start, size, body, blobs, arrivals FROM pieces \
         WHERE exchange_id = $1 AND side = $2 ORDER BY start",
    )
    .bind(id)
    .bind(side.number())
    .fetch_all(&mut *conn)
    .await?;
    let (mut pieces, mut end) = (Vec::with_capacity(rows.len()), 0);
    for (start, size, body, blobs, arrivals) in rows {
        if start != end {
            break;
        }
        end += size;
        let parts = match body {
            Some(body) => vec![(size, body)],
            None => parts(conn, &blobs.unwrap_or_default()).await?,
        };
        pieces.push(StoredPiece {
            start: stored_count(start),
            arrivals,
            parts,
        });
    }
    Ok(Stored(pieces))
}

type PieceColumns = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

async fn parts(
    conn: &mut SqliteConnection,
    blobs: &[u8],
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let mut parts = Vec::with_capacity(blobs.len() / 8);
    for id in pack::ids(blobs) {
        let part: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT b.size, o.body FROM blobs b JOIN bodies o ON o.blob_id = b.id WHERE b.id = $1",
        )
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?;
        parts.push(part.ok_or_else(|| StoreError::body("a body", "a part of it is missing"))?);
    }
    Ok(parts)
}

impl Stored {
    /// What was kept of a body of `size` bytes.
    fn record(self, bodies: Bodies, size: u64) -> Result<BodyRecord, StoreError> {
        let (mut bytes, mut arrivals) = (Vec::new(), Vec::new());
        for piece in self.0 {
            for (size, part) in piece.parts {
                bytes.append(&mut pack::unpack(part, size)?);
            }
            if let Some(packed) = piece.arrivals {
                pack::arrivals_of(&packed, piece.start, &mut arrivals);
            }
        }
        let kept = match (bodies, bytes.len() as u64) {
            (Bodies::Left, _) => Kept::Not(NotKept::Metadata),
            (Bodies::Kept, stored) if stored >= size => Kept::All,
            (Bodies::Kept, 0) => Kept::Not(NotKept::Dropped),
            (Bodies::Kept, _) => Kept::Cut { of: size },
        };
        Ok(BodyRecord {
            bytes,
            kept,
            arrivals,
        })
    }
}

impl Side {
    /// Its number in the file.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Request => 0,
            Self::Response => 1,
        }
    }
}
