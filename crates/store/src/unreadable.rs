//! Ending a turn whose log cannot be read.

use chat::{
    event::{Event, Logged},
    failure::{Failure, Layer},
    ids::TurnId,
    outcome::TurnEnd,
    transcript::Transcript,
};
use sqlx::SqliteConnection;
use tokio_util::task::TaskTracker;

use crate::{
    Store,
    body::stored_count,
    error::StoreError,
    event_row::EventRow,
    log_read::Events,
    turn_writes::{Ended, close_turn},
    writer::Write,
};

impl Store {
    /// Ends a turn whose log cannot be read ([`log_to_replay`](Self::log_to_replay)) as failed, at
    /// `at` (milliseconds since 1970), so that its conversation goes on: takes the turn over and
    /// appends `turn.finished`, in one commit. The transcript is how the turn began, if that can be
    /// read, and its end. A turn that has finished, or is not there, stays as it is.
    pub async fn finish_unreadable(&self, turn: &TurnId, at: i64) -> Result<(), StoreError> {
        let finishing = Finishing {
            turn: turn.clone(),
            at,
            tasks: self.0.tasks.clone(),
        };
        self.0.writer.write(finishing).await
    }
}

/// An unreadable turn is ended.
struct Finishing {
    turn: TurnId,
    at: i64,
    tasks: TaskTracker,
}

impl Write for Finishing {
    type Done = ();
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let taken: Option<(i64,)> = sqlx::query_as(
            "UPDATE turns SET epoch = epoch + 1, last_seq = last_seq + 1 \
             WHERE id = $1 AND ended IS NULL RETURNING last_seq",
        )
        .bind(self.turn.as_str())
        .fetch_optional(&mut *conn)
        .await?;
        let Some((seq,)) = taken else { return Ok(()) };
        let last = Logged {
            seq: stored_count(seq),
            at: self.at,
            event: Event::TurnFinished {
                end: TurnEnd::Failed,
                failure: Some(unreadable()),
            },
        };
        let mut transcript = self.beginning(&mut *conn).await?;
        transcript.seq = last.seq.saturating_sub(1);
        transcript.apply(&last);
        let row = EventRow::encode(&last.event)?;
        let ended = Ended::encode(TurnEnd::Failed, &transcript)?;
        let rows = std::slice::from_ref(&row);
        EventRow::insert(&mut *conn, &self.turn, (last.seq, last.at), rows).await?;
        Ok(close_turn(conn, &self.turn, self.at, &ended).await?)
    }
}

impl Finishing {
    /// The transcript of the first event, as far as it can be read.
    async fn beginning(&self, conn: &mut SqliteConnection) -> Result<Transcript, StoreError> {
        let mut transcript = Transcript::default();
        match Events::read(conn, &self.turn, 0, &self.tasks).next().await {
            Ok(first) => {
                first.map(|first| transcript.apply(&first));
            }
            Err(StoreError::Body { .. }) => {}
            Err(error @ (StoreError::Database(_) | StoreError::Closed)) => return Err(error),
        }
        Ok(transcript)
    }
}

fn unreadable() -> Failure {
    Failure::new(
        Layer::Toolgate,
        "The turn's log cannot be read.",
        "Ask again; what the turn did before may have had its effect.",
    )
}
