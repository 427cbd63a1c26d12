//! Parts that run until they are told to end, and are missed when they end before.

use std::{error::Error as StdError, future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Error;

/// Ends that can be told at once: one for each part that can end by itself, northwind and
/// Toolgate.
pub(super) const MAX_ENDED: usize = 2;
/// How long a part may take to answer its first request: Toolgate opens its database before.
const READY: Duration = Duration::from_secs(30);

/// A part that ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    part: &'static str,
    why: Option<Box<dyn StdError + Send + Sync>>,
}

/// Tasks that end together.
#[derive(Debug)]
pub(super) struct Part {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Part {
    pub(super) fn new(all: &CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown: all.child_token(),
        }
    }

    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    pub(super) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs `serving`, and tells when it ends without having been told to.
    pub(super) fn run<E: StdError + Send + Sync + 'static>(
        &self,
        part: &'static str,
        serving: impl Future<Output = Result<(), E>> + Send + 'static,
        tell: mpsc::Sender<Ended>,
    ) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            let why = serving.await.err().map(Into::into);
            if shutdown.is_cancelled() {
                return;
            }
            // Nobody listens any more when the system is being dropped.
            tell.send(Ended { part, why }).await.ok();
        });
    }

    /// Tells the tasks to end and waits for that.
    pub(super) async fn stop(&self, part: &str, limit: Duration) {
        self.shutdown.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("{part} did not end within {limit:?} and is left behind");
        }
    }
}

/// Waits until a part ends by itself.
pub(super) async fn next_ended(ended: &mut mpsc::Receiver<Ended>) -> Error {
    match ended.recv().await {
        Some(Ended { part, why }) => Error::Ended { part, source: why },
        None => std::future::pending().await,
    }
}

/// Waits until something answers an HTTP request at `address`, whatever it answers.
pub(super) async fn ready(
    address: SocketAddr,
    ended: &mut mpsc::Receiver<Ended>,
) -> Result<(), Error> {
    let answered = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    tokio::select! {
        biased;
        error = next_ended(ended) => Err(error),
        answered = tokio::time::timeout(READY, answered) => match answered {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(Error::NotReady { address, source }),
            Err(late) => Err(Error::NotReady { address, source: late.into() }),
        }
    }
}
