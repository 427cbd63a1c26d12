//! What is known of one user's servers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chat::{event::ServerState, failure::Failure, limits::CALLS_AT_ONCE, tool::Catalog};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use url::Url;
use wire::pomerium::Route;

/// How long Pomerium lets a person be at a consent page. A request that the server refuses
/// meanwhile makes Pomerium begin anew, and the consent is given in vain.
const CONSENT: Duration = Duration::from_mins(5);

/// The servers of one user.
#[derive(Debug, Default)]
pub struct UserServers {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    reading: Reading,
}

/// The places of those who read what links lead to: as many as calls of a turn.
#[derive(Debug)]
struct Reading(Semaphore);

impl Default for Reading {
    fn default() -> Self {
        Self(Semaphore::new(CALLS_AT_ONCE))
    }
}

#[derive(Debug, Default)]
struct State {
    listed: Option<Instant>,
    /// Why the list could not be had, the last time it was asked for.
    unlisted: Option<Failure>,
    servers: BTreeMap<String, Known>,
    /// The servers that refused a call for want of an account, by name.
    wanted: BTreeMap<String, Wanted>,
}

/// What is known of a server.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it is, and what Pomerium says of it.
    pub route: Route,
    /// Where the user's browser goes to connect an account; none for a server that is not
    /// Pomerium's.
    pub connect_url: Option<Url>,
    /// What the last attempt to use it showed.
    pub state: ServerState,
    /// Why, when it is not ready.
    pub failure: Option<Failure>,
    /// When it was last tried and failed.
    pub failed_at: Option<Instant>,
    /// What it offers; kept while it cannot be reached.
    pub catalog: Option<Arc<Catalog>>,
    /// The tools that policy refused the user when they were called last, by name.
    pub denied: BTreeMap<String, Failure>,
}

/// A server whose calls want an account, though it lists its tools without one.
#[derive(Clone, Debug)]
struct Wanted {
    failure: Failure,
    /// Pomerium has said since that no account is connected: when it says that one is, that is
    /// news.
    unconnected: bool,
}

impl UserServers {
    /// Those that are known before any list was had.
    pub(super) fn of(configured: Vec<Route>) -> Self {
        let servers = configured.into_iter();
        let servers = servers.map(|route| (route.name.clone(), Known::new(route, None)));
        let state = State {
            servers: servers.collect(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            ..Self::default()
        }
    }

    /// The servers, by name.
    pub fn all(&self) -> Vec<Known> {
        self.state().servers.values().cloned().collect()
    }

    /// One server.
    pub fn get(&self, server: &str) -> Option<Known> {
        self.state().servers.get(server).cloned()
    }

    /// Why the list of servers could not be had, if that is so.
    pub fn unlisted_because(&self) -> Option<Failure> {
        self.state().unlisted.clone()
    }

    /// The newest catalogs of these servers, as long as they are listed, and of those that are
    /// ready.
    pub fn newest(&self, of: &[&str]) -> Vec<Arc<Catalog>> {
        let state = self.state();
        let wanted = state.servers.values().filter(|known| {
            known.state == ServerState::Ready || of.contains(&known.route.name.as_str())
        });
        wanted.filter_map(|known| known.catalog.clone()).collect()
    }

    /// Whether the server was reached when it was last tried, and no call has since met an account
    /// that is not connected.
    pub fn is_ready(&self, server: &str) -> bool {
        let state = self.state();
        let known = state.servers.get(server);
        known.is_some_and(|known| known.state == ServerState::Ready)
    }

    /// Changes whenever a server's state or catalog does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until fewer resources are read for the user than may be at once.
    pub(super) async fn place_to_read(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.reading.0.acquire().await.ok()
    }

    /// Policy refused a call of the tool. Only when the server itself can be used: otherwise that
    /// is what the user is told.
    pub fn denied(&self, server: &str, tool: &str, failure: Failure) {
        self.edit(server, |known| {
            let offered = known
                .catalog
                .iter()
                .flat_map(|catalog| &catalog.tools)
                .any(|offered| offered.name == tool);
            let news = offered && known.state == ServerState::Ready;
            if news {
                known.denied.insert(tool.to_owned(), failure);
            }
            news
        });
    }

    /// Policy let a call of the tool through.
    pub fn allowed(&self, server: &str, tool: &str) {
        self.edit(server, |known| known.denied.remove(tool).is_some());
    }

    /// A call of the server met an account that is not connected: the server is not ready until
    /// one is, even if it lists its tools.
    pub(super) fn want(&self, server: &str, failure: Failure) {
        {
            let mut state = self.state();
            let known = state.servers.get_mut(server);
            let unconnected = known.as_ref().is_none_or(|known| !known.route.connected);
            if let Some(known) = known {
                known.state = ServerState::NeedsConnect;
                known.failure = Some(known.wanting(failure.clone()));
                known.failed_at = Some(Instant::now());
            }
            let wanted = Wanted {
                failure,
                unconnected,
            };
            state.wanted.insert(server.to_owned(), wanted);
        }
        self.changed();
    }

    /// The server's account was connected: what refused calls for want of it is over.
    pub(super) fn connected(&self, server: &str) {
        let news = self.state().lift(server);
        if news {
            self.changed();
        }
    }

    /// Why the server could not be reached, if that was a moment ago.
    pub(super) fn failed_within(&self, server: &str, life: Duration) -> Option<Failure> {
        let state = self.state();
        let known = state.servers.get(server)?;
        let lately = known.failed_at.is_some_and(|at| at.elapsed() < life);
        known.failure.clone().filter(|_| lately)
    }

    /// Why the server does not even list its tools without an account, if it was asked a moment ago
    /// and Pomerium says that none is connected: the person may be at its consent page just now.
    pub(super) fn awaits_consent(&self, server: &str) -> Option<Failure> {
        let state = self.state();
        if state.wanted.contains_key(server) {
            // It refuses calls, and nobody who only looks.
            return None;
        }
        let known = state.servers.get(server)?;
        let lately = known.failed_at.is_some_and(|at| at.elapsed() < CONSENT);
        let awaits = known.state == ServerState::NeedsConnect && !known.route.connected && lately;
        known.failure.clone().filter(|_| awaits)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state().servers.keys().cloned().collect()
    }

    pub(super) fn listed_within(&self, life: Duration) -> bool {
        self.state().listed.is_some_and(|at| at.elapsed() < life)
    }

    /// Takes Pomerium's list, each route with the place where its account is connected.
    pub(super) fn list(&self, routes: Vec<(Route, Option<Url>)>) {
        {
            let mut state = self.state();
            state.listed = Some(Instant::now());
            state.unlisted = None;
            let mut before = std::mem::take(&mut state.servers);
            for (route, connect_url) in routes {
                let known = match before.remove(&route.name) {
                    Some(known) if known.route.url == route.url => Known {
                        route,
                        connect_url,
                        ..known
                    },
                    Some(_) | None => Known::new(route, connect_url),
                };
                state.take(known);
            }
            let State {
                servers, wanted, ..
            } = &mut *state;
            wanted.retain(|server, _| servers.contains_key(server));
        }
        self.changed();
    }

    pub(super) fn unlisted(&self, failure: Failure) {
        self.state().unlisted = Some(failure);
        self.changed();
    }

    /// The server was reached, and this is what it offers.
    pub(super) fn offer(&self, server: &str, catalog: Arc<Catalog>) {
        let news = {
            let mut state = self.state();
            let wanted = state.wanted.get(server).cloned();
            let Some(known) = state.servers.get_mut(server) else {
                return;
            };
            let (to, failure) = match wanted {
                None => (ServerState::Ready, None),
                Some(wanted) => {
                    let failure = known.wanting(wanted.failure);
                    (ServerState::NeedsConnect, Some(failure))
                }
            };
            let before = known.catalog.as_ref();
            let same = known.state == to && before.is_some_and(|it| it.hash == catalog.hash);
            known.state = to;
            known.failure = failure;
            known.failed_at = None;
            known.catalog = Some(catalog);
            !same
        };
        if news {
            self.changed();
        }
    }

    /// The server was tried in vain.
    pub(super) fn fail(&self, server: &str, to: ServerState, failure: Failure) {
        self.edit(server, |known| {
            known.failure = Some(match to {
                ServerState::NeedsConnect => known.wanting(failure),
                ServerState::Connecting
                | ServerState::Ready
                | ServerState::Forbidden
                | ServerState::Unavailable => failure,
            });
            known.state = to;
            known.failed_at = Some(Instant::now());
            true
        });
    }

    /// Changes what is known of a server; the closure says whether that is news.
    fn edit(&self, server: &str, change: impl FnOnce(&mut Known) -> bool) {
        let news = self.state().servers.get_mut(server).is_some_and(change);
        if news {
            self.changed();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl State {
    /// Takes a server of a fresh list: an account that was not connected before and is now is what
    /// its calls waited for.
    fn take(&mut self, known: Known) {
        let name = known.route.name.clone();
        let connected = known.route.connected;
        self.servers.insert(name.clone(), known);
        let Some(wanted) = self.wanted.get_mut(&name) else {
            return;
        };
        if !connected {
            wanted.unconnected = true;
        } else if wanted.unconnected {
            self.lift(&name);
        }
    }

    /// Says whether an account was wanted.
    fn lift(&mut self, server: &str) -> bool {
        if self.wanted.remove(server).is_none() {
            return false;
        }
        if let Some(known) = self.servers.get_mut(server)
            && known.state == ServerState::NeedsConnect
        {
            // What lists its tools without an account is ready with one.
            known.state = match known.catalog {
                Some(_) => ServerState::Ready,
                None => ServerState::Connecting,
            };
            known.failure = None;
            known.failed_at = None;
        }
        true
    }
}

impl Known {
    fn new(route: Route, connect_url: Option<Url>) -> Self {
        Self {
            route,
            connect_url,
            state: ServerState::Connecting,
            failure: None,
            failed_at: None,
            catalog: None,
            denied: BTreeMap::new(),
        }
    }

    /// What a server that wants an account says, with what helps when Pomerium has one: it keeps
    /// an account that the server no longer takes, and its /connect then has nothing to do.
    fn wanting(&self, failure: Failure) -> Failure {
        if !self.route.connected {
            return failure;
        }
        Failure {
            message: "the server does not take the account that Pomerium holds for you".to_owned(),
            advice: "Disconnect the account, then connect it again.".to_owned(),
            ..failure
        }
    }
}

#[cfg(test)]
mod tests;
