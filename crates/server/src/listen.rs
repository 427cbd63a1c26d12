//! A port: its connections, counted, and ended with the program.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// Connections of a port at once; the next one waits. Over HTTP/1.1 every open page is one.
const CONNECTIONS: usize = 4096;

/// How long a new connection has to ask for something.
const FIRST_HEAD: Duration = Duration::from_secs(30);

/// How long one that has asked may be silent before it asks again: longer than Envoy keeps one
/// that it does not use (1 h). Were it closed from this side, a request could be on its way.
const NEXT_HEAD: Duration = Duration::from_mins(65);

/// The wait after an accept that failed: the process has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `finish`; answers that are being sent then may take `patience` longer.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    finish: CancellationToken,
    patience: Duration,
) {
    Port::new(router, finish).serve(listener, patience).await;
}

/// What the connections of a port share.
#[derive(Clone)]
struct Port {
    router: Router,
    tasks: TaskTracker,
    /// Ends connections with the answer that is being sent.
    finish: CancellationToken,
    /// Ends them in the middle of it.
    cut: CancellationToken,
    /// How long a new one has to ask for something.
    first_head: Duration,
}

impl Port {
    fn new(router: Router, finish: CancellationToken) -> Self {
        Self {
            router,
            tasks: TaskTracker::new(),
            finish,
            cut: CancellationToken::new(),
            first_head: FIRST_HEAD,
        }
    }

    async fn serve(self, listener: TcpListener, patience: Duration) {
        // When this is dropped, the connections end too.
        let cut = self.cut.clone().drop_guard();
        let accepting = self.accept(listener);
        self.finish.run_until_cancelled(accepting).await;
        self.tasks.close();
        let ending = tokio::time::timeout(patience, self.tasks.wait());
        if ending.await.is_err() {
            drop(cut);
            self.tasks.wait().await;
        }
    }

    async fn accept(&self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let serving = self.clone().connection(stream);
                    let cut = self.cut.clone();
                    self.tasks.spawn(async move {
                        cut.run_until_cancelled(serving).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        // Small events must not wait for more to come.
        let _best_effort = stream.set_nodelay(true);
        let asked = Arc::new(AtomicBool::new(false));
        let (router, has_asked) = (self.router.clone(), Arc::clone(&asked));
        let service = service_fn(move |request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let answer = router.clone().oneshot(request);
            async move { answer.await.map_err(|never: Infallible| never) }
        });
        let mut builder = auto::Builder::new(Spawn(self.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(NEXT_HEAD);
        builder.http2().timer(TokioTimer::new());
        let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let silent = async {
            tokio::time::sleep(self.first_head).await;
            if asked.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
        };
        let mut silent = pin!(silent);
        let mut finish = pin!(self.finish.cancelled());
        let mut finishing = false;
        loop {
            tokio::select! {
                served = serving.as_mut() => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
                () = silent.as_mut() => return,
                () = finish.as_mut(), if !finishing => {
                    finishing = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Runs the parts of an HTTP/2 connection.
#[derive(Clone)]
struct Spawn(Port);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let cut = self.0.cut.clone();
        let running = async move { cut.run_until_cancelled_owned(task).await.map(drop) };
        self.0.tasks.spawn(running);
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How long a new connection has in these tests.
    const QUICK: Duration = Duration::from_millis(100);

    /// A connection to a port that answers `/`, and what ends the port.
    async fn port(patience: Duration) -> (TcpStream, Ending) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = || async {
            let chunks = futures_util::stream::pending::<Result<&str, Infallible>>();
            Body::from_stream(chunks)
        };
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/endless", get(endless));
        let (tasks, finish) = (TaskTracker::new(), CancellationToken::new());
        let port = Port {
            first_head: QUICK,
            ..Port::new(router, finish.clone())
        };
        tasks.spawn(port.serve(listener, patience));
        tasks.close();
        let stream = TcpStream::connect(address).await.unwrap();
        (stream, Ending { tasks, finish })
    }

    struct Ending {
        tasks: TaskTracker,
        finish: CancellationToken,
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed_and_one_that_has_asked_is_kept() {
        let (mut silent, ending) = port(Duration::ZERO).await;
        // Half a head is none.
        silent.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(begun.elapsed() < QUICK * 50, "{:?}", begun.elapsed());
        ending.finish.cancel();
        ending.tasks.wait().await;

        let (mut stream, ending) = port(Duration::ZERO).await;
        ask(&mut stream, "/").await;
        tokio::time::sleep(QUICK * 3).await;
        let mut rest = [0; 512];
        assert!(stream.read(&mut rest).await.unwrap() > 0);
        ask(&mut stream, "/").await;
        ending.finish.cancel();
        ending.tasks.wait().await;
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_when_patience_is_over() {
        let (mut stream, ending) = port(Duration::from_millis(50)).await;
        ask(&mut stream, "/endless").await;
        ending.finish.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), ending.tasks.wait());
        ended.await.expect("the port goes on");
    }

    #[tokio::test]
    async fn an_answer_ends_when_its_reader_goes_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gone = CancellationToken::new();
        let watched = gone.clone();
        let silent = move || {
            let guard = watched.clone().drop_guard();
            let chunks = futures_util::stream::pending::<Result<&str, Infallible>>();
            let body = Body::from_stream(chunks.inspect(move |_| {
                let _held = &guard;
            }));
            async { body }
        };
        let router = Router::new().route("/endless", get(silent));
        let (tasks, finish) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(serve(listener, router, finish.clone(), Duration::ZERO));
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/endless").await;
        assert!(!gone.is_cancelled());
        drop(stream);
        let noticed = tokio::time::timeout(Duration::from_secs(5), gone.cancelled());
        noticed.await.expect("nobody noticed");
        finish.cancel();
    }

    #[tokio::test]
    async fn an_idle_connection_holds_up_no_end() {
        let (mut stream, ending) = port(Duration::from_mins(1)).await;
        ask(&mut stream, "/").await;
        ending.finish.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), ending.tasks.wait());
        ended.await.expect("the port goes on");
    }
}
