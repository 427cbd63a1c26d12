//! Removing for good what nobody can have back: deleted conversations, and turns of the API that
//! are as old as their traffic may be.

use std::{sync::Arc, time::Duration};

use store::{Expired, Removed, StoreError};

use super::{Turns, edit::RESTORABLE};
use crate::{clock, every::every};

/// How often is looked for what has expired.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The pause between two steps of a purge: what others have to write goes first.
const STEPS_APART: Duration = Duration::from_millis(20);

impl Turns {
    /// Removes what has expired, as long as the program runs.
    pub(crate) fn purge_expired(self: &Arc<Self>) {
        let turns = Arc::clone(self);
        let shutdown = self.context.shutdown.clone();
        every(LOOK_EVERY, &self.context.tasks, shutdown, move || {
            let turns = Arc::clone(&turns);
            async move {
                if let Err(error) = turns.purge().await {
                    // It is tried again at the next look.
                    tracing::warn!(%error, "what has expired was not removed");
                }
            }
        });
    }

    async fn purge(&self) -> Result<(), StoreError> {
        let expired = Expired {
            deleted_until: clock::before(RESTORABLE),
            api_ended_until: clock::before(self.context.settings.api_turns_kept),
        };
        loop {
            match self.context.store.purge_some(expired).await? {
                Removed::Nothing => return Ok(()),
                Removed::Part => {}
                Removed::Turn(turn) => {
                    // Nobody is shown it any more, and it goes with its age.
                    if let Err(error) = self.context.traffic.forget(&turn).await {
                        tracing::warn!(%turn, %error, "the traffic of a turn was not removed");
                    }
                }
            }
            tokio::time::sleep(STEPS_APART).await;
        }
    }
}
