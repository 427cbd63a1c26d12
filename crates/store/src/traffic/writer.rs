//! The task that writes traffic, in groups, when there is room on the disk.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chat::ids::TurnId;
use sqlx::{Connection, SqliteConnection, error::DatabaseError};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Dropped, ExchangeState, Paused,
    apply::{self, Stored},
    connect_writer,
    prepare::{Prepared, Preparer},
    prepare_file,
    queue::{Entry, Queue},
    recover,
    retention::{self, Bound, Purged},
};
use crate::{
    disk::{Room, Stopped},
    error::StoreError,
    open::OpenError,
};

/// Entries of one transaction.
const GROUP: usize = 1024;

/// How long the first entry of a group waits for others: nobody waits for traffic, and a commit
/// costs the more the fewer it writes.
const LINGER: Duration = Duration::from_millis(50);

/// How often it is tried, while nothing is recorded, whether that is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often what was dropped is logged, at most.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Ends of exchanges that are kept until it can be written again; of more nobody learns that they
/// ended before the next start.
const LATE_ENDS: usize = 1024;

/// SQLite's code of a disk without room (`SQLITE_FULL`).
const FULL: &str = "13";

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) bound: Bound,
    /// None before the file was opened, and after a failure.
    pub(super) conn: Option<SqliteConnection>,
    pub(super) queue: Arc<Queue>,
    pub(super) waiting: mpsc::Receiver<Entry>,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) preparer: Option<Preparer>,
    pub(super) paused: Option<Paused>,
    /// Exchanges with a lower number may still be open in the file, from the last process.
    pub(super) unrecovered: Option<i64>,
    pub(super) late: VecDeque<(i64, Box<ExchangeState>)>,
    pub(super) said: Said,
}

/// What the log says of what was dropped, and since when.
#[derive(Default)]
pub(super) struct Said {
    pub(super) dropped: Dropped,
    pub(super) at: Option<Instant>,
}

impl Writer {
    /// Opens the file. What cannot be done just now is tried again; only a file that is not ours
    /// is an error.
    pub(super) async fn start(&mut self) -> Result<(), OpenError> {
        let began = match self.open().await {
            Ok(conn) => {
                self.conn = Some(conn);
                self.connection().await
            }
            Err(OpenError::Failed { source, .. }) => Err(source),
            Err(
                refused @ (OpenError::Url
                | OpenError::NotADatabase { .. }
                | OpenError::Foreign { .. }
                | OpenError::Newer { .. }),
            ) => return Err(refused),
        };
        match began {
            Ok(conn) => self.conn = Some(conn),
            Err(error) => {
                // Conversations do not wait for it.
                tracing::warn!(%error, "traffic is not recorded until its file can be written");
                self.paused = Some(self.reason(&error));
                self.queue.pause(self.paused);
            }
        }
        Ok(())
    }

    pub(super) async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let closing = self.closing.clone();
            tokio::select! {
                () = closing.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
                taken = self.waiting.recv_many(&mut group, GROUP) => {
                    if taken == 0 {
                        break;
                    }
                    self.linger(&mut group).await;
                    self.write(std::mem::take(&mut group)).await;
                }
                () = tokio::time::sleep(LOOK_AGAIN), if self.paused.is_some() => {
                    self.write(Vec::new()).await;
                }
            }
            self.say_dropped();
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the traffic file did not close cleanly");
        }
    }

    /// Waits for others to join a group, unless somebody waits for it.
    async fn linger(&mut self, group: &mut Vec<Entry>) {
        let awaited = |entry: &Entry| {
            matches!(
                entry,
                Entry::Flush(_) | Entry::Purge(..) | Entry::Forget(..)
            )
        };
        if group.len() == GROUP || group.iter().any(awaited) {
            return;
        }
        let over = self.closing.run_until_cancelled(tokio::time::sleep(LINGER));
        over.await;
        while group.len() < GROUP
            && let Ok(entry) = self.waiting.try_recv()
        {
            group.push(entry);
        }
    }

    /// Writes a group, if it can be written, and answers who waits for it.
    async fn write(&mut self, group: Vec<Entry>) {
        let weight: usize = group.iter().map(Entry::weight).sum();
        let (mut traffic, mut flushes, mut purges) = (Vec::new(), Vec::new(), Vec::new());
        let mut forgotten = Vec::new();
        for entry in group {
            match entry {
                Entry::Flush(reply) => flushes.push(reply),
                Entry::Purge(before, reply) => purges.push((before, reply)),
                Entry::Forget(turn, reply) => forgotten.push((turn, reply)),
                Entry::Begun(..) | Entry::Piece(..) | Entry::Label(..) | Entry::State(..) => {
                    traffic.push(entry);
                }
            }
        }
        if self.has_room() {
            self.write_traffic(traffic).await;
        } else {
            self.pause(Some(Paused::DiskFull));
            self.give_up(traffic);
        }
        self.queue.written(weight);
        for (turn, reply) in forgotten {
            let done = self.forget(&turn).await;
            reply.send(done).ok();
        }
        for (before, reply) in purges {
            let done = self.purge(before).await;
            // A caller that no longer waits needs no answer.
            reply.send(done.map_err(StoreError::from)).ok();
        }
        for reply in flushes {
            reply.send(()).ok();
        }
    }

    fn has_room(&self) -> bool {
        let stopped = match self.paused {
            Some(Paused::DiskFull) => Stopped::Yes,
            Some(Paused::Failing) | None => Stopped::No,
        };
        // Where it cannot be told, writing tells.
        Room::at(&self.path).is_none_or(|room| room.for_traffic(stopped))
    }

    /// Why nothing is recorded after this error.
    fn reason(&self, error: &sqlx::Error) -> Paused {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if code.as_deref() == Some(FULL) || !self.has_room() {
            Paused::DiskFull
        } else {
            Paused::Failing
        }
    }

    async fn write_traffic(&mut self, mut group: Vec<Entry>) {
        let late = self.late.drain(..);
        group.extend(late.map(|(number, state)| Entry::State(number, state)));
        if group.is_empty() && self.paused.is_none() {
            return;
        }
        let entries = group.len();
        let count = |is: fn(&Entry) -> bool| group.iter().filter(|entry| is(entry)).count();
        let exchanges = count(|entry| matches!(entry, Entry::Begun(..)));
        let pieces = count(|entry| matches!(entry, Entry::Piece(..)));
        let mut preparer = self.preparer.take().unwrap_or_else(Preparer::new);
        let preparing = self.tasks.spawn_blocking(move || {
            let ready = preparer.prepare(group);
            (preparer, ready)
        });
        let Ok((mut preparer, ready)) = preparing.await else {
            // A bug. What ended stays open until the next start.
            tracing::error!(entries, "traffic could not be prepared for writing");
            self.queue.lost(exchanges, pieces);
            return;
        };
        match self.commit(&ready).await {
            Ok(stored) => {
                for (hash, blob) in stored {
                    preparer.remember(hash, blob);
                }
                self.preparer = Some(preparer);
                self.pause(None);
                self.keep_bound().await;
            }
            Err(error) => {
                preparer.forget();
                self.preparer = Some(preparer);
                self.pause(Some(self.reason(&error)));
                tracing::debug!(%error, entries, "traffic could not be written");
                self.give_up_prepared(ready);
            }
        }
    }

    async fn commit(&mut self, prepared: &[Prepared]) -> Result<Stored, sqlx::Error> {
        let mut conn = self.connection().await?;
        let stored = apply::group(&mut conn, prepared).await;
        self.keep(conn, stored).await
    }

    /// Takes away the oldest of a file over its bound at once: until somebody looks for what is too
    /// much it could take the whole disk.
    async fn keep_bound(&mut self) {
        let kept = async {
            let mut conn = self.connection().await?;
            let over = retention::is_over(&mut conn, self.bound).await;
            if self.keep(conn, over).await? {
                self.purge(i64::MIN).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = kept.await {
            tracing::debug!(%error, "the oldest traffic was not removed");
        }
    }

    async fn purge(&mut self, before: i64) -> Result<Purged, sqlx::Error> {
        let mut conn = self.connection().await?;
        let purged = retention::batch(&mut conn, before, self.bound).await;
        if let Some(preparer) = &mut self.preparer {
            preparer.forget();
        }
        self.keep(conn, purged).await
    }

    async fn forget(&mut self, turn: &TurnId) -> Result<(), StoreError> {
        let mut conn = self.connection().await?;
        let gone = retention::forget(&mut conn, turn).await;
        Ok(self.keep(conn, gone).await?)
    }

    async fn open(&mut self) -> Result<SqliteConnection, OpenError> {
        let (conn, next) = prepare_file(&self.path, self.bound).await?;
        self.unrecovered = Some(next);
        self.queue.open(next);
        Ok(conn)
    }

    /// The connection, to a file in which nothing is open that the last process left.
    async fn connection(&mut self) -> Result<SqliteConnection, sqlx::Error> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None if self.queue.is_open() => connect_writer(&self.path, self.bound).await?,
            None => self.open().await.map_err(|error| match error {
                OpenError::Failed { source, .. } => source,
                OpenError::Url
                | OpenError::NotADatabase { .. }
                | OpenError::Foreign { .. }
                | OpenError::Newer { .. } => sqlx::Error::Configuration(Box::new(error)),
            })?,
        };
        if let Some(next) = self.unrecovered {
            if let Err(error) = recover(&mut conn, next).await {
                return self.keep(conn, Err(error)).await;
            }
            self.unrecovered = None;
        }
        Ok(conn)
    }

    /// Keeps the connection for the next time, unless what was done with it failed: what state it
    /// is in is then not known.
    async fn keep<T>(
        &mut self,
        conn: SqliteConnection,
        done: Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        if done.is_ok() {
            self.conn = Some(conn);
        } else if let Err(error) = conn.close().await {
            tracing::debug!(%error, "the failed connection did not close cleanly");
        }
        done
    }

    /// Counts what cannot be written; what ended meanwhile is written later.
    fn give_up(&mut self, group: Vec<Entry>) {
        for entry in group {
            match entry {
                Entry::Begun(..) => self.queue.lost_exchange(),
                Entry::Piece(..) => self.queue.lost_piece(),
                Entry::State(number, state) => self.write_later(number, state),
                Entry::Label(..) | Entry::Forget(..) | Entry::Purge(..) | Entry::Flush(_) => {}
            }
        }
    }

    fn give_up_prepared(&mut self, group: Vec<Prepared>) {
        for entry in group {
            match entry {
                Prepared::Exchange(..) => self.queue.lost_exchange(),
                Prepared::Piece(_) => self.queue.lost_piece(),
                Prepared::State(number, state) => self.write_later(number, state),
                Prepared::Label(..) | Prepared::Reported(..) => {}
            }
        }
    }

    fn write_later(&mut self, number: i64, state: Box<ExchangeState>) {
        if state.end.is_some() && self.late.len() < LATE_ENDS {
            self.late.push_back((number, state));
        }
    }

    fn pause(&mut self, paused: Option<Paused>) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        self.queue.pause(paused);
        match paused {
            None => tracing::info!("traffic is recorded again"),
            Some(Paused::DiskFull) => tracing::warn!(
                "the disk is almost full: traffic is not recorded until there is more room"
            ),
            Some(Paused::Failing) => {
                tracing::warn!("traffic is not recorded until its file can be written again");
            }
        }
    }

    /// Logs what was dropped since it was last said.
    fn say_dropped(&mut self) {
        let dropped = self.queue.dropped();
        let news = Dropped {
            paused: self.said.dropped.paused,
            ..dropped
        } != self.said.dropped;
        if !news || self.said.at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        tracing::warn!(
            exchanges = dropped.exchanges - self.said.dropped.exchanges,
            pieces = dropped.pieces - self.said.dropped.pieces,
            "traffic was not recorded: too much came at once, or the disk is full"
        );
        self.said = Said {
            dropped,
            at: Some(Instant::now()),
        };
    }
}
