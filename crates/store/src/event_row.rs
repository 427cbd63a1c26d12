//! An event as a row.

use chat::{
    event::Event,
    ids::{CallId, TurnId},
};
use sqlx::SqliteConnection;

use crate::{
    body::{Body, count},
    error::StoreError,
};

/// A row of `events` but for its turn, its number and its time.
pub(crate) struct EventRow {
    name: &'static str,
    call: Option<CallId>,
    body: Body,
}

impl EventRow {
    pub(crate) fn encode(event: &Event) -> Result<Self, StoreError> {
        Ok(Self {
            name: event.name(),
            call: call_of(event),
            body: Body::encode("an event", event)?,
        })
    }

    pub(crate) async fn insert(
        &self,
        conn: &mut SqliteConnection,
        turn: &TurnId,
        (seq, at): (u64, i64),
    ) -> Result<(), sqlx::Error> {
        self.body.store_blob(&mut *conn).await?;
        let columns = self.body.columns();
        sqlx::query(
            "INSERT INTO events (turn_id, seq, at, type, call_id, size, body, blob_hash, preview) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(turn.as_str())
        .bind(count(seq))
        .bind(at)
        .bind(self.name)
        .bind(self.call.map(|call| i64::from(call.0)))
        .bind(columns.size)
        .bind(columns.body)
        .bind(columns.blob_hash)
        .bind(columns.preview)
        .execute(conn)
        .await
        .map(drop)
    }
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
