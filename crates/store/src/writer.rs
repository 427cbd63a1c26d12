//! The one task that writes. It commits in groups: all that wait, up to a bound, in one
//! transaction. When one of them fails, the group is written again with each under a savepoint, so
//! that it does not fail the others.

use std::{future::Future, path::PathBuf};

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{error::StoreError, open};

/// Writes that may wait; whoever brings more waits to hand them over. A turn waits for its own
/// write before it makes another, so this is about the number of turns at once.
const QUEUE: usize = 256;

/// Writes of one transaction: more would make the first of them wait for long.
const GROUP: usize = 64;

/// Something to write, all or nothing.
pub(crate) trait Write: Send + Sync + 'static {
    /// What the caller learns when it is committed.
    type Done: Send;
    /// What the caller learns when it is not.
    type Refused: From<StoreError> + Send;

    /// Writes. What an `Err` has written is undone; when another write of its group fails, this is
    /// undone too and applied again.
    fn apply(
        &self,
        conn: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Done, Self::Refused>> + Send;
}

/// Where writes are handed in. The task ends when this is dropped, or closed.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    closing: CancellationToken,
    ended: CancellationToken,
}

impl Writer {
    /// Starts the task, which writes to the database at `path` through `conn`.
    pub(crate) fn start(path: PathBuf, conn: SqliteConnection, tasks: &TaskTracker) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            path,
            conn: Some(conn),
            waiting,
            closing: closing.clone(),
        };
        let end = ended.clone().drop_guard();
        tasks.spawn(async move {
            task.run().await;
            drop(end);
        });
        Self {
            jobs,
            closing,
            ended,
        }
    }

    /// Writes, and answers after the commit. A caller that stops waiting does not stop the write.
    pub(crate) async fn write<W: Write>(&self, write: W) -> Result<W::Done, W::Refused> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending {
            write,
            result: None,
            reply,
        });
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Closed.into());
        }
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Commits what was handed in and ends the task.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.ended.cancelled().await;
    }
}

struct Task {
    path: PathBuf,
    /// None after a failure: what state the connection is in is then not known.
    conn: Option<SqliteConnection>,
    waiting: mpsc::Receiver<Box<dyn Job>>,
    closing: CancellationToken,
}

impl Task {
    async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let closing = self.closing.clone();
            tokio::select! {
                () = closing.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
                taken = self.waiting.recv_many(&mut group, GROUP) => {
                    if taken == 0 {
                        break;
                    }
                    self.write(&mut group).await;
                }
            }
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// Commits a group and answers each of it.
    async fn write(&mut self, group: &mut Vec<Box<dyn Job>>) {
        match self.commit(group).await {
            Ok(()) => group.drain(..).for_each(Job::committed),
            Err(error) => {
                tracing::error!(%error, writes = group.len(), "a commit failed");
                let error = StoreError::from(error);
                group.drain(..).for_each(|job| job.failed(error.clone()));
            }
        }
    }

    async fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), sqlx::Error> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => open::connect_writer(&self.path).await?,
        };
        match commit(&mut conn, group).await {
            Ok(()) => {
                self.conn = Some(conn);
                Ok(())
            }
            Err(error) => {
                // Closed rather than used again: SQLite may or may not have rolled back by itself.
                if let Err(error) = conn.close().await {
                    tracing::warn!(%error, "the failed connection did not close cleanly");
                }
                Err(error)
            }
        }
    }
}

async fn commit(
    conn: &mut SqliteConnection,
    group: &mut [Box<dyn Job>],
) -> Result<(), sqlx::Error> {
    // Most groups have nothing to undo: savepoints would cost more than what is written.
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut verdict = Verdict::Keep;
    for job in &mut *group {
        verdict = job.apply(&mut tx).await;
        if let Verdict::Undo = verdict {
            break;
        }
    }
    match verdict {
        Verdict::Keep => tx.commit().await,
        Verdict::Undo => {
            tx.rollback().await?;
            commit_each(conn, group).await
        }
    }
}

/// Commits a group in which something has to be undone.
async fn commit_each(
    conn: &mut SqliteConnection,
    group: &mut [Box<dyn Job>],
) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    for job in group {
        let mut savepoint = tx.begin().await?;
        match job.apply(&mut savepoint).await {
            Verdict::Keep => savepoint.commit().await?,
            // Fails when SQLite has rolled back everything, which fails the group.
            Verdict::Undo => savepoint.rollback().await?,
        }
    }
    tx.commit().await
}

/// A [`Write`] in the queue, whatever it answers.
trait Job: Send {
    /// Writes, and keeps the result until the commit.
    fn apply<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, Verdict>;
    /// Answers with the result.
    fn committed(self: Box<Self>);
    /// Answers that nothing was written. Refusals too: what they saw may just have been undone.
    fn failed(self: Box<Self>, error: StoreError);
}

enum Verdict {
    Keep,
    Undo,
}

struct Pending<W: Write> {
    write: W,
    result: Option<Result<W::Done, W::Refused>>,
    reply: oneshot::Sender<Result<W::Done, W::Refused>>,
}

impl<W: Write> Job for Pending<W> {
    fn apply<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let result = self.write.apply(conn).await;
            let verdict = if result.is_ok() {
                Verdict::Keep
            } else {
                Verdict::Undo
            };
            self.result = Some(result);
            verdict
        })
    }

    fn committed(self: Box<Self>) {
        if let Some(result) = self.result {
            // A caller that no longer waits needs no answer.
            self.reply.send(result).ok();
        }
    }

    fn failed(self: Box<Self>, error: StoreError) {
        self.reply.send(Err(error.into())).ok();
    }
}
