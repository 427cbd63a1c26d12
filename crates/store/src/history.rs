//! Reading turns and their transcripts, each for the user who owns them.

use chat::{
    ids::{ConversationId, Sid, Subject, TurnId},
    transcript::Transcript,
};
use sqlx::SqliteConnection;
use tokio_util::task::TaskTracker;

use crate::{
    Store,
    body::{Stored, stored_count},
    error::StoreError,
    log_read::{fold, owns_turn},
    turn_log::OpenTurn,
};

impl Store {
    /// The turns that have not finished, of all users, oldest first: what recovery starts from.
    pub async fn open_turns(&self) -> Result<Vec<OpenTurn>, StoreError> {
        let rows: Vec<OpenColumns> = sqlx::query_as(
            "SELECT t.id, t.subject, t.conversation_id, t.sid, t.epoch, c.deleted_at FROM turns t \
             LEFT JOIN conversations c ON c.id = t.conversation_id WHERE t.ended IS NULL \
             ORDER BY t.started_at, t.id",
        )
        .fetch_all(&self.0.readers)
        .await?;
        let open = |(turn, subject, conversation, sid, epoch, deleted): OpenColumns| OpenTurn {
            turn: TurnId(turn),
            subject: Subject(subject),
            conversation: conversation.map(ConversationId),
            sid: Sid(sid),
            epoch: stored_count(epoch),
            deleted: deleted.is_some(),
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// The transcript of a turn, so far if it has not finished. `None` when the user has no such
    /// turn.
    pub async fn transcript(
        &self,
        subject: &Subject,
        turn: &TurnId,
    ) -> Result<Option<Transcript>, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        let row: Option<TranscriptColumns> = sqlx::query_as(
            "SELECT tr.size, tr.body, b.body FROM readable_turns t \
             LEFT JOIN transcripts tr ON tr.turn_id = t.id \
             LEFT JOIN blobs b ON b.hash = tr.blob_hash \
             WHERE t.id = $1 AND t.subject = $2",
        )
        .bind(turn.as_str())
        .bind(subject.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(columns) = row else { return Ok(None) };
        Ok(Some(
            transcript(&mut tx, turn, columns, &self.0.tasks).await?,
        ))
    }

    /// Whether the user has such a turn; not in a conversation that is deleted.
    pub async fn has_turn(&self, subject: &Subject, turn: &TurnId) -> Result<bool, StoreError> {
        let mut conn = self.0.readers.acquire().await?;
        owns_turn(&mut conn, subject, turn).await
    }

    /// The turn that a message of the user's opened, with its conversation, if it has one. `None`
    /// when no message of that id was posted.
    pub async fn posted(
        &self,
        subject: &Subject,
        message_id: &str,
    ) -> Result<Option<(TurnId, Option<ConversationId>)>, StoreError> {
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "SELECT id, conversation_id FROM turns WHERE subject = $1 AND message_id = $2",
        )
        .bind(subject.as_str())
        .bind(message_id)
        .fetch_optional(&self.0.readers)
        .await?;
        Ok(row.map(|(turn, conversation)| (TurnId(turn), conversation.map(ConversationId))))
    }
}

/// `id`, `subject`, `conversation_id`, `sid`, `epoch` of an open turn; `deleted_at` of its
/// conversation.
type OpenColumns = (String, String, Option<String>, String, i64, Option<i64>);

/// `size`, `body`, the blob's body; all null while the turn is open.
pub(crate) type TranscriptColumns = (Option<i64>, Option<String>, Option<Vec<u8>>);

/// The stored transcript of a finished turn, or the fold of the log of an open one.
pub(crate) async fn transcript(
    conn: &mut SqliteConnection,
    turn: &TurnId,
    (size, inline, packed): TranscriptColumns,
    tasks: &TaskTracker,
) -> Result<Transcript, StoreError> {
    if let Some(size) = size {
        let stored = Stored {
            size,
            inline,
            packed,
        };
        match stored.decode("a transcript", tasks).await {
            Ok(transcript) => return Ok(transcript),
            // A projection can always be made anew, if this version does not read it any more.
            Err(error) => tracing::warn!(%turn, %error, "a transcript is folded anew"),
        }
    }
    fold(conn, turn, tasks).await
}
