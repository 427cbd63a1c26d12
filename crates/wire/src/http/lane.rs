//! Lanes: so that the idle streams or the unread flood of one user hold up nobody else.
//!
//! Over HTTP/2 a client has one connection to a host, with a limited number of streams on it (a
//! server may allow as few as 100) and one window for all. Several lanes are several connections.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::connect::Dialer;

/// Open streams of a lane to one host: under the smallest limit seen on servers (100).
const STREAMS: usize = 64;

/// Places of a lane for one host. Each is an MCP connection: a standing stream and some calls.
const PLACES: usize = 8;

/// HTTP/2 pings find a dead peer after this long, so that a call over it ends.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a ping may stay without an answer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

pub(super) type LaneClient = Client<Dialer, Full<Bytes>>;

/// A place in a lane, for one host. Whoever holds it sends through the same HTTP client.
#[derive(Debug)]
pub struct Lane {
    client: Arc<LaneState>,
    host: String,
}

impl Lane {
    pub(super) fn client(&self) -> &LaneClient {
        &self.client.client
    }

    /// The streams of this lane to this host: one permit each.
    pub(super) fn streams(&self) -> Arc<Semaphore> {
        let mut hosts = self.client.hosts();
        hosts.entry(self.host.clone()).or_default().streams.clone()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut hosts = self.client.hosts();
        if let Some(host) = hosts.get_mut(&self.host) {
            host.taken = host.taken.saturating_sub(1);
            if host.taken == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

/// All lanes.
pub(super) struct Lanes {
    dialer: Dialer,
    executor: Executor,
    all: Mutex<Vec<Arc<LaneState>>>,
}

impl Lanes {
    pub(super) fn new(dialer: Dialer, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self {
            dialer,
            executor: Executor { tasks, shutdown },
            all: Mutex::default(),
        }
    }

    /// A place for the URL's host in the first lane that has one.
    pub(super) fn place(&self, url: &Url) -> Lane {
        let host = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        let mut lanes = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane that nobody uses is given up, with its connections.
        lanes.retain(|lane| !lane.hosts().is_empty());
        let free = lanes.iter().find(|lane| {
            let hosts = lane.hosts();
            hosts.get(&host).is_none_or(|host| host.taken < PLACES)
        });
        let client = if let Some(lane) = free {
            lane.clone()
        } else {
            let lane = Arc::new(LaneState {
                client: self.client(),
                hosts: Mutex::default(),
            });
            lanes.push(lane.clone());
            lane
        };
        client.hosts().entry(host.clone()).or_default().taken += 1;
        Lane { client, host }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.lock().unwrap().len()
    }

    fn client(&self) -> LaneClient {
        Client::builder(self.executor.clone())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(self.dialer.clone())
    }
}

#[derive(Debug)]
struct LaneState {
    client: LaneClient,
    hosts: Mutex<HashMap<String, HostState>>,
}

impl LaneState {
    fn hosts(&self) -> std::sync::MutexGuard<'_, HashMap<String, HostState>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct HostState {
    taken: usize,
    streams: Arc<Semaphore>,
}

impl Default for HostState {
    fn default() -> Self {
        Self {
            taken: 0,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

/// Runs the HTTP client's connections as tracked tasks that end at shutdown.
#[derive(Clone, Debug)]
struct Executor {
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let shutdown = self.shutdown.clone();
        self.tasks
            .spawn(async move { shutdown.run_until_cancelled_owned(task).await.map(drop) });
    }
}
