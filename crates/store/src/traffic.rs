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
mod pack;
mod read;

use std::{path::Path, sync::Arc};

use sqlx::{SqlitePool, sqlite::SqliteAutoVacuum};
use tokio_util::task::TaskTracker;

pub use self::exchange::{
    Bodies, BodyRecord, Dropped, ExchangeEnd, ExchangeHead, ExchangeId, ExchangeRow, ExchangeState,
    ExchangeWhole, Kept, NotKept, Paused, Peer, Piece, Repeats, Side, TrafficTurn,
};
pub use self::read::{EXCHANGES_PAGE, TURNS_PAGE};
use crate::open::{self, OpenError, Schema};

const SCHEMA: Schema = Schema {
    versions: "traffic_schema_version",
    steps: &[include_str!("../migrations/traffic/0001_exchanges.sql")],
    vacuum: SqliteAutoVacuum::Incremental,
};

/// A file of traffic. Clones are handles to the same one.
#[derive(Clone)]
pub struct TrafficStore(Arc<Inner>);

struct Inner {
    tasks: TaskTracker,
    readers: SqlitePool,
}

impl TrafficStore {
    /// Opens the traffic file beside the database that `url` (`sqlite://PATH`) names, makes it if
    /// there is none, and brings its schema up to date. The task that writes is spawned on
    /// `tasks`; it ends with [`close`](Self::close).
    pub async fn open(url: &str, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let path = beside(&open::path(url)?);
        open::migrate(&path, &SCHEMA).await?;
        let readers = open::readers(&path);
        Ok(Self(Arc::new(Inner {
            tasks: tasks.clone(),
            readers,
        })))
    }

    /// What was not recorded since the start, and why nothing is now.
    pub fn dropped(&self) -> Dropped {
        Dropped::default()
    }

    /// Waits for what is being read, writes what waits to be written, and ends.
    pub async fn close(&self) {
        self.0.readers.close().await;
    }
}

/// `a/toolgate.db` has `a/toolgate-traffic.db`.
fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-traffic");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
