//! One connection, set up so that nothing but the served file can be reached through it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, InterruptHandle, OpenFlags, config::DbConfig, hooks::AuthContext, limits::Limit,
};
use tokio_util::sync::CancellationToken;

use super::access::{self, Access};
use crate::failure::{Failure, sql_failure};

/// The longest statement, bytes.
pub(crate) const MAX_SQL_BYTES: i32 = 256 * 1024;

/// The largest value or row that SQLite may hold in memory, bytes: `zeroblob(1e9)` is one word.
const MAX_VALUE_BYTES: i32 = 16 * 1024 * 1024;

/// Parameters of a statement; SQLite keeps an array of that size.
const MAX_PARAMETERS: i32 = 1000;

/// How long a write waits for another program's lock. Shorter than any time limit that makes
/// sense, because the wait cannot be interrupted.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Virtual machine instructions between two looks at the clock: well under a millisecond.
const WATCH_EVERY: i32 = 10_000;

/// When a job has to stop.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) cancel: CancellationToken,
    pub(super) deadline: Instant,
}

/// How far a call is. Shared between the job and whoever reports its progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// One more row was read.
    pub(crate) fn row(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows read so far.
    pub(crate) fn rows(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection and what its authorizer refused last.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    access: Access,
    refused: Arc<Mutex<Option<String>>>,
}

impl Link {
    pub(super) fn open(path: &Path, access: Access) -> rusqlite::Result<Self> {
        let mode = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // Without `SQLITE_OPEN_URI`: a path is a path, and without `CREATE`: a typing error in it
        // is an error.
        let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
        connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES)?;
        connection.set_limit(Limit::SQLITE_LIMIT_VARIABLE_NUMBER, MAX_PARAMETERS)?;
        if access == Access::Read {
            connection.pragma_update(None, "query_only", true)?;
        }
        let refused = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&refused);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let refusal = access.refusal(context);
            let answer = access::answer(refusal.as_ref());
            if refusal.is_some() {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
            }
            answer
        }))?;
        Ok(Self {
            connection,
            access,
            refused,
        })
    }

    /// Fails if the file is no SQLite database.
    pub(super) fn probe(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// The connection itself.
    pub(crate) fn sqlite(&self) -> &Connection {
        &self.connection
    }

    /// What went wrong with `sql`, with what the authorizer has to say about it.
    pub(crate) fn failure(&self, error: rusqlite::Error, sql: &str) -> Failure {
        let refused = self
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        sql_failure(error, sql, refused)
    }

    /// Makes every statement from now on stop when `guard` says so.
    pub(super) fn watch(&self, guard: &Guard) -> rusqlite::Result<()> {
        let guard = guard.clone();
        self.connection.progress_handler(
            WATCH_EVERY,
            Some(move || guard.cancel.is_cancelled() || Instant::now() >= guard.deadline),
        )
    }

    pub(super) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Makes the connection ready for the next job; `false` if it must not be used again.
    pub(super) fn settle(&self) -> bool {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.connection
            .progress_handler(0, None::<fn() -> bool>)
            .is_ok()
            && self.connection.is_autocommit()
    }
}
