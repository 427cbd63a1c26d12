//! Conversations: listed, found, renamed, deleted, restored; each for the user who owns it.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use chat::{
    ids::{ConversationId, Subject, TurnId},
    selection::Selection,
};
use sqlx::{Connection, SqliteConnection};

use crate::{Store, error::StoreError, writer::Write};

/// Conversations of one answer, at most: a page of the list.
pub const CONVERSATIONS_PAGE: u32 = 200;

/// A conversation as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Which.
    pub id: ConversationId,
    /// Made of its first message, or given to it.
    pub title: String,
    /// When it began, milliseconds since 1970.
    pub created_at: i64,
    /// When a turn of it last began or ended, milliseconds since 1970.
    pub updated_at: i64,
    /// The turn that has not finished, if there is one.
    pub open_turn: Option<TurnId>,
    /// What is switched off in it.
    pub off: Selection,
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

/// As links have it: the time, a dot, the id.
impl Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.updated_at, self.id)
    }
}

/// What is no place in the list of conversations.
#[derive(Debug, thiserror::Error)]
#[error("no place in the list of conversations")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (updated_at, id) = text.split_once('.').ok_or(NoCursor)?;
        Ok(Self {
            updated_at: updated_at.parse().map_err(|_| NoCursor)?,
            id: id.into(),
        })
    }
}

/// What is to become different about a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationChange {
    /// Its title.
    pub title: Option<String>,
    /// What is switched off in it.
    pub off: Option<Selection>,
}

/// The [`Columns`] of conversations.
macro_rules! select_rows {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.title, c.created_at, c.updated_at, t.id, c.off FROM conversations c \
             LEFT JOIN turns t ON t.conversation_id = c.id AND t.ended IS NULL ",
            $rest
        )
    };
}

impl Store {
    /// The conversations of a user, the last used first: at most `limit`, and at most
    /// [`CONVERSATIONS_PAGE`], that come after `before` (a row's [`cursor`](ConversationRow::cursor)).
    pub async fn conversations(
        &self,
        subject: &Subject,
        before: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<ConversationRow>, StoreError> {
        self.search(subject, "", before, limit).await
    }

    /// Those of [`conversations`](Self::conversations) whose title holds `words`, as they stand but
    /// for the case of letters in any script.
    pub async fn search(
        &self,
        subject: &Subject,
        words: &str,
        before: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<ConversationRow>, StoreError> {
        let (updated_at, id) = before.map_or((i64::MAX, ""), |c| (c.updated_at, c.id.as_str()));
        let rows: Vec<Columns> = sqlx::query_as(select_rows!(
            "WHERE c.subject = $1 AND c.deleted_at IS NULL \
             AND (c.updated_at, c.id) < ($2, $3) AND c.title_folded LIKE $4 ESCAPE '!' \
             ORDER BY c.updated_at DESC, c.id DESC LIMIT $5"
        ))
        .bind(subject.as_str())
        .bind(updated_at)
        .bind(id)
        .bind(pattern(words))
        .bind(i64::from(limit.min(CONVERSATIONS_PAGE)))
        .fetch_all(&self.0.readers)
        .await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// A conversation. `None` when the user has none of that id.
    pub async fn conversation(
        &self,
        subject: &Subject,
        id: &ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let found: Option<Columns> = sqlx::query_as(select_rows!(
            "WHERE c.id = $1 AND c.subject = $2 AND c.deleted_at IS NULL"
        ))
        .bind(id.as_str())
        .bind(subject.as_str())
        .fetch_optional(&self.0.readers)
        .await?;
        Ok(found.map(row))
    }

    /// Changes a conversation; its place in the list stays. Returns it as it is then; `None` when
    /// the user has none of that id.
    pub async fn change_conversation(
        &self,
        subject: &Subject,
        id: &ConversationId,
        change: ConversationChange,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let ConversationChange { title, off } = change;
        let changing = Changing {
            subject: subject.clone(),
            id: id.clone(),
            folded: title.as_deref().map(folded),
            title,
            off: off.as_ref().map(encoded).transpose()?,
        };
        self.0.writer.write(changing).await?;
        self.conversation(subject, id).await
    }

    /// Deletes a conversation, at `at` (milliseconds since 1970): from now on nothing of it is
    /// read, and no turn opened in it. Whether there was one.
    pub async fn delete_conversation(
        &self,
        subject: &Subject,
        id: &ConversationId,
        at: i64,
    ) -> Result<bool, StoreError> {
        let deleting = Deleting {
            subject: subject.clone(),
            id: id.clone(),
            at,
        };
        self.0.writer.write(deleting).await
    }

    /// Brings back a conversation that was deleted after `since` (milliseconds since 1970); one
    /// that was not deleted stays. Returns it; `None` when there is none to bring back.
    pub async fn restore_conversation(
        &self,
        subject: &Subject,
        id: &ConversationId,
        since: i64,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let restoring = Restoring {
            subject: subject.clone(),
            id: id.clone(),
            since,
        };
        self.0.writer.write(restoring).await?;
        self.conversation(subject, id).await
    }
}

/// `id`, `title`, `created_at`, `updated_at`, open turn, `off`.
type Columns = (String, String, i64, i64, Option<String>, Option<String>);

fn row(columns: Columns) -> ConversationRow {
    let (id, title, created_at, updated_at, open_turn, off) = columns;
    let off = off.map(|json| {
        serde_json::from_str(&json).unwrap_or_else(|error| {
            tracing::warn!(conversation = id, %error, "what is switched off cannot be read");
            Selection::default()
        })
    });
    ConversationRow {
        id: ConversationId(id),
        title,
        created_at,
        updated_at,
        open_turn: open_turn.map(TurnId),
        off: off.unwrap_or_default(),
    }
}

/// The stored form of a selection.
pub(crate) fn encoded(off: &Selection) -> Result<String, StoreError> {
    serde_json::to_string(off).map_err(|error| StoreError::body("a selection", error))
}

/// The text without the case of its letters, character by character: by way of capitals, so that
/// `ß` is `SS`, and both of the Greek sigmas are one.
pub fn folded(text: &str) -> String {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Folds the titles that are not: those of conversations that an earlier version made.
pub(crate) async fn fold_titles(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let titles: Vec<(String, String)> =
        sqlx::query_as("SELECT id, title FROM conversations WHERE title_folded = ''")
            .fetch_all(&mut *conn)
            .await?;
    if titles.is_empty() {
        return Ok(());
    }
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    for (id, title) in titles {
        sqlx::query("UPDATE conversations SET title_folded = $2 WHERE id = $1")
            .bind(id)
            .bind(folded(&title))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// The pattern of `LIKE … ESCAPE '!'` for titles that hold these words.
fn pattern(words: &str) -> String {
    let mut pattern = String::from("%");
    for c in folded(words).chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A conversation is changed.
struct Changing {
    subject: Subject,
    id: ConversationId,
    title: Option<String>,
    folded: Option<String>,
    off: Option<String>,
}

impl Write for Changing {
    type Done = ();
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE conversations SET title = COALESCE($3, title), \
             title_folded = COALESCE($4, title_folded), off = COALESCE($5, off) \
             WHERE id = $1 AND subject = $2 AND deleted_at IS NULL",
        )
        .bind(self.id.as_str())
        .bind(self.subject.as_str())
        .bind(&self.title)
        .bind(&self.folded)
        .bind(&self.off)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// A conversation is deleted.
struct Deleting {
    subject: Subject,
    id: ConversationId,
    at: i64,
}

impl Write for Deleting {
    type Done = bool;
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let deleted = sqlx::query(
            "UPDATE conversations SET deleted_at = $3 \
             WHERE id = $1 AND subject = $2 AND deleted_at IS NULL",
        )
        .bind(self.id.as_str())
        .bind(self.subject.as_str())
        .bind(self.at)
        .execute(conn)
        .await?;
        Ok(deleted.rows_affected() > 0)
    }
}

/// A conversation is brought back.
struct Restoring {
    subject: Subject,
    id: ConversationId,
    since: i64,
}

impl Write for Restoring {
    type Done = ();
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE conversations SET deleted_at = NULL \
             WHERE id = $1 AND subject = $2 AND deleted_at > $3",
        )
        .bind(self.id.as_str())
        .bind(self.subject.as_str())
        .bind(self.since)
        .execute(conn)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{folded, pattern};

    #[test]
    fn letters_of_any_script_lose_their_case() {
        for (one, other) in [
            ("Sales", "sALES"),
            ("GRÖSSE", "größe"),
            ("ΟΔΟΣ", "οδος"),
            ("ПРОДАЖИ", "Продажи"),
            ("ÉTÉ", "été"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("é"), folded("e"));
    }

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(pattern("50% of_A!"), "%50!% of!_a!!%");
        assert_eq!(pattern(""), "%%");
    }
}
