//! Toolgate itself: the turn driver, identity, the page and the API.
//!
//! [`serve`] is the program; `main.rs` only finds its settings and its signals.

pub mod routes;

pub mod app;
pub mod config;
pub mod doctor;
pub mod identity;
pub mod programs;

pub mod context;
pub mod live;
pub mod page;
pub mod servers;
pub mod tokens;
pub mod traffic;
pub mod turns;

pub mod admin;

mod api;
mod clock;
mod drain;
mod driver;
mod error;
mod every;
mod extract;
mod gate;
mod listen;
mod markdown;
mod standalone;
mod streams;
mod v1;

use std::{io, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use admin::Health;
pub use app::{App, SetupError, Stops};
pub use config::Config;

/// How long answers that are being sent may take when the program stops: somebody may read slowly.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Why Toolgate could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something it needs could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The listener failed.
    #[error("cannot serve")]
    Io(#[from] io::Error),
}

/// Where Toolgate listens.
#[derive(Debug)]
pub struct Listeners {
    /// For the page and the API.
    pub public: TcpListener,
    /// For the operator's questions, which never come through Pomerium.
    pub admin: Option<TcpListener>,
}

/// What tells Toolgate to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Begins the drain: no new turns, and the end when no turn runs any more or after
    /// `TOOLGATE_DRAIN`.
    pub drain: CancellationToken,
    /// Ends it now: running turns are put down.
    pub now: CancellationToken,
}

impl Shutdown {
    /// Without a drain.
    pub fn at_once(now: CancellationToken) -> Self {
        Self {
            drain: now.clone(),
            now,
        }
    }
}

/// Serves the page and the API until `shutdown`; then puts running turns down, so that the next
/// start takes them up again, and returns with every task ended.
pub async fn serve(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let tasks = TaskTracker::new();
    // What fails below must still end what was begun.
    let stops = Stops {
        drain: shutdown.drain.child_token(),
        work: shutdown.now.child_token(),
        wires: CancellationToken::new(),
    };
    let result = run(config, listeners, &tasks, &stops).await;
    stops.drain.cancel();
    stops.work.cancel();
    stops.wires.cancel();
    tasks.close();
    tasks.wait().await;
    result
}

async fn run(
    config: Config,
    listeners: Listeners,
    tasks: &TaskTracker,
    stops: &Stops,
) -> Result<(), ServeError> {
    let Listeners { public, admin } = listeners;
    let address = public.local_addr()?;
    let config = Config {
        listen: address,
        ..config
    };
    let health = Arc::new(Health::new(stops.drain.clone()));
    if let Some(admin) = admin {
        // It answers until nothing else does.
        let serving = admin::serve(admin, Arc::clone(&health), stops.wires.clone());
        tasks.spawn(serving);
    }
    let app = Arc::new(App::new(&config, tasks, stops).await?);
    app.recover().await?;
    app.keep_house();
    health.recovered(app.context.store.clone(), app.context.traffic.clone());
    tasks.spawn(drain::run(Arc::clone(&app), config.drain, stops.clone()));
    tracing::info!(%address, url = %app.public_url, "toolgate is ready");
    let router = routes::router(Arc::clone(&app));
    listen::serve(public, router, stops.work.clone(), LAST_ANSWERS).await;
    stops.work.cancel();
    app.put_down().await;
    Ok(())
}
