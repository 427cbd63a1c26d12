//! The traffic: what is recorded of it, for whom it can be read, and how long it is kept.

mod recorder;

use std::{sync::Arc, time::Duration};

use chat::ids::{Subject, TurnId};
use store::{
    OpenError, Store, StoreError,
    traffic::{Bodies, Dropped, ExchangeId, ExchangeRow, ExchangeWhole, TrafficStore, TrafficTurn},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::tap::{Tap, TraceTap};

use self::recorder::Recorder;
use crate::{
    clock,
    config::{Config, TrafficMode, TrafficSettings},
    every::every,
};

/// How often is looked for traffic that is too old or too much.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How long somebody who looks waits for what waits to be written.
const SETTLING: Duration = Duration::from_millis(250);

/// Exchanges whose bodies are made a text of at once.
const PACKED_AT_ONCE: usize = 2;

/// Stands for the id of a turn where an exchange has none.
pub(crate) const OUTSIDE: &str = "outside";

/// Whether an exchange of `turn` stands under this name in a path.
pub(crate) fn is_of(turn: Option<&TurnId>, name: &TurnId) -> bool {
    turn.map_or(OUTSIDE, TurnId::as_str) == name.as_str()
}

/// Whether what stands under this name may be shown to a person: of a turn whose conversation was
/// deleted nothing is.
pub(crate) async fn is_shown(
    store: &Store,
    subject: &Subject,
    name: &TurnId,
) -> Result<bool, StoreError> {
    if name.as_str() == OUTSIDE {
        return Ok(true);
    }
    store.has_turn(subject, name).await
}

/// The traffic, if any is recorded.
#[derive(Clone)]
pub struct Traffic {
    /// None without a file: with `TOOLGATE_TRAFFIC=off`, unless there is one from before, which
    /// is kept as long as any.
    store: Option<TrafficStore>,
    settings: Arc<TrafficSettings>,
    /// For whoever makes a text of large bodies.
    packing: Arc<Semaphore>,
}

impl Traffic {
    /// Opens the traffic file beside the database, unless nothing is to be recorded.
    pub async fn open(config: &Config, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let settings = Arc::new(config.traffic.clone());
        let url = &config.database_url;
        let needed = match settings.mode {
            TrafficMode::Off => TrafficStore::exists(url),
            TrafficMode::Full | TrafficMode::Metadata => true,
        };
        let store = if needed {
            Some(TrafficStore::open(url, settings.max_bytes, tasks).await?)
        } else {
            None
        };
        Ok(Self {
            store,
            settings,
            packing: Arc::new(Semaphore::new(PACKED_AT_ONCE)),
        })
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
            packing: Arc::new(Semaphore::new(PACKED_AT_ONCE)),
        }
    }

    /// What records every exchange.
    pub(crate) fn tap(&self) -> Arc<dyn Tap> {
        match (&self.store, self.settings.mode) {
            (Some(store), TrafficMode::Full | TrafficMode::Metadata) => {
                Arc::new(Recorder::new(store.clone(), Arc::clone(&self.settings)))
            }
            (Some(_), TrafficMode::Off) | (None, _) => Arc::new(TraceTap),
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

    /// As [`TrafficStore::turns`]. The newest are waited for; those before one are written.
    pub(crate) async fn turns(
        &self,
        subject: &Subject,
        before: Option<&TurnId>,
        limit: u32,
    ) -> Result<Vec<TrafficTurn>, StoreError> {
        match &self.store {
            Some(store) => {
                if before.is_none() {
                    settled(store).await;
                }
                store.turns(subject, before, limit).await
            }
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
        if let Some(store) = &self.store {
            settled(store).await;
        }
        self.listed(subject, id, Bodies::Kept).await
    }

    /// As [`exchange`](Self::exchange) for one that was listed before, so that there is nothing to
    /// wait for; with its bodies left out if they are not wanted.
    pub(crate) async fn listed(
        &self,
        subject: &Subject,
        id: &ExchangeId,
        bodies: Bodies,
    ) -> Result<Option<ExchangeWhole>, StoreError> {
        match (&self.store, bodies) {
            (Some(store), Bodies::Kept) => store.exchange(subject, id).await,
            (Some(store), Bodies::Left) => store.exchange_head(subject, id).await,
            (None, _) => Ok(None),
        }
    }

    /// Makes something of large bodies, away from the threads that serve everybody, and a few at
    /// a time: each may need some hundred megabytes of memory.
    pub(crate) async fn pack<T: Send + 'static>(
        &self,
        tasks: &TaskTracker,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.packing.acquire().await;
        let done = tasks.spawn_blocking(make).await;
        drop(permit);
        done.map_err(|_| StoreError::Closed)
    }

    /// Takes away the exchanges of a turn that is gone for good.
    pub(crate) async fn forget(&self, turn: &TurnId) -> Result<(), StoreError> {
        match &self.store {
            Some(store) => store.forget(turn).await,
            None => Ok(()),
        }
    }

    /// Takes away what is too old or too much, as long as the program runs.
    pub(crate) fn keep_within_limits(&self, tasks: &TaskTracker, shutdown: CancellationToken) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let max_age = self.settings.max_age;
        every(LOOK_EVERY, tasks, shutdown, move || {
            let store = store.clone();
            async move {
                match store.purge(clock::before(max_age)).await {
                    Ok(purged) if purged.exchanges > 0 => {
                        tracing::info!(exchanges = purged.exchanges, "old traffic was removed");
                    }
                    Ok(_) => {}
                    // It is tried again at the next look.
                    Err(error) => tracing::warn!(%error, "old traffic was not removed"),
                }
            }
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
