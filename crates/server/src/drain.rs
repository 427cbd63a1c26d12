//! The drain: the time between the wish that the program ends and its end.
//!
//! No new turn begins; those that run go on, their pages and answers with them. It is over when
//! none runs any more, when `TOOLGATE_DRAIN` has passed, or when the program is told to end now.
//! What still runs then is put down, and the next start takes it up again; a turn that only waits
//! for a person waits there as well as here.

use std::{sync::Arc, time::Duration};

use crate::app::{App, Stops};

/// How often it is looked whether a turn still runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits for the drain to begin, and ends the work when it is over.
pub(crate) async fn run(app: Arc<App>, patience: Duration, stops: Stops) {
    tokio::select! {
        () = stops.drain.cancelled() => {}
        () = stops.work.cancelled() => return,
    }
    let idle = async {
        while app.turns.any_working() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tracing::info!("stopping: no new turns are taken, those that run go on for a while");
    tokio::select! {
        () = idle => tracing::info!("stopping: no turn runs any more"),
        () = tokio::time::sleep(patience) => {
            tracing::info!("stopping: running turns are put down for the next start");
        }
        () = stops.work.cancelled() => {
            tracing::info!("stopping at once: running turns are put down for the next start");
        }
    }
    stops.work.cancel();
}
