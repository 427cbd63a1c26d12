//! The server as a library: the caller owns the socket and the signal.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    database::Database,
    demo, health,
    identity::{self, Pomerium, Verifier},
    journal::Journal,
    listen,
    tools::Northwind,
};

/// Where MCP is spoken.
const PATH: &str = "/mcp";

/// MCP sessions and session-less requests alive at once. A session costs about 90 KiB.
const MAX_PEERS: usize = 1024;

/// The largest request body, bytes. Statements are far smaller (`database::MAX_SQL_BYTES`); the
/// rest is room for parameters.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// How long shutdown waits for tasks that were told to end.
const MAX_SHUTDOWN: Duration = Duration::from_secs(5);

/// Origins of pages on this machine, on any port. A program sends no `Origin`.
const LOOPBACK_ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "http://[::1]:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
    "https://[::1]:*",
];

/// What to serve, and to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database.
    pub source: Source,
    /// Where to append the call journal: one JSON line when a `tools/call` starts, one when it
    /// has ended. `None` keeps no journal.
    pub journal: Option<PathBuf>,
    /// Values of `Host` to accept beside loopback's (`localhost`, `127.0.0.1`, `::1`), each
    /// `name` or `name:port`.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` to accept beside loopback's, each `scheme://host:port`, where the port
    /// may be `*`. A request without `Origin` always passes.
    pub allowed_origins: Vec<String>,
    /// How long one call may wait for the database and run in it.
    pub time_limit: Duration,
    /// The Pomerium whose assertion each request must carry. `None` serves anybody who reaches
    /// the socket, and nobody verifies who asks.
    pub pomerium: Option<Pomerium>,
}

impl Options {
    /// The time limit of a call where none is set.
    pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

    /// Serves `source` to this machine, without a journal.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            journal: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            time_limit: Self::DEFAULT_TIME_LIMIT,
            pomerium: None,
        }
    }
}

/// Which file is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The user's own SQLite file. It must exist.
    File(PathBuf),
    /// The demo database: made in this file if there is none yet, else served as it is.
    Demo(PathBuf),
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is missing, unreadable or no SQLite database.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The demo database could not be made.
    #[error("cannot make the demo database {}", path.display())]
    Demo {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The call journal could not be opened.
    #[error("cannot open the journal {}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The assertions of this Pomerium cannot be verified: a wrong host, URL or certificate.
    #[error("cannot verify assertions of Pomerium")]
    Pomerium(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Opens what is to be served, and serves it: [`Server::open`] and [`Server::serve`].
///
/// # Errors
/// Only before the first request is accepted: see [`Error`].
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let server = Server::open(options).await?;
    server.serve(listener, shutdown).await;
    Ok(())
}

/// A server whose database is open and that nobody can ask yet.
#[derive(Debug)]
pub struct Server {
    database: Database,
    journal: Journal,
    verifier: Option<Arc<Verifier>>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    tracker: TaskTracker,
}

impl Server {
    /// Opens the database and the journal; makes the demo database if need be.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let Options {
            source,
            journal,
            allowed_hosts,
            allowed_origins,
            time_limit,
            pomerium,
        } = options;
        let verifier = pomerium.map(Verifier::new).transpose()?.map(Arc::new);
        let tracker = TaskTracker::new();
        let path = prepare(&source, &tracker).await?;
        let database = Database::open(path, time_limit, tracker.clone()).await?;
        let journal = match journal {
            Some(path) => Journal::open(&path).map_err(|source| Error::Journal { path, source })?,
            None => Journal::none(),
        };
        Ok(Self {
            database,
            journal,
            verifier,
            allowed_hosts,
            allowed_origins,
            tracker,
        })
    }

    /// Serves MCP at `/mcp` on `listener` until `shutdown` is cancelled.
    ///
    /// After that no new connection is accepted, running statements are interrupted (an unfinished
    /// write is rolled back), streams end, and this returns when every task of the server has
    /// ended, at most some seconds later.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self {
            database,
            journal,
            verifier,
            allowed_hosts,
            allowed_origins,
            tracker,
        } = self;
        let stop = shutdown.child_token();
        let northwind = Northwind::new(database.clone(), journal, tracker.clone(), stop.clone());
        let config = http_config(&allowed_hosts, &allowed_origins, &stop);
        let app = router(northwind, config, verifier);

        listen::run(listener, app, &tracker, &stop).await;
        stop.cancel();
        tracker.close();
        if timeout(MAX_SHUTDOWN, tracker.wait()).await.is_err() {
            tracing::warn!(tasks = tracker.len(), "gave up waiting for tasks to end");
        }
        database.close();
    }
}

/// The file to open, made first if it is to be the demo database.
async fn prepare(source: &Source, tracker: &TaskTracker) -> Result<PathBuf, Error> {
    match source {
        Source::File(path) => Ok(path.clone()),
        Source::Demo(path) => {
            let target = path.clone();
            let failed = |source| Error::Demo {
                path: path.clone(),
                source,
            };
            tracker
                .spawn_blocking(move || demo::ensure(&target))
                .await
                .map_err(|lost| failed(lost.into()))?
                .map_err(|error| failed(error.into()))?;
            Ok(path.clone())
        }
    }
}

fn http_config(
    hosts: &[String],
    origins: &[String],
    stop: &CancellationToken,
) -> StreamableHttpServerConfig {
    let mut config = StreamableHttpServerConfig::default()
        .with_cancellation_token(stop.clone())
        .with_max_request_body_bytes(MAX_REQUEST_BYTES)
        .with_allowed_origins(
            LOOPBACK_ORIGINS
                .into_iter()
                .map(str::to_owned)
                .chain(origins.iter().cloned()),
        );
    config.allowed_hosts.extend(hosts.iter().cloned());
    config
}

fn router(
    northwind: Northwind,
    config: StreamableHttpServerConfig,
    verifier: Option<Arc<Verifier>>,
) -> Router {
    let peers = Arc::new(Semaphore::new(MAX_PEERS));
    // Sessions stay on for the older era: only there `notifications/cancelled` finds its call.
    // Answers are event streams, so that progress, keep-alive and a reader that goes away are seen.
    let service = StreamableHttpService::new(
        move || {
            let seat = Arc::clone(&peers)
                .try_acquire_owned()
                .map_err(std::io::Error::other)?;
            Ok(northwind.seated(seat))
        },
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let mut mcp = Router::new().route_service(PATH, service);
    if let Some(verifier) = verifier {
        mcp = mcp.layer(middleware::from_fn_with_state(verifier, identity::admit));
    }
    mcp.route(health::PATH, get(|| async { "ok\n" }))
}
