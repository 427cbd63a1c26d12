//! The accept loop: HTTP/1.1, bounded, and joined at shutdown.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections open at once; more wait in the system's backlog.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may take to send a request's head, or stay idle. Longer than the 90 s
/// after which common clients drop an idle connection, so that they never write to a closed one.
const IDLE: Duration = Duration::from_mins(2);

/// How long a connection may take to end after shutdown began, before it is cut.
const GRACE: Duration = Duration::from_secs(3);

/// The pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stop`. Their tasks belong to `tracker`.
pub(crate) async fn run(
    listener: TcpListener,
    app: Router,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept(&listener, &seats) => accepted,
        };
        match accepted {
            Some((stream, seat)) => {
                let connection = serve(stream, app.clone(), stop.clone());
                tracker.spawn(async move {
                    connection.await;
                    drop(seat);
                });
            }
            None => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            None
        }
    }
}

async fn serve(stream: TcpStream, app: Router, stop: CancellationToken) {
    // Without it an event written after the head waits 40 ms for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
