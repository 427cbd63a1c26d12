//! Conversations, turn logs and blobs in SQLite.
//!
//! A [`Store`] is the only thing that knows SQL. Turn logs have one write primitive,
//! [`Store::append`] (and for a log that cannot be read any more, [`Store::finish_unreadable`]);
//! everything else about a turn that is stored (its transcript, whether it is open, when its
//! conversation was last used) is a projection of its log, written in the transaction of the append
//! that changes it and by nothing else. Everything a user reads is keyed by their subject: what
//! belongs to another is not there.
//!
//! What a commit survives: the database is in WAL mode with `synchronous=FULL`, so once a write was
//! answered it survives the death of the process (a kill, a crash, an abort) and, on a disk that
//! keeps what it says it keeps, that of the machine (a loss of power, a kernel that dies). The
//! price, a sync of the disk, is paid once for all the writes that one commit groups.

mod branch;
mod conversations;
mod error;
mod heads;
mod history;
mod log_read;
mod probe;
mod purge;
mod turn_log;
mod unreadable;

mod opening;
mod turn_writes;

mod body;
mod event_row;
mod open;
mod writer;

pub mod disk;
pub mod traffic;

use std::{path::PathBuf, sync::Arc};

use sqlx::SqlitePool;
use tokio_util::task::TaskTracker;

use crate::writer::Writer;
pub use crate::{
    branch::{Branch, PATH_TURNS, TurnRow, Window},
    conversations::{
        CONVERSATIONS_PAGE, ConversationChange, ConversationRow, Cursor, NoCursor, folded,
    },
    error::StoreError,
    heads::TurnHead,
    open::OpenError,
    purge::{Expired, Removed},
    turn_log::{Append, AppendError, Follows, NewTurn, OpenTurn, OpenTurnError, Opened, Taken},
};

/// A database. Clones are handles to the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Writer,
    readers: SqlitePool,
    tasks: TaskTracker,
}

impl Store {
    /// Opens the file that `url` (`sqlite://PATH`) names, makes it if there is none, and brings its
    /// schema up to date. The task that writes is spawned on `tasks`; it ends with
    /// [`close`](Self::close), or when the last handle is dropped.
    pub async fn open(url: &str, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let path = open::path(url)?;
        let failed = |source| open::failed(&path, source);
        let mut conn = open::migrated_writer(&path, &open::SCHEMA).await?;
        conversations::fold_titles(&mut conn)
            .await
            .map_err(failed)?;
        let readers = open::readers(&path);
        let writer = Writer::start(path.clone(), conn, tasks);
        Ok(Self(Arc::new(Inner {
            path,
            writer,
            readers,
            tasks: tasks.clone(),
        })))
    }

    /// Waits for what is being read, commits what waits to be written, and ends. What is asked of
    /// any handle afterwards fails with [`StoreError::Closed`].
    pub async fn close(&self) {
        // The readers first: the last to leave, the writer, then folds the WAL into the file.
        self.0.readers.close().await;
        self.0.writer.close().await;
    }
}

#[cfg(test)]
mod tests;
