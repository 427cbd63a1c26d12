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

/// Which turns of which path through a conversation are looked at. A branch is the path to the
/// newest turn of all, or to the newest that comes of the turn that it goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window<'a> {
    /// The last turns of the newest branch.
    #[default]
    Newest,
    /// The last turns of the branch through this one.
    Through(&'a TurnId),
    /// Those around this one on the branch through it; the last ones, if it is among them.
    Around(&'a TurnId),
    /// Those just before this one, on the branch through it.
    Before(&'a TurnId),
    /// Those just after this one, on the branch through it.
    After(&'a TurnId),
    /// The last turns of the path to this one, which it ends with.
    To(&'a TurnId),
}

/// What is seen of a branch through a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The turns in the window, oldest first.
    pub turns: Vec<TurnRow>,
    /// The turn that the branch ends with.
    pub last: TurnId,
    /// Whether that one comes after the window.
    pub goes_on: bool,
}

impl Store {
    /// What a window shows of a conversation: at most `limit` turns, and at most [`PATH_TURNS`].
    /// `None` when the user has no such conversation, or it no such turn.
    pub async fn branch(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
        window: Window<'_>,
        limit: u32,
    ) -> Result<Option<Branch>, StoreError> {
        let limit = limit.min(PATH_TURNS);
        let mut tx = self.0.readers.begin().await?;
        let tree = Tree::read(&mut tx, subject, conversation).await?;
        let Some(last) = tree.last(window) else {
            return Ok(None);
        };
        let (turns, goes_on) = match tree.seen(window, last, limit) {
            Some((end, count)) => {
                let turns = self.rows(&mut tx, &tree, end, count).await?;
                (turns, end != last)
            }
            None => (Vec::new(), matches!(window, Window::Before(_))),
        };
        Ok(Some(Branch {
            turns,
            last: last.clone(),
            goes_on,
        }))
    }

    /// So many of the last turns of the path to `last`.
    async fn rows(
        &self,
        conn: &mut SqliteConnection,
        tree: &Tree,
        last: &TurnId,
        count: u32,
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
        .bind(i64::from(count))
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

    /// Where the branch ends that a window is on.
    fn last(&self, window: Window<'_>) -> Option<&TurnId> {
        match window {
            Window::Newest => self.order.last(),
            Window::Through(turn)
            | Window::Around(turn)
            | Window::Before(turn)
            | Window::After(turn) => self.newest_of(turn),
            Window::To(turn) => self.parents.get_key_value(turn).map(|(turn, _)| turn),
        }
    }

    /// The last turn that a window shows of the branch to `last`, and how many it shows at most;
    /// `None` if it shows none.
    fn seen<'a>(
        &'a self,
        window: Window<'_>,
        last: &'a TurnId,
        limit: u32,
    ) -> Option<(&'a TurnId, u32)> {
        let back = || std::iter::successors(Some(last), |turn| self.parent(turn));
        // How many turns of the branch come after one.
        let after = |turn: &TurnId| {
            let after = back().position(|each| each == turn);
            after.and_then(|after| u32::try_from(after).ok())
        };
        // The one that so many come after.
        let nth = |after: u32| back().nth(after as usize);
        match window {
            Window::Newest | Window::Through(_) | Window::To(_) => Some((last, limit)),
            Window::Before(turn) => Some((self.parent(turn)?, limit)),
            Window::Around(turn) => {
                let after = after(turn)?;
                let left_out = if after < limit { 0 } else { after - limit / 2 };
                Some((nth(left_out)?, limit))
            }
            Window::After(turn) => {
                let after = after(turn)?;
                let shown = limit.min(after);
                (shown > 0).then_some((nth(after - shown)?, shown))
            }
        }
    }

    fn parent(&self, turn: &TurnId) -> Option<&TurnId> {
        self.parents.get(turn)?.as_ref()
    }

    /// The newest turn that comes of this one.
    fn newest_of(&self, through: &TurnId) -> Option<&TurnId> {
        let mut below: HashSet<&TurnId> = HashSet::new();
        let mut newest = None;
        for turn in &self.order {
            let parent = self.parent(turn);
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
