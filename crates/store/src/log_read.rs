//! Reading turn logs: as they are, folded, and the whole result of one call.

use chat::{
    event::{CallFinished, Event, Logged},
    ids::{CallId, Subject, TurnId},
    transcript::Transcript,
};
use futures_util::TryStreamExt;
use sqlx::SqliteConnection;
use tokio_util::task::TaskTracker;

use crate::{
    Store,
    body::{Stored, count, stored_count},
    error::StoreError,
};

/// What is shown in the place of an event that cannot be read.
const UNREADABLE: &str = "What happened here cannot be read.";

impl Store {
    /// The events of a turn whose number is larger than `after`; all with 0, which is as
    /// much as the limits of a turn let it become. Of a large result it has the size
    /// ([`CallResult::raw_bytes`](chat::shape::CallResult::raw_bytes)); the rest is for
    /// [`call_result`](Self::call_result). In the place of an event that cannot be read is a notice
    /// that says so. `None` when the user has no such turn.
    pub async fn log(
        &self,
        subject: &Subject,
        turn: &TurnId,
        after: u64,
    ) -> Result<Option<Vec<Logged>>, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        if !owns_turn(&mut tx, subject, turn).await? {
            return Ok(None);
        }
        let mut events = Events::read(&mut tx, turn, after, &self.0.tasks);
        let mut log = Vec::new();
        while let Some(logged) = events.next_or_notice().await? {
            log.push(logged);
        }
        Ok(Some(log))
    }

    /// The whole log of a turn, whoever's it is, to go on with the turn. An event that cannot be
    /// read is an error, [`StoreError::Body`], because nothing may follow from a log with a hole:
    /// then only [`finish_unreadable`](Self::finish_unreadable) is left.
    pub async fn log_to_replay(&self, turn: &TurnId) -> Result<Vec<Logged>, StoreError> {
        let mut conn = self.0.readers.acquire().await?;
        let mut events = Events::read(&mut conn, turn, 0, &self.0.tasks);
        let mut log = Vec::new();
        while let Some(logged) = events.next().await? {
            log.push(logged);
        }
        Ok(log)
    }

    /// How a call of a turn ended, with the whole result as the server gave it. `None` when the
    /// user has no such turn, or its log no end of such a call.
    pub async fn call_result(
        &self,
        subject: &Subject,
        turn: &TurnId,
        call: CallId,
    ) -> Result<Option<CallFinished>, StoreError> {
        let row: Option<ResultColumns> = sqlx::query_as(
            "SELECT e.size, e.body, b.body, rb.size, rb.body FROM events e \
             JOIN readable_turns t ON t.id = e.turn_id \
             LEFT JOIN blobs b ON b.hash = e.blob_hash \
             LEFT JOIN results r ON r.turn_id = e.turn_id AND r.seq = e.seq \
             LEFT JOIN blobs rb ON rb.hash = r.blob_hash \
             WHERE e.turn_id = $1 AND t.subject = $2 \
             AND e.type = 'call.finished' AND e.call_id = $3 \
             ORDER BY e.seq LIMIT 1",
        )
        .bind(turn.as_str())
        .bind(subject.as_str())
        .bind(i64::from(call.0))
        .fetch_optional(&self.0.readers)
        .await?;
        let Some((size, inline, packed, raw_size, raw)) = row else {
            return Ok(None);
        };
        let event = Stored {
            size,
            inline,
            packed,
        };
        let event = event.decode("an event", &self.0.tasks).await?;
        let Event::CallFinished(mut finished) = event else {
            return Ok(None);
        };
        if finished.result.raw_bytes.take().is_some() {
            let raw = Stored {
                size: raw_size.unwrap_or(0),
                inline: None,
                packed: raw,
            };
            finished.result.raw = raw.decode("a result", &self.0.tasks).await?;
        }
        Ok(Some(finished))
    }
}

/// `size`, `body` and the blob's body of the event; `size` and `body` of the blob of its result,
/// null when that is not kept aside.
type ResultColumns = (
    i64,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<Vec<u8>>,
);

/// Folds a turn's log, event by event, for those who read it: as [`Store::log`] has it.
pub(crate) async fn fold(
    conn: &mut SqliteConnection,
    turn: &TurnId,
    tasks: &TaskTracker,
) -> Result<Transcript, StoreError> {
    let mut transcript = Transcript::default();
    let mut events = Events::read(conn, turn, 0, tasks);
    while let Some(logged) = events.next_or_notice().await? {
        transcript.apply(&logged);
    }
    Ok(transcript)
}

pub(crate) async fn owns_turn(
    conn: &mut SqliteConnection,
    subject: &Subject,
    turn: &TurnId,
) -> Result<bool, StoreError> {
    let (turns,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM readable_turns WHERE id = $1 AND subject = $2")
            .bind(turn.as_str())
            .bind(subject.as_str())
            .fetch_one(conn)
            .await?;
    Ok(turns > 0)
}

/// `seq`, `at`, `call_id`, `size`, `body`, the blob's body.
type EventColumns = (i64, i64, Option<i64>, i64, Option<String>, Option<Vec<u8>>);

/// The events of a log, read one by one: bodies are many times what is made of them.
pub(crate) struct Events<'a> {
    rows: futures_util::stream::BoxStream<'a, Result<EventColumns, sqlx::Error>>,
    turn: &'a TurnId,
    tasks: &'a TaskTracker,
}

impl<'a> Events<'a> {
    /// Reads the events whose number is larger than `after`.
    pub(crate) fn read(
        conn: &'a mut SqliteConnection,
        turn: &'a TurnId,
        after: u64,
        tasks: &'a TaskTracker,
    ) -> Self {
        let rows = sqlx::query_as(
            "SELECT e.seq, e.at, e.call_id, e.size, e.body, b.body FROM events e \
             LEFT JOIN blobs b ON b.hash = e.blob_hash \
             WHERE e.turn_id = $1 AND e.seq > $2 ORDER BY e.seq",
        )
        .bind(turn.as_str())
        .bind(count(after))
        .fetch(conn);
        Self { rows, turn, tasks }
    }

    /// The next event. One that cannot be read is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Logged>, StoreError> {
        match self.rows.try_next().await? {
            Some(row) => decode(row, self.tasks).await.map(Some),
            None => Ok(None),
        }
    }

    /// The next event, or if it cannot be read a notice in its place.
    async fn next_or_notice(&mut self) -> Result<Option<Logged>, StoreError> {
        let Some(row) = self.rows.try_next().await? else {
            return Ok(None);
        };
        let (seq, at, call, ..) = row;
        match decode(row, self.tasks).await {
            Err(error @ StoreError::Body { .. }) => {
                tracing::warn!(turn = %self.turn, seq, %error, "a notice is shown instead");
                Ok(Some(Logged {
                    seq: stored_count(seq),
                    at,
                    event: Event::Notice {
                        call: call.and_then(|call| u32::try_from(call).ok()).map(CallId),
                        text: UNREADABLE.to_owned(),
                    },
                }))
            }
            decoded => decoded.map(Some),
        }
    }
}

async fn decode(row: EventColumns, tasks: &TaskTracker) -> Result<Logged, StoreError> {
    let (seq, at, _, size, inline, packed) = row;
    let stored = Stored {
        size,
        inline,
        packed,
    };
    Ok(Logged {
        seq: stored_count(seq),
        at,
        event: stored.decode("an event", tasks).await?,
    })
}
