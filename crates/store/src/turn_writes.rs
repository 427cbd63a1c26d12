//! What appending to and taking over a turn write, each in one transaction.

use chat::{
    event::Event,
    ids::{Sid, TurnId},
    outcome::TurnEnd,
    transcript::Transcript,
};
use sqlx::SqliteConnection;

use crate::{
    body::{Body, count, stored_count},
    error::StoreError,
    event_row::EventRow,
    turn_log::{Append, AppendError, Taken},
    writer::Write,
};

/// A turn's log grows.
pub(crate) struct Appending {
    turn: TurnId,
    epoch: u64,
    expected_seq: u64,
    at: i64,
    rows: Vec<EventRow>,
    /// The session that the turn's calls go on with.
    sid: Option<Sid>,
    end: Option<Ended>,
}

/// How a turn ends.
pub(crate) struct Ended {
    /// The public name of the end.
    end: String,
    transcript: Body,
}

impl Ended {
    pub(crate) fn encode(end: TurnEnd, transcript: &Transcript) -> Result<Self, StoreError> {
        // As it is in JSON.
        let name =
            serde_json::to_string(&end).map_err(|error| StoreError::body("an end", error))?;
        Ok(Self {
            end: name.trim_matches('"').to_owned(),
            transcript: Body::encode_projection("a transcript", transcript)?,
        })
    }
}

impl Appending {
    pub(crate) fn encode(append: Append) -> Result<Self, StoreError> {
        let end = ending(&append)?;
        let Append {
            turn,
            epoch,
            expected_seq,
            at,
            events,
            transcript: _,
        } = append;
        let sid = events.iter().rev().find_map(sid_of).cloned();
        let rows = events
            .iter()
            .map(EventRow::encode)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            turn,
            epoch,
            expected_seq,
            at,
            rows,
            sid,
            end,
        })
    }
}

impl Write for Appending {
    type Done = u64;
    type Refused = AppendError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<u64, AppendError> {
        let last_seq = self.expected_seq.saturating_add(self.rows.len() as u64);
        let owned = sqlx::query(
            "UPDATE turns SET last_seq = $4, sid = COALESCE($5, sid) \
             WHERE id = $1 AND epoch = $2 AND last_seq = $3 AND ended IS NULL",
        )
        .bind(self.turn.as_str())
        .bind(count(self.epoch))
        .bind(count(self.expected_seq))
        .bind(count(last_seq))
        .bind(self.sid.as_ref().map(Sid::as_str))
        .execute(&mut *conn)
        .await?;
        if owned.rows_affected() == 0 {
            return Err(AppendError::Lost);
        }
        let place = (self.expected_seq.saturating_add(1), self.at);
        EventRow::insert(&mut *conn, &self.turn, place, &self.rows).await?;
        if let Some(ended) = &self.end {
            close_turn(conn, &self.turn, self.at, ended).await?;
        }
        Ok(last_seq)
    }
}

/// What follows from `turn.finished`: stores the transcript and closes the turn.
pub(crate) async fn close_turn(
    conn: &mut SqliteConnection,
    turn: &TurnId,
    at: i64,
    ended: &Ended,
) -> Result<(), sqlx::Error> {
    ended.transcript.store_blob(&mut *conn).await?;
    let columns = ended.transcript.columns();
    sqlx::query(
        "INSERT INTO transcripts (turn_id, size, body, blob_hash, preview) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(turn.as_str())
    .bind(columns.size)
    .bind(columns.body)
    .bind(columns.blob_hash)
    .bind(columns.preview)
    .execute(&mut *conn)
    .await?;
    let (conversation,): (Option<String>,) = sqlx::query_as(
        "UPDATE turns SET ended = $2, ended_at = $3 WHERE id = $1 RETURNING conversation_id",
    )
    .bind(turn.as_str())
    .bind(&ended.end)
    .bind(at)
    .fetch_one(&mut *conn)
    .await?;
    match conversation {
        Some(conversation) => touch(conn, &conversation, at).await,
        None => Ok(()),
    }
}

/// How the append ends the turn, if it does, and the transcript, which has to be that of the end.
fn ending(append: &Append) -> Result<Option<Ended>, StoreError> {
    let refused = |why: &'static str| Err(StoreError::body("an append", why));
    let last_seq = append
        .expected_seq
        .saturating_add(append.events.len() as u64);
    let end = match append.events.split_last() {
        Some((_, before)) if before.iter().any(|event| end_of(event).is_some()) => {
            return refused("it goes on after turn.finished");
        }
        Some((last, _)) => end_of(last),
        None => None,
    };
    match (end, &append.transcript) {
        (None, None) => Ok(None),
        (Some(end), Some(transcript)) if transcript.seq == last_seq && !transcript.is_open() => {
            Ended::encode(end, transcript).map(Some)
        }
        (Some(_), Some(_)) => refused("its transcript is not that of the finished turn"),
        (Some(_), None) => refused("it finishes the turn without a transcript"),
        (None, Some(_)) => refused("it has a transcript and does not finish the turn"),
    }
}

/// Notes that a conversation was used. A clock that goes back does not.
pub(crate) async fn touch(
    conn: &mut SqliteConnection,
    conversation: &str,
    at: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE conversations SET updated_at = $2 WHERE id = $1 AND updated_at < $2")
        .bind(conversation)
        .bind(at)
        .execute(conn)
        .await
        .map(drop)
}

fn end_of(event: &Event) -> Option<TurnEnd> {
    if let Event::TurnFinished { end, .. } = event {
        Some(*end)
    } else {
        None
    }
}

fn sid_of(event: &Event) -> Option<&Sid> {
    if let Event::CallResumed { sid, .. } = event {
        sid.as_ref()
    } else {
        None
    }
}

/// A turn is taken over.
pub(crate) struct TakingOver {
    pub(crate) turn: TurnId,
}

impl Write for TakingOver {
    type Done = Option<Taken>;
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<Option<Taken>, StoreError> {
        let taken: Option<(i64, i64)> = sqlx::query_as(
            "UPDATE turns SET epoch = epoch + 1 WHERE id = $1 AND ended IS NULL \
             RETURNING epoch, last_seq",
        )
        .bind(self.turn.as_str())
        .fetch_optional(conn)
        .await?;
        Ok(taken.map(|(epoch, seq)| Taken {
            epoch: stored_count(epoch),
            seq: stored_count(seq),
        }))
    }
}

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}
