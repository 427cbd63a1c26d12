//! What opening a turn writes, in one transaction.

use chat::{
    event::Event,
    ids::{ConversationId, TurnId},
    prompt,
};
use sqlx::SqliteConnection;

use crate::{
    body::count,
    conversations::{encoded, folded},
    error::StoreError,
    event_row::EventRow,
    turn_log::{Follows, NewTurn, OpenTurnError, Opened},
    turn_writes::touch,
    writer::Write,
};

/// The epoch of a turn that nobody has taken over.
const FIRST_EPOCH: u64 = 1;

/// A turn is opened.
pub(crate) struct Opening {
    new: NewTurn,
    title: String,
    off: Option<String>,
    rows: Vec<EventRow>,
}

impl Opening {
    pub(crate) fn encode(new: NewTurn) -> Result<Self, StoreError> {
        let title = prompt::title(&new.started.message);
        let started = Event::TurnStarted(new.started.clone());
        let events = std::iter::once(&started).chain(&new.then);
        let rows = events.map(EventRow::encode).collect::<Result<_, _>>()?;
        let off = if new.off.is_empty() {
            None
        } else {
            Some(encoded(&new.off)?)
        };
        Ok(Self {
            new,
            title,
            off,
            rows,
        })
    }

    /// The conversation, if it belongs to one.
    fn conversation(&self) -> Option<&str> {
        let conversation = self.new.started.conversation.as_ref();
        conversation.map(ConversationId::as_str)
    }

    /// Refuses a message that was posted before.
    async fn check_message(&self, conn: &mut SqliteConnection) -> Result<(), OpenTurnError> {
        let known: Option<(String, Option<String>)> = sqlx::query_as(
            "SELECT id, conversation_id FROM turns WHERE subject = $1 AND message_id = $2",
        )
        .bind(self.new.subject.as_str())
        .bind(&self.new.message_id)
        .fetch_optional(conn)
        .await?;
        match known {
            Some((turn, conversation)) => Err(OpenTurnError::Duplicate {
                turn: TurnId(turn),
                conversation: conversation.map(ConversationId),
            }),
            None => Ok(()),
        }
    }

    /// Makes the conversation, or refuses one of another user or with an open turn.
    async fn claim_conversation(&self, conn: &mut SqliteConnection) -> Result<(), OpenTurnError> {
        let Some(conversation) = self.conversation() else {
            return Ok(());
        };
        let known: Option<(String, Option<i64>, Option<String>)> = sqlx::query_as(
            "SELECT c.subject, c.deleted_at, t.id FROM conversations c \
             LEFT JOIN turns t ON t.conversation_id = c.id AND t.ended IS NULL \
             WHERE c.id = $1",
        )
        .bind(conversation)
        .fetch_optional(&mut *conn)
        .await?;
        match known {
            Some((owner, deleted, _))
                if owner != self.new.subject.as_str() || deleted.is_some() =>
            {
                return Err(OpenTurnError::NotFound);
            }
            Some((_, _, Some(turn))) => return Err(OpenTurnError::Busy { turn: TurnId(turn) }),
            Some((_, _, None)) => {
                touch(conn, conversation, self.new.at).await?;
            }
            None => {
                sqlx::query(
                    "INSERT INTO conversations \
                     (id, subject, title, title_folded, off, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $6)",
                )
                .bind(conversation)
                .bind(self.new.subject.as_str())
                .bind(&self.title)
                .bind(folded(&self.title))
                .bind(&self.off)
                .bind(self.new.at)
                .execute(conn)
                .await?;
            }
        }
        Ok(())
    }

    /// Refuses a parent that is not of the conversation.
    async fn check_parent(&self, conn: &mut SqliteConnection) -> Result<(), OpenTurnError> {
        let Some(parent) = &self.new.started.parent else {
            return Ok(());
        };
        let (known,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM turns WHERE id = $1 AND conversation_id = $2")
                .bind(parent.as_str())
                .bind(self.conversation())
                .fetch_one(conn)
                .await?;
        if known == 0 {
            Err(OpenTurnError::WrongParent)
        } else {
            Ok(())
        }
    }

    /// When the turn begins in the order of its conversation: later than every turn before it,
    /// also when the clock was set back. Refuses a parent that is not the newest and was to be.
    async fn started_at(&self, conn: &mut SqliteConnection) -> Result<i64, OpenTurnError> {
        let newest: Option<(String, i64)> = sqlx::query_as(
            "SELECT id, started_at FROM turns WHERE conversation_id = $1 \
             ORDER BY started_at DESC, id DESC LIMIT 1",
        )
        .bind(self.conversation())
        .fetch_optional(conn)
        .await?;
        let (newest, started_at) = newest.unzip();
        let parent = self.new.started.parent.as_ref().map(TurnId::as_str);
        if self.new.follows == Follows::Newest && parent != newest.as_deref() {
            return Err(OpenTurnError::WrongParent);
        }
        Ok(started_at.map_or(self.new.at, |before| {
            self.new.at.max(before.saturating_add(1))
        }))
    }
}

impl Write for Opening {
    type Done = Opened;
    type Refused = OpenTurnError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<Opened, OpenTurnError> {
        let started_at = match self.conversation() {
            Some(_) => {
                self.check_message(&mut *conn).await?;
                self.claim_conversation(&mut *conn).await?;
                self.check_parent(&mut *conn).await?;
                self.started_at(&mut *conn).await?
            }
            // Nothing comes before it, and its message's id is its own.
            None => self.new.at,
        };
        let opened = Opened {
            epoch: FIRST_EPOCH,
            seq: self.rows.len() as u64,
        };
        let NewTurn {
            subject,
            message_id,
            turn,
            at,
            started,
            then: _,
            follows: _,
            off: _,
        } = &self.new;
        sqlx::query(
            "INSERT INTO turns (id, conversation_id, subject, parent_id, message_id, sid, \
             started_at, epoch, last_seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(turn.as_str())
        .bind(self.conversation())
        .bind(subject.as_str())
        .bind(started.parent.as_ref().map(TurnId::as_str))
        .bind(message_id)
        .bind(started.sid.as_str())
        .bind(started_at)
        .bind(count(opened.epoch))
        .bind(count(opened.seq))
        .execute(&mut *conn)
        .await?;
        EventRow::insert(conn, turn, (1, *at), &self.rows).await?;
        Ok(opened)
    }
}

impl From<sqlx::Error> for OpenTurnError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}
