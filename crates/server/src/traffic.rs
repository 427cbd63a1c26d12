//! The traffic: what is recorded of it, for whom it can be read, and how long it is kept.

mod recorder;

use std::{sync::Arc, time::Duration};

use chat::ids::{Subject, TurnId};
use store::{
    OpenError, StoreError,
    traffic::{Dropped, ExchangeId, ExchangeRow, ExchangeWhole, TrafficStore, TrafficTurn},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::tap::{Tap, TraceTap};

use self::recorder::Recorder;
use crate::{
    clock,
    config::{Config, TrafficMode, TrafficSettings},
};

/// How often is looked for traffic that is too old or too much.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How long somebody who looks waits for what waits to be written.
const SETTLING: Duration = Duration::from_millis(250);

/// The traffic, if any is recorded.
#[derive(Clone)]
pub struct Traffic {
    /// None with `TOOLGATE_TRAFFIC=off`: then there is no file.
    store: Option<TrafficStore>,
    settings: Arc<TrafficSettings>,
}

impl Traffic {
    /// Opens the traffic file beside the database, unless nothing is to be recorded.
    pub async fn open(config: &Config, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let settings = Arc::new(config.traffic.clone());
        let store = match settings.mode {
            TrafficMode::Off => None,
            TrafficMode::Full | TrafficMode::Metadata => {
                Some(TrafficStore::open(&config.database_url, tasks).await?)
            }
        };
        Ok(Self { store, settings })
    }

    /// Without a file.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let settings = TrafficSettings {
            mode: TrafficMode::Off,
            servers: std::collections::HashMap::new(),
            max_age: LOOK_EVERY,
            max_bytes: 0,
        };
        Self {
            store: None,
            settings: Arc::new(settings),
        }
    }

    /// What records every exchange.
    pub(crate) fn tap(&self) -> Arc<dyn Tap> {
        match &self.store {
            Some(store) => Arc::new(Recorder::new(store.clone(), Arc::clone(&self.settings))),
            None => Arc::new(TraceTap),
        }
    }

    /// What the operator set.
    pub(crate) fn settings(&self) -> &TrafficSettings {
        &self.settings
    }

    /// What was not recorded since the start, and why nothing is now.
    pub(crate) fn dropped(&self) -> Dropped {
        let store = self.store.as_ref();
        store.map(TrafficStore::dropped).unwrap_or_default()
    }

    /// As [`TrafficStore::turns`].
    pub(crate) async fn turns(
        &self,
        subject: &Subject,
        before: Option<&TurnId>,
        limit: u32,
    ) -> Result<Vec<TrafficTurn>, StoreError> {
        match &self.store {
            Some(store) => settled(store).await.turns(subject, before, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// As [`TrafficStore::exchanges`].
    pub(crate) async fn exchanges(
        &self,
        subject: &Subject,
        turn: Option<&TurnId>,
        limit: u32,
    ) -> Result<Vec<ExchangeRow>, StoreError> {
        match &self.store {
            Some(store) => {
                let store = settled(store).await;
                store.exchanges(subject, turn, limit).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// As [`TrafficStore::exchange`].
    pub(crate) async fn exchange(
        &self,
        subject: &Subject,
        id: &ExchangeId,
    ) -> Result<Option<ExchangeWhole>, StoreError> {
        match &self.store {
            Some(store) => settled(store).await.exchange(subject, id).await,
            None => Ok(None),
        }
    }

    /// Takes away what is too old or too much, as long as the program runs.
    pub(crate) fn keep_within_limits(&self, tasks: &TaskTracker, shutdown: CancellationToken) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let settings = Arc::clone(&self.settings);
        tasks.spawn(async move {
            let purging = async {
                let mut ticks = tokio::time::interval(LOOK_EVERY);
                loop {
                    ticks.tick().await;
                    let before = clock::before(settings.max_age);
                    match store.purge(before, settings.max_bytes).await {
                        Ok(purged) if purged.exchanges > 0 => {
                            tracing::info!(exchanges = purged.exchanges, "old traffic was removed");
                        }
                        Ok(_) => {}
                        // It is tried again at the next look.
                        Err(error) => tracing::warn!(%error, "old traffic was not removed"),
                    }
                }
            };
            let _stopped: Option<()> = shutdown.run_until_cancelled(purging).await;
        });
    }

    /// Writes what waits to be written, and closes the file.
    pub(crate) async fn close(&self) {
        if let Some(store) = &self.store {
            store.close().await;
        }
    }
}

/// The store, when what was seen so far is in it: the last request of an answer is there as soon as
/// the answer. Under pressure what is there has to do.
async fn settled(store: &TrafficStore) -> &TrafficStore {
    let _late: Result<_, tokio::time::error::Elapsed> =
        tokio::time::timeout(SETTLING, store.flush()).await;
    store
}
