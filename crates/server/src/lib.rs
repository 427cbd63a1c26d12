//! Toolgate itself: the turn driver, identity, the page and the API.
//!
//! [`serve`] is the program; `main.rs` only finds its settings and its signals.

pub mod routes;

pub mod app;
pub mod config;
pub mod identity;
pub mod doctor;
pub mod programs;

pub mod context;
pub mod live;
pub mod page;
pub mod servers;
pub mod tokens;
pub mod turns;

mod api;
mod clock;
mod driver;
mod error;
mod extract;
mod gate;
mod markdown;
mod standalone;
mod streams;
mod v1;

use std::{io, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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

/// Serves the page and the API on `listener` until `shutdown`; then puts running turns down, so
/// that the next start takes them up again, and returns with every task ended.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let tasks = TaskTracker::new();
    // What fails below must still end what was begun.
    let stops = Stops {
        work: shutdown.child_token(),
        wires: CancellationToken::new(),
    };
    let result = run(&config, listener, &tasks, &stops).await;
    stops.work.cancel();
    stops.wires.cancel();
    tasks.close();
    tasks.wait().await;
    result
}

async fn run(
    config: &Config,
    listener: TcpListener,
    tasks: &TaskTracker,
    stops: &Stops,
) -> Result<(), ServeError> {
    let shutdown = &stops.work;
    let app = Arc::new(App::new(config, tasks, stops).await?);
    app.recover().await?;
    app.keep_house();
    let address = listener.local_addr()?;
    tracing::info!(%address, url = %app.public_url, "toolgate is ready");
    let listener = listener.tap_io(|stream| {
        // Small events must not wait for more to come.
        let _best_effort = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, routes::router(Arc::clone(&app)))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = patience => Ok(()),
    };
    shutdown.cancel();
    app.put_down().await;
    Ok(served?)
}
