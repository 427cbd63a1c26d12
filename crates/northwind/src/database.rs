//! The SQLite file: two bounded pools of connections, used on blocking threads only.

mod access;
mod connection;

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::InterruptHandle;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use access::Access;
use connection::Guard;
pub(crate) use connection::{Link, Meter};

use crate::{failure::Failure, serve::Error};

/// Statements that read at once. One more waits, within its own time limit.
const READERS: usize = 8;

/// SQLite has one writer at a time; a second would only wait in the file's lock.
const WRITERS: usize = 1;

/// Calls waiting for a connection. More are refused, rather than queued behind a time limit that
/// they cannot meet.
const MAX_WAITING: usize = 64;

/// How long after an interrupt a statement may take to end before it is interrupted again: one
/// that arrives between two statements of a call does nothing.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(50);

/// The database that is served. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    readers: Arc<Pool>,
    writers: Arc<Pool>,
    waiting: Arc<Semaphore>,
    time_limit: Duration,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    access: Access,
    idle: Mutex<Vec<Link>>,
    seats: Arc<Semaphore>,
}

impl Database {
    /// Opens the file once for each kind of access, so that a bad file stops the start.
    pub(crate) async fn open(
        path: PathBuf,
        time_limit: Duration,
        tracker: TaskTracker,
    ) -> Result<Self, Error> {
        let file = path.clone();
        let opened = tracker
            .spawn_blocking(move || {
                let reader = Link::open(&file, Access::Read)?;
                reader.probe()?;
                Ok((reader, Link::open(&file, Access::Write)?))
            })
            .await
            .unwrap_or_else(|_| Err(rusqlite::Error::UnwindingPanic));
        let (reader, writer) = opened.map_err(|source| Error::Database {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            readers: Arc::new(Pool::new(path.clone(), reader, READERS)),
            writers: Arc::new(Pool::new(path, writer, WRITERS)),
            waiting: Arc::new(Semaphore::new(READERS + WRITERS + MAX_WAITING)),
            time_limit,
            tracker,
        })
    }

    /// Closes the connections that nobody uses. The writer goes last: it takes the `-wal` and `-shm`
    /// files away, which readers may not.
    pub(crate) fn close(&self) {
        drop(self.readers.take_idle());
        for writer in self.writers.take_idle() {
            // One that was never used does not know of the files yet.
            let _best_effort = writer.probe();
        }
    }

    /// Runs `job` on a connection of that access, on a blocking thread.
    ///
    /// It ends at the time limit, counted from now, or when `cancel` is cancelled, whichever is
    /// first: the running statement is interrupted and, if it was writing, rolled back.
    pub(crate) async fn run<T, J>(
        &self,
        access: Access,
        cancel: &CancellationToken,
        job: J,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        J: FnOnce(&Link) -> Result<T, Failure> + Send + 'static,
    {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| Failure::error("The database is busy with other calls; try again."))?;
        let deadline = Instant::now() + self.time_limit;
        let pool = match access {
            Access::Read => &self.readers,
            Access::Write => &self.writers,
        };
        let seat = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(deadline) => return Err(self.too_slow()),
            seat = Arc::clone(&pool.seats).acquire_owned() => seat,
        };
        let handle = Arc::new(Slot::default());
        let guard = Guard {
            cancel: cancel.clone(),
            deadline: deadline.into_std(),
        };
        let work = {
            let (pool, handle, guard) = (Arc::clone(pool), Arc::clone(&handle), guard.clone());
            self.tracker.spawn_blocking(move || {
                let result = pool.lend(&guard, &handle, job);
                drop(seat);
                result
            })
        };
        let ended = tokio::select! {
            ended = work => ended,
            never = handle.interrupt_when(cancel, deadline) => match never {},
        };
        match ended {
            Ok(Err(_)) if cancel.is_cancelled() => Err(Failure::cancelled()),
            Ok(Err(_)) if Instant::now() >= deadline => Err(self.too_slow()),
            Ok(result) => result,
            Err(lost) => {
                tracing::error!(%lost, "a database job was lost");
                Err(Failure::error(
                    "The server failed while it ran the statement.",
                ))
            }
        }
    }

    fn too_slow(&self) -> Failure {
        Failure::timeout(format!(
            "Stopped at the time limit of {} s; nothing of it was kept. \
             Ask for less: a WHERE, an index, a LIMIT.",
            self.time_limit.as_secs_f64()
        ))
    }
}

impl Pool {
    fn new(path: PathBuf, first: Link, size: usize) -> Self {
        Self {
            path,
            access: first.access(),
            idle: Mutex::new(vec![first]),
            seats: Arc::new(Semaphore::new(size)),
        }
    }

    fn take_idle(&self) -> Vec<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *idle)
    }

    /// Runs `job` on an idle connection, or on a new one. A connection whose job panics is lost.
    fn lend<T>(
        &self,
        guard: &Guard,
        handle: &Slot,
        job: impl FnOnce(&Link) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let link = match idle {
            Some(link) => link,
            None => Link::open(&self.path, self.access)
                .map_err(|error| Failure::error(format!("Cannot open the database: {error}.")))?,
        };
        let armed = link
            .watch(guard)
            .map_err(|error| Failure::error(format!("Cannot watch the database: {error}.")));
        handle.set(Some(link.interrupt_handle()));
        let result = armed.and_then(|()| job(&link));
        handle.set(None);
        if link.settle() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(link);
        }
        result
    }
}

/// The means to interrupt the statement of one call, while that call has a connection. Emptied
/// before the connection goes back, so that it never hits another call's statement.
#[derive(Default)]
struct Slot(Mutex<Option<InterruptHandle>>);

impl Slot {
    fn set(&self, handle: Option<InterruptHandle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    fn interrupt(&self) {
        if let Some(handle) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }

    async fn interrupt_when(&self, cancel: &CancellationToken, deadline: Instant) -> Infallible {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        loop {
            self.interrupt();
            tokio::time::sleep(INTERRUPT_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests;
