//! The two doors: plain HTTP/1.1 for browsers, TLS with HTTP/2 or HTTP/1.1 for Toolgate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;

/// Connections of one door at once; the next one waits to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Requests at once on one HTTP/2 connection, as Pomerium's Envoy allows.
const MAX_STREAMS: u32 = 100;

/// HTTP/2 flow control windows of a stream and a connection in bytes, as Pomerium's Envoy has.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a TLS handshake or a request's head may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after a failed accept: it fails when the process has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether a request came in over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// No.
    Http,
    /// Yes.
    Https,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
}

/// What a listener speaks.
#[derive(Clone)]
pub(super) enum Door {
    /// HTTP/1.1.
    Plain,
    /// TLS, with HTTP/2 or HTTP/1.1 by ALPN.
    Tls(TlsAcceptor),
}

/// Tasks that are counted and that end with the stand-in; also hyper's executor.
#[derive(Clone)]
pub(super) struct Tracked {
    pub(super) tracker: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Tracked {
    fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        let task = async move {
            let _ended: Option<_> = shutdown.run_until_cancelled(task).await;
        };
        drop(self.tracker.spawn(task));
    }
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

/// Serves a listener until shutdown; then its connections are dropped, streams and all.
pub(super) fn serve(gate: &Arc<Gate>, tasks: &Tracked, listener: TcpListener, door: Door) {
    let (gate, spawner) = (Arc::clone(gate), tasks.clone());
    tasks.spawn(async move {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let serving = connection(
                        Arc::clone(&gate),
                        spawner.clone(),
                        (stream, address),
                        door.clone(),
                    );
                    spawner.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
}

async fn connection(
    gate: Arc<Gate>,
    tasks: Tracked,
    (stream, address): (TcpStream, SocketAddr),
    door: Door,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    let served = match door {
        Door::Plain => {
            let scheme = Scheme::Http;
            let builder = auto::Builder::new(tasks).http1_only();
            requests(
                builder,
                TokioIo::new(stream),
                gate,
                Peer { address, scheme },
            )
            .await
        }
        Door::Tls(acceptor) => {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = handshake else {
                tracing::debug!(%address, "a TLS handshake failed");
                return;
            };
            let scheme = Scheme::Https;
            let builder = auto::Builder::new(tasks);
            requests(
                builder,
                TokioIo::new(stream),
                gate,
                Peer { address, scheme },
            )
            .await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%address, error = &*error, "a connection ended early");
    }
}

async fn requests(
    mut builder: auto::Builder<Tracked>,
    io: impl Read + Write + Unpin + Send + 'static,
    gate: Arc<Gate>,
    peer: Peer,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(gate.answer(request, peer).await) }
    });
    builder.serve_connection(io, service).await
}
