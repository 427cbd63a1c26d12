//! Traffic: what was said to models, MCP servers and Pomerium, in a file of its own beside the
//! conversations (`toolgate.db` has `toolgate-traffic.db`).
//!
//! Writing never waits and never fails a turn: what is recorded goes into a bounded queue, a task
//! of its own writes it in groups, and what does not fit is dropped and counted. A commit survives
//! the death of the process; the death of the machine may cost the last of them (`NORMAL`), which
//! for a record of what passed is enough.
//!
//! Bodies are compressed. What comes again and again (the messages and tools of a model request,
//! the answer to `tools/list`) is stored once and referred to, byte for byte.

mod exchange;
mod read;
mod reported;
mod retention;

mod queue;
mod writer;

mod apply;
mod pack;
mod prepare;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteAutoVacuum, SqliteJournalMode, SqliteSynchronous},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    exchange::{
        Bodies, BodyRecord, Dropped, ExchangeHead, ExchangeId, ExchangeRow, ExchangeState,
        ExchangeWhole, Kept, NotKept, Paused, Piece, Repeats, Side, TrafficTurn,
    },
    queue::{OpenExchange, WAITING_BYTES},
    read::{EXCHANGES_PAGE, TURNS_PAGE},
    reported::Reported,
    retention::Purged,
};
use self::{
    queue::Queue,
    retention::Bound,
    writer::{Said, Writer},
};
use crate::{
    error::StoreError,
    open::{self, OpenError, Schema},
};

const SCHEMA: Schema = Schema {
    versions: "traffic_schema_version",
    steps: &[include_str!("../migrations/traffic/0001_exchanges.sql")],
    vacuum: SqliteAutoVacuum::Incremental,
};

/// A file of traffic. Clones are handles to the same one.
#[derive(Clone)]
pub struct TrafficStore(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    readers: SqlitePool,
    tasks: TaskTracker,
    closing: CancellationToken,
    ended: CancellationToken,
}

impl TrafficStore {
    /// Opens the traffic file beside the database that `url` (`sqlite://PATH`) names, makes it if
    /// there is none, and brings its schema up to date. The oldest goes when it takes more than
    /// `max_bytes`. Exchanges that were open when the last process ended are
    /// [`Interrupted`](chat::exchange::End::Interrupted).
    ///
    /// A file that cannot be opened or written just now, as on a full disk, keeps nobody from
    /// starting: nothing is recorded and nothing is there to be read until it can. One that is not
    /// Toolgate's is an error. The task that writes is spawned on `tasks`; it ends with
    /// [`close`](Self::close), or when the last handle is dropped.
    pub async fn open(url: &str, max_bytes: u64, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let path = beside(&open::path(url)?);
        let (queue, waiting) = Queue::new();
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let readers = open::readers(&path);
        let mut writer = Writer {
            path,
            bound: Bound(max_bytes),
            conn: None,
            queue: Arc::clone(&queue),
            waiting,
            closing: closing.clone(),
            tasks: tasks.clone(),
            preparer: None,
            paused: None,
            unrecovered: None,
            late: VecDeque::new(),
            said: Said::default(),
        };
        writer.start().await?;
        let end = ended.clone().drop_guard();
        tasks.spawn(async move {
            writer.run().await;
            drop(end);
        });
        Ok(Self(Arc::new(Inner {
            queue,
            readers,
            tasks: tasks.clone(),
            closing,
            ended,
        })))
    }

    /// Whether there is a traffic file beside the database that `url` names.
    pub fn exists(url: &str) -> bool {
        open::path(url).is_ok_and(|path| beside(&path).exists())
    }

    /// What was not recorded since the start, and why nothing is now.
    pub fn dropped(&self) -> Dropped {
        self.0.queue.dropped()
    }

    /// The connections that read, once the file was opened.
    fn readers(&self) -> Option<&SqlitePool> {
        self.0.queue.is_open().then_some(&self.0.readers)
    }

    /// Waits until what was handed in so far is written, or given up.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.queue.flush().await
    }

    /// Waits for what is being read, writes what waits to be written, and ends.
    pub async fn close(&self) {
        // The readers first: the last to leave, the writer, then folds the WAL into the file.
        self.0.readers.close().await;
        self.0.closing.cancel();
        self.0.ended.cancelled().await;
    }
}

/// The traffic file of the database at `path`: `a/toolgate.db` has `a/toolgate-traffic.db`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-traffic");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Makes the file, or brings it up to date: the connection that writes, and the number of the next
/// exchange.
async fn prepare_file(path: &Path, bound: Bound) -> Result<(SqliteConnection, i64), OpenError> {
    open::migrate(path, &SCHEMA).await?;
    let failed = |source| open::failed(path, source);
    let mut conn = connect_writer(path, bound).await.map_err(failed)?;
    let next = next(&mut conn).await.map_err(failed)?;
    Ok((conn, next))
}

/// The one connection that writes.
async fn connect_writer(path: &Path, bound: Bound) -> Result<SqliteConnection, sqlx::Error> {
    let options = open::options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("journal_size_limit", bound.log_bytes().to_string())
        .pragma("wal_autocheckpoint", bound.log_pages().to_string());
    SqliteConnection::connect_with(&options).await
}

/// Ends what the last process left open, which has lower numbers than `next`.
async fn recover(conn: &mut SqliteConnection, next: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE exchanges SET ended = 'interrupted', \
         bytes_in = (SELECT COALESCE(SUM(size), 0) FROM pieces \
         WHERE exchange_id = exchanges.id AND side = 1), \
         frames_in = (SELECT COALESCE(SUM(frames), 0) FROM pieces \
         WHERE exchange_id = exchanges.id AND side = 1) WHERE ended IS NULL AND id < $1",
    )
    .bind(next)
    .execute(conn)
    .await
    .map(drop)
}

/// The number of the next exchange.
async fn next(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    // A blob outlives the exchange that used it last only in its number.
    let (next,): (i64,) = sqlx::query_as(
        "SELECT COALESCE(MAX(id), 0) + 1 FROM \
         (SELECT MAX(id) AS id FROM exchanges UNION ALL SELECT MAX(used) FROM blobs)",
    )
    .fetch_one(conn)
    .await?;
    Ok(next)
}

#[cfg(test)]
mod tests;
