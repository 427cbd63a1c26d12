//! The tree of a conversation's turns, and the paths through it.

use std::collections::{HashMap, HashSet};

use chat::{
    ids::{ConversationId, Subject, TurnId},
    transcript::Transcript,
};
use sqlx::SqliteConnection;

use crate::{
    Store,
    error::StoreError,
    history::{TranscriptColumns, transcript},
};

/// Turns of a path that are read, at most; the newest. Longer than anything a model or a person
/// takes in at once.
pub const PATH_TURNS: u32 = 1000;

/// Turns of a conversation among which branches are looked for, at most; the newest. Each takes
/// some hundred bytes while its conversation is read.
const TREE_TURNS: u32 = 20_000;

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRow {
    /// Which.
    pub turn: TurnId,
    /// The turn it follows; none for the first of its conversation.
    pub parent: Option<TurnId>,
    /// All turns that follow that one, this one among them, oldest first: what it says again, or
    /// was edited to.
    pub siblings: Vec<TurnId>,
    /// What happened in it, so far if it has not finished.
    pub transcript: Transcript,
}

/// Which turns of a conversation are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window<'a> {
    /// The path to its newest turn.
    #[default]
    Newest,
    /// The path to the newest turn that comes of this one, which it goes through.
    Through(&'a TurnId),
    /// The path to the turn that this one follows.
    Before(&'a TurnId),
}

impl Store {
    /// The turns of a conversation that led to its newest one, oldest first: of a longer path the
    /// last [`PATH_TURNS`]. `None` when the user has no such conversation.
    pub async fn turns(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
    ) -> Result<Option<Vec<TurnRow>>, StoreError> {
        self.branch(subject, conversation, None).await
    }

    /// The turns of a conversation that led to the newest one that comes of `through` (to the
    /// newest of all if none is named), oldest first: of a longer path the last [`PATH_TURNS`].
    /// `None` when the user has no such conversation, or it no such turn.
    pub async fn branch(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
        through: Option<&TurnId>,
    ) -> Result<Option<Vec<TurnRow>>, StoreError> {
        let window = through.map_or(Window::Newest, Window::Through);
        self.window(subject, conversation, window, PATH_TURNS).await
    }

    /// The last turns of a path, oldest first: at most `limit`, and at most [`PATH_TURNS`]. `None`
    /// when the user has no such conversation, or it no such turn.
    pub async fn window(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
        window: Window<'_>,
        limit: u32,
    ) -> Result<Option<Vec<TurnRow>>, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        let tree = Tree::read(&mut tx, subject, conversation).await?;
        let last = match window {
            Window::Newest => tree.newest(None),
            Window::Through(turn) => tree.newest(Some(turn)),
            Window::Before(turn) => match tree.parents.get(turn) {
                Some(Some(parent)) => Some(parent),
                Some(None) => return Ok(Some(Vec::new())),
                None => None,
            },
        };
        match last {
            Some(last) => self.rows(&mut tx, &tree, last, limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// The turns of a conversation that led to `last`, and that one, oldest first: of a longer path
    /// the last [`PATH_TURNS`]. `None` when the user has no such conversation, or it no such turn.
    pub async fn path(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
        last: &TurnId,
    ) -> Result<Option<Vec<TurnRow>>, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        let tree = Tree::read(&mut tx, subject, conversation).await?;
        if tree.parents.contains_key(last) {
            self.rows(&mut tx, &tree, last, PATH_TURNS).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// The last turns of the path to `last`.
    async fn rows(
        &self,
        conn: &mut SqliteConnection,
        tree: &Tree,
        last: &TurnId,
        limit: u32,
    ) -> Result<Vec<TurnRow>, StoreError> {
        let rows: Vec<PathColumns> = sqlx::query_as(
            "WITH RECURSIVE path (id, parent_id, depth) AS ( \
                 SELECT id, parent_id, 1 FROM turns WHERE id = $1 \
                 UNION ALL \
                 SELECT t.id, t.parent_id, path.depth + 1 FROM turns t \
                 JOIN path ON t.id = path.parent_id WHERE path.depth < $2) \
             SELECT path.id, path.parent_id, tr.size, tr.body, b.body FROM path \
             LEFT JOIN transcripts tr ON tr.turn_id = path.id \
             LEFT JOIN blobs b ON b.hash = tr.blob_hash \
             ORDER BY path.depth DESC",
        )
        .bind(last.as_str())
        .bind(i64::from(limit.min(PATH_TURNS)))
        .fetch_all(&mut *conn)
        .await?;
        let mut turns = Vec::with_capacity(rows.len());
        for (turn, parent, size, inline, packed) in rows {
            let turn = TurnId(turn);
            let columns: TranscriptColumns = (size, inline, packed);
            let parent = parent.map(TurnId);
            turns.push(TurnRow {
                transcript: transcript(conn, &turn, columns, &self.0.tasks).await?,
                siblings: tree.following(parent.as_ref()),
                turn,
                parent,
            });
        }
        Ok(turns)
    }
}

/// `id`, `parent_id`, and the transcript's columns.
type PathColumns = (
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
);

/// Which turns of a conversation follow which.
struct Tree {
    /// Oldest first: each stands behind the one it follows.
    order: Vec<TurnId>,
    parents: HashMap<TurnId, Option<TurnId>>,
    children: HashMap<Option<TurnId>, Vec<TurnId>>,
}

impl Tree {
    /// Empty when the user has no such conversation: one begins with its first turn.
    async fn read(
        conn: &mut SqliteConnection,
        subject: &Subject,
        conversation: &ConversationId,
    ) -> Result<Self, StoreError> {
        let mut rows: Vec<(String, Option<String>)> = sqlx::query_as(
            "SELECT id, parent_id FROM readable_turns \
             WHERE conversation_id = $1 AND subject = $2 \
             ORDER BY started_at DESC, id DESC LIMIT $3",
        )
        .bind(conversation.as_str())
        .bind(subject.as_str())
        .bind(i64::from(TREE_TURNS))
        .fetch_all(conn)
        .await?;
        rows.reverse();
        let mut tree = Self {
            order: Vec::with_capacity(rows.len()),
            parents: HashMap::with_capacity(rows.len()),
            children: HashMap::new(),
        };
        for (turn, parent) in rows {
            let (turn, parent) = (TurnId(turn), parent.map(TurnId));
            let following = tree.children.entry(parent.clone()).or_default();
            following.push(turn.clone());
            tree.order.push(turn.clone());
            tree.parents.insert(turn, parent);
        }
        Ok(tree)
    }

    /// The newest turn that comes of this one, or of all.
    fn newest(&self, through: Option<&TurnId>) -> Option<&TurnId> {
        let Some(through) = through else {
            return self.order.last();
        };
        let mut below: HashSet<&TurnId> = HashSet::new();
        let mut newest = None;
        for turn in &self.order {
            let parent = self.parents.get(turn).and_then(Option::as_ref);
            if turn == through || parent.is_some_and(|parent| below.contains(parent)) {
                below.insert(turn);
                newest = Some(turn);
            }
        }
        newest
    }

    /// The turns that follow this one, oldest first.
    fn following(&self, parent: Option<&TurnId>) -> Vec<TurnId> {
        let following = self.children.get(&parent.cloned());
        following.cloned().unwrap_or_default()
    }
}
