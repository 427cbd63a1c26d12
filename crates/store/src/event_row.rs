//! An event as a row.

use chat::{
    event::{CallFinished, Event},
    ids::{CallId, TurnId},
    shape::CallResult,
};
use serde_json::Value;
use sqlx::{QueryBuilder, SqliteConnection};

use crate::{
    body::{Body, count, stored_count},
    error::StoreError,
};

/// Rows that one statement adds, at most. Each goes to SQLite's thread and back, and there is a
/// prepared one for each number of rows.
const TOGETHER: usize = 8;

/// A row of `events` but for its turn, its number and its time.
pub(crate) struct EventRow {
    name: &'static str,
    call: Option<CallId>,
    body: Body,
    /// The result that the body lacks.
    result: Option<Body>,
}

impl EventRow {
    pub(crate) fn encode(event: &Event) -> Result<Self, StoreError> {
        let (body, result) = match set_aside(event)? {
            Some((event, result)) => (Body::encode("an event", &event)?, Some(result)),
            None => (Body::encode("an event", event)?, None),
        };
        Ok(Self {
            name: event.name(),
            call: call_of(event),
            body,
            result,
        })
    }

    /// Adds rows to a turn's log, in order: the first of them has this number, and all this time.
    pub(crate) async fn insert(
        conn: &mut SqliteConnection,
        turn: &TurnId,
        (first, at): (u64, i64),
        rows: &[Self],
    ) -> Result<(), sqlx::Error> {
        for row in rows {
            row.body.store_blob(&mut *conn).await?;
        }
        let numbered = || (first..).zip(rows);
        let mut rest = numbered().peekable();
        while rest.peek().is_some() {
            let mut insert = QueryBuilder::new(
                "INSERT INTO events \
                 (turn_id, seq, at, type, call_id, size, body, blob_hash, preview) ",
            );
            insert.push_values(rest.by_ref().take(TOGETHER), |mut values, (seq, row)| {
                let columns = row.body.columns();
                values
                    .push_bind(turn.as_str())
                    .push_bind(count(seq))
                    .push_bind(at)
                    .push_bind(row.name)
                    .push_bind(row.call.map(|call| i64::from(call.0)))
                    .push_bind(columns.size)
                    .push_bind(columns.body)
                    .push_bind(columns.blob_hash)
                    .push_bind(columns.preview);
            });
            insert.build().execute(&mut *conn).await?;
        }
        for (seq, row) in numbered() {
            if let Some(result) = &row.result {
                insert_result(conn, turn, seq, result).await?;
            }
        }
        Ok(())
    }
}

async fn insert_result(
    conn: &mut SqliteConnection,
    turn: &TurnId,
    seq: u64,
    result: &Body,
) -> Result<(), sqlx::Error> {
    result.store_blob(&mut *conn).await?;
    sqlx::query("INSERT INTO results (turn_id, seq, blob_hash) VALUES ($1, $2, $3)")
        .bind(turn.as_str())
        .bind(count(seq))
        .bind(result.columns().blob_hash)
        .execute(conn)
        .await
        .map(drop)
}

/// The event without the server's result, and the result, when that is too large for a row.
fn set_aside(event: &Event) -> Result<Option<(Event, Body)>, StoreError> {
    let Event::CallFinished(finished) = event else {
        return Ok(None);
    };
    let CallFinished {
        call,
        outcome,
        result,
        failure,
    } = finished;
    let raw = Body::encode("a result", &result.raw)?;
    let Body::Blob { size, .. } = raw else {
        return Ok(None);
    };
    let rest = CallFinished {
        call: *call,
        outcome: *outcome,
        result: CallResult {
            raw: Value::Null,
            raw_bytes: Some(stored_count(size)),
            shown: result.shown.clone(),
            steps: result.steps.clone(),
            facts: result.facts.clone(),
        },
        failure: failure.clone(),
    };
    Ok(Some((Event::CallFinished(rest), raw)))
}

/// The call that an event is about.
fn call_of(event: &Event) -> Option<CallId> {
    match event {
        Event::CallRequested(requested) => Some(requested.call),
        Event::QuestionAsked { call, .. }
        | Event::CallStarted { call, .. }
        | Event::CallParked { call, .. }
        | Event::CallResumed { call, .. } => Some(*call),
        Event::CallProgress(progress) => Some(progress.call),
        Event::CallFinished(finished) => Some(finished.call),
        Event::Notice { call, .. } => *call,
        Event::TurnStarted(_)
        | Event::ServerState(_)
        | Event::CatalogReady(_)
        | Event::RoundStarted { .. }
        | Event::RoundRetrying { .. }
        | Event::RoundDiscarded { .. }
        | Event::ReasoningDelta(_)
        | Event::TextDelta(_)
        | Event::RoundFinished { .. }
        | Event::QuestionAnswered { .. }
        | Event::TurnCancelling { .. }
        | Event::TurnFinished { .. } => None,
    }
}
