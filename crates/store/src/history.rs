//! Reading conversations, turns and their transcripts, each for the user who owns them.

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
    log_read::fold,
    turn_log::OpenTurn,
};

/// Conversations of one answer, at most: a page of the list.
pub const CONVERSATIONS_PAGE: u32 = 200;

/// Turns of a path that are read, at most; the newest. Longer than anything a model or a person
/// takes in at once.
pub const PATH_TURNS: u32 = 1000;

/// A conversation as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Which.
    pub id: ConversationId,
    /// Made of its first message.
    pub title: String,
    /// When it began, milliseconds since 1970.
    pub created_at: i64,
    /// When a turn of it last began or ended, milliseconds since 1970.
    pub updated_at: i64,
    /// The turn that has not finished, if there is one.
    pub open_turn: Option<TurnId>,
}

impl ConversationRow {
    /// Where the list goes on after this row.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            updated_at: self.updated_at,
            id: self.id.clone(),
        }
    }
}

/// A place in the list of conversations: just before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its last activity, milliseconds since 1970.
    pub updated_at: i64,
    /// Which.
    pub id: ConversationId,
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRow {
    /// Which.
    pub turn: TurnId,
    /// The turn it follows; none for the first of its conversation.
    pub parent: Option<TurnId>,
    /// What happened in it, so far if it has not finished.
    pub transcript: Transcript,
}

impl Store {
    /// The turns that have not finished, of all users, oldest first: what recovery starts from.
    pub async fn open_turns(&self) -> Result<Vec<OpenTurn>, StoreError> {
        let rows: Vec<OpenColumns> = sqlx::query_as(
            "SELECT id, subject, conversation_id, sid, epoch FROM turns WHERE ended IS NULL \
             ORDER BY started_at, id",
        )
        .fetch_all(&self.0.readers)
        .await?;
        let open = |(turn, subject, conversation, sid, epoch): OpenColumns| OpenTurn {
            turn: TurnId(turn),
            subject: Subject(subject),
            conversation: conversation.map(ConversationId),
            sid: Sid(sid),
            epoch: stored_count(epoch),
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
            "SELECT tr.size, tr.body, b.body FROM turns t \
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

    /// The conversations of a user, the last used first: at most `limit`, and at most
    /// [`CONVERSATIONS_PAGE`], that come after `before` (a row's [`cursor`](ConversationRow::cursor)).
    pub async fn conversations(
        &self,
        subject: &Subject,
        before: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<ConversationRow>, StoreError> {
        let (updated_at, id) = before.map_or((i64::MAX, ""), |c| (c.updated_at, c.id.as_str()));
        let rows: Vec<ConversationColumns> = sqlx::query_as(
            "SELECT c.id, c.title, c.created_at, c.updated_at, t.id FROM conversations c \
             LEFT JOIN turns t ON t.conversation_id = c.id AND t.ended IS NULL \
             WHERE c.subject = $1 AND (c.updated_at, c.id) < ($2, $3) \
             ORDER BY c.updated_at DESC, c.id DESC LIMIT $4",
        )
        .bind(subject.as_str())
        .bind(updated_at)
        .bind(id)
        .bind(i64::from(limit.min(CONVERSATIONS_PAGE)))
        .fetch_all(&self.0.readers)
        .await?;
        Ok(rows.into_iter().map(conversation_row).collect())
    }

    /// A conversation. `None` when the user has none of that id.
    pub async fn conversation(
        &self,
        subject: &Subject,
        id: &ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let row: Option<ConversationColumns> = sqlx::query_as(
            "SELECT c.id, c.title, c.created_at, c.updated_at, t.id FROM conversations c \
             LEFT JOIN turns t ON t.conversation_id = c.id AND t.ended IS NULL \
             WHERE c.id = $1 AND c.subject = $2",
        )
        .bind(id.as_str())
        .bind(subject.as_str())
        .fetch_optional(&self.0.readers)
        .await?;
        Ok(row.map(conversation_row))
    }

    /// The turns of a conversation that led to its newest one, oldest first: of a longer path the
    /// last [`PATH_TURNS`]. `None` when the user has no such conversation.
    pub async fn turns(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
    ) -> Result<Option<Vec<TurnRow>>, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        let rows: Vec<PathColumns> = sqlx::query_as(
            "WITH RECURSIVE path (id, parent_id, depth) AS ( \
                 SELECT id, parent_id, 1 FROM ( \
                     SELECT id, parent_id FROM turns WHERE conversation_id = $1 AND subject = $2 \
                     ORDER BY started_at DESC, id DESC LIMIT 1) newest \
                 UNION ALL \
                 SELECT t.id, t.parent_id, path.depth + 1 FROM turns t \
                 JOIN path ON t.id = path.parent_id WHERE path.depth < $3) \
             SELECT path.id, path.parent_id, tr.size, tr.body, b.body FROM path \
             LEFT JOIN transcripts tr ON tr.turn_id = path.id \
             LEFT JOIN blobs b ON b.hash = tr.blob_hash \
             ORDER BY path.depth DESC",
        )
        .bind(conversation.as_str())
        .bind(subject.as_str())
        .bind(i64::from(PATH_TURNS))
        .fetch_all(&mut *tx)
        .await?;
        let mut turns = Vec::with_capacity(rows.len());
        for (turn, parent, size, inline, packed) in rows {
            let turn = TurnId(turn);
            let columns = (size, inline, packed);
            let transcript = transcript(&mut tx, &turn, columns, &self.0.tasks).await?;
            turns.push(TurnRow {
                turn,
                parent: parent.map(TurnId),
                transcript,
            });
        }
        // A conversation begins with its first turn: one without turns is not there.
        Ok((!turns.is_empty()).then_some(turns))
    }
}

/// `id`, `subject`, `conversation_id`, `sid`, `epoch` of an open turn.
type OpenColumns = (String, String, Option<String>, String, i64);

/// `id`, `title`, `created_at`, `updated_at`, open turn.
type ConversationColumns = (String, String, i64, i64, Option<String>);

fn conversation_row(columns: ConversationColumns) -> ConversationRow {
    let (id, title, created_at, updated_at, open_turn) = columns;
    ConversationRow {
        id: ConversationId(id),
        title,
        created_at,
        updated_at,
        open_turn: open_turn.map(TurnId),
    }
}

/// `size`, `body`, the blob's body; all null while the turn is open.
type TranscriptColumns = (Option<i64>, Option<String>, Option<Vec<u8>>);

/// `id`, `parent_id`, and the transcript's columns.
type PathColumns = (
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
);

/// The stored transcript of a finished turn, or the fold of the log of an open one.
async fn transcript(
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
