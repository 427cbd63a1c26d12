//! Removing for good what is over: deleted conversations, old turns of the API, and the blobs that
//! only they named.

use chat::ids::TurnId;
use sqlx::SqliteConnection;

use crate::{Store, error::StoreError, writer::Write};

/// Events that one step removes: few, because every other write waits for the step.
const STEP_EVENTS: i64 = 100;

/// The mark of a conversation of which something was removed: it does not come back.
const PURGED: i64 = 0;

/// What may be removed: each bound is milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Conversations that were deleted up to this time, and in which no turn runs.
    pub deleted_until: i64,
    /// Turns of the API that ended up to this time.
    pub api_ended_until: i64,
}

/// What a step of a purge removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing: there is nothing left to remove.
    Nothing,
    /// A part of something.
    Part,
    /// The last of a turn.
    Turn(TurnId),
}

impl Store {
    /// Removes a small part of what has expired, in one short write. Called again until there was
    /// nothing, it removes all of it, and writes of others come between.
    pub async fn purge_some(&self, expired: Expired) -> Result<Removed, StoreError> {
        self.0.writer.write(Purging(expired)).await
    }
}

/// A step of a purge.
struct Purging(Expired);

impl Write for Purging {
    type Done = Removed;
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<Removed, StoreError> {
        if let Some(conversation) = deleted_conversation(conn, self.0.deleted_until).await? {
            mark_purged(conn, &conversation).await?;
            if let Some(turn) = newest_turn(conn, &conversation).await? {
                return Ok(remove_some(conn, turn).await?);
            }
            remove_conversation(conn, &conversation).await?;
            return Ok(Removed::Part);
        }
        let Some(turn) = old_api_turn(conn, self.0.api_ended_until).await? else {
            return Ok(Removed::Nothing);
        };
        Ok(remove_some(conn, turn).await?)
    }
}

async fn deleted_conversation(
    conn: &mut SqliteConnection,
    until: i64,
) -> Result<Option<String>, sqlx::Error> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT c.id FROM conversations c WHERE c.deleted_at <= $1 AND NOT EXISTS \
         (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.ended IS NULL) \
         ORDER BY c.deleted_at, c.id LIMIT 1",
    )
    .bind(until)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(id,)| id))
}

async fn mark_purged(conn: &mut SqliteConnection, conversation: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE conversations SET deleted_at = $2 WHERE id = $1 AND deleted_at <> $2")
        .bind(conversation)
        .bind(PURGED)
        .execute(conn)
        .await
        .map(drop)
}

/// The turn that no other follows.
async fn newest_turn(
    conn: &mut SqliteConnection,
    conversation: &str,
) -> Result<Option<String>, sqlx::Error> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT id FROM turns WHERE conversation_id = $1 ORDER BY started_at DESC, id DESC LIMIT 1",
    )
    .bind(conversation)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(id,)| id))
}

async fn old_api_turn(
    conn: &mut SqliteConnection,
    until: i64,
) -> Result<Option<String>, sqlx::Error> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT id FROM turns WHERE conversation_id IS NULL AND ended_at <= $1 \
         ORDER BY ended_at LIMIT 1",
    )
    .bind(until)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(id,)| id))
}

async fn remove_conversation(
    conn: &mut SqliteConnection,
    conversation: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM conversations WHERE id = $1")
        .bind(conversation)
        .execute(conn)
        .await
        .map(drop)
}

/// Removes the last events of a turn, so that what is left is a log without gaps; with the first
/// event the turn itself.
async fn remove_some(conn: &mut SqliteConnection, turn: String) -> Result<Removed, sqlx::Error> {
    let last: Vec<(i64, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT e.seq, e.blob_hash, r.blob_hash FROM events e \
         LEFT JOIN results r ON r.turn_id = e.turn_id AND r.seq = e.seq \
         WHERE e.turn_id = $1 ORDER BY e.seq DESC LIMIT $2",
    )
    .bind(&turn)
    .bind(STEP_EVENTS)
    .fetch_all(&mut *conn)
    .await?;
    let first = last.last().map_or(0, |(seq, ..)| *seq);
    for sql in [
        "DELETE FROM results WHERE turn_id = $1 AND seq >= $2",
        "DELETE FROM events WHERE turn_id = $1 AND seq >= $2",
    ] {
        let removing = sqlx::query(sql).bind(&turn).bind(first);
        removing.execute(&mut *conn).await?;
    }
    let mut blobs: Vec<String> = Vec::new();
    for (_, event, result) in last {
        blobs.extend(event);
        blobs.extend(result);
    }
    if first <= 1 {
        blobs.extend(remove_turn(conn, &turn).await?);
    }
    for hash in blobs {
        remove_unnamed(conn, &hash).await?;
    }
    Ok(if first <= 1 {
        Removed::Turn(TurnId(turn))
    } else {
        Removed::Part
    })
}

/// Removes a turn whose events are gone; the blob of its transcript, if that is one.
async fn remove_turn(
    conn: &mut SqliteConnection,
    turn: &str,
) -> Result<Option<String>, sqlx::Error> {
    let transcript: Option<(Option<String>,)> =
        sqlx::query_as("DELETE FROM transcripts WHERE turn_id = $1 RETURNING blob_hash")
            .bind(turn)
            .fetch_optional(&mut *conn)
            .await?;
    sqlx::query("DELETE FROM turns WHERE id = $1")
        .bind(turn)
        .execute(conn)
        .await?;
    Ok(transcript.and_then(|(hash,)| hash))
}

/// Removes a blob, unless something names it still.
async fn remove_unnamed(conn: &mut SqliteConnection, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM blobs WHERE hash = $1 \
         AND NOT EXISTS (SELECT 1 FROM events WHERE blob_hash = $1) \
         AND NOT EXISTS (SELECT 1 FROM results WHERE blob_hash = $1) \
         AND NOT EXISTS (SELECT 1 FROM transcripts WHERE blob_hash = $1)",
    )
    .bind(hash)
    .execute(conn)
    .await
    .map(drop)
}
