//! What is done again and again, as long as the program runs.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Does `work` at once and then every `period`, in a task of its own. `shutdown` ends it wherever
/// it is.
pub(crate) fn every<Done: Future<Output = ()> + Send>(
    period: Duration,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
    mut work: impl FnMut() -> Done + Send + 'static,
) {
    tasks.spawn(async move {
        let working = async {
            let mut ticks = tokio::time::interval(period);
            loop {
                ticks.tick().await;
                work().await;
            }
        };
        let _stopped: Option<()> = shutdown.run_until_cancelled(working).await;
    });
}
