//! How turns began and ended, many at once: what a list of turns shows of them.

use chat::{
    event::{Event, TurnStarted},
    ids::{Subject, TurnId},
    outcome::TurnEnd,
};
use serde_json::Value;

use crate::{Store, body::Stored, error::StoreError};

/// How a turn began and ended.
#[derive(Clone, Debug)]
pub struct TurnHead {
    /// Which.
    pub turn: TurnId,
    /// How it began; none if that cannot be read.
    pub started: Option<TurnStarted>,
    /// How it ended; none while it runs.
    pub end: Option<TurnEnd>,
}

impl Store {
    /// How those of these turns that the user has began and ended, in no order. Turns of deleted
    /// conversations are not there.
    pub async fn turn_heads(
        &self,
        subject: &Subject,
        turns: &[TurnId],
    ) -> Result<Vec<TurnHead>, StoreError> {
        let ids = turns.iter().map(TurnId::as_str).collect::<Value>();
        let rows: Vec<HeadColumns> = sqlx::query_as(
            "SELECT r.id, t.ended, e.size, e.body, b.body FROM readable_turns r \
             JOIN turns t ON t.id = r.id \
             JOIN events e ON e.turn_id = r.id AND e.seq = 1 \
             LEFT JOIN blobs b ON b.hash = e.blob_hash \
             WHERE r.subject = $1 AND r.id IN (SELECT value FROM json_each($2))",
        )
        .bind(subject.as_str())
        .bind(ids.to_string())
        .fetch_all(&self.0.readers)
        .await?;
        let mut heads = Vec::with_capacity(rows.len());
        for (turn, ended, size, inline, packed) in rows {
            let event = Stored {
                size,
                inline,
                packed,
            };
            let started = match event.decode("an event", &self.0.tasks).await {
                Ok(Event::TurnStarted(started)) => Some(started),
                // As a log is read: what cannot be read hides nothing else.
                Ok(_) | Err(StoreError::Body { .. }) => None,
                Err(error) => return Err(error),
            };
            let end = ended.map(|end| serde_json::from_value(Value::String(end)));
            heads.push(TurnHead {
                turn: TurnId(turn),
                started,
                end: end
                    .transpose()
                    .map_err(|error| StoreError::body("the end of a turn", error))?,
            });
        }
        Ok(heads)
    }
}

/// The turn, how it ended; `size`, `body` and the blob's body of its first event.
type HeadColumns = (String, Option<String>, i64, Option<String>, Option<Vec<u8>>);
