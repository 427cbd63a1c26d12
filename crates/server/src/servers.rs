//! The MCP servers of each user: which there are, what they offer, and the connections to them.
//!
//! Servers come from Pomerium's list and from the configuration, and are judged by trying, never
//! by what the list says of them. Connections are kept by (subject, session, server, scope): a
//! server that issues MCP sessions gets one per conversation, one that does not is shared. Catalogs
//! are kept by (subject, server) and outlive connections.

mod accounts;
mod at_hand;
mod configured;
mod reading;
mod user;

mod connections;

use std::{sync::Arc, time::Duration};

use chat::{
    event::{ServerState, ServerStateChanged},
    failure::{Failure, Layer},
    ids::{ConversationId, Subject},
    tool::Catalog,
};
use dashmap::DashMap;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;
use wire::{
    mcp::{ConnectError, Connection},
    pomerium::{Pomerium, RoutesError},
};

use crate::{config::ConfiguredServer, tokens::Session};
pub use at_hand::AtHand;
use configured::Configured;
pub use connections::Setup;
use connections::{Connections, Found};
pub use reading::Linked;
pub use user::{Known, UserServers};

/// How long Pomerium's list of servers is used before it is asked for again.
const ROUTES_LIFE: Duration = Duration::from_mins(1);

/// How long a server that did not answer is given little time.
const FAILED_LATELY: Duration = Duration::from_mins(1);

/// What such a server is given before a turn goes on without it.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// How long a session's first token may take when the one at hand turns out stale.
const NEWER_TOKEN: Duration = Duration::from_secs(10);

/// The servers of all users.
pub struct Servers {
    /// None when Toolgate stands alone.
    pomerium: Option<Pomerium>,
    configured: Configured,
    connections: Connections,
    users: DashMap<Subject, Arc<UserServers>>,
}

impl Servers {
    /// The servers behind `pomerium`, if there is one, and those of the configuration.
    pub fn new(pomerium: Option<Pomerium>, configured: &[ConfiguredServer], setup: Setup) -> Self {
        Self {
            pomerium,
            configured: Configured::new(configured),
            connections: Connections::new(setup),
            users: DashMap::new(),
        }
    }

    /// What is known of a user's servers.
    pub fn of(&self, subject: &Subject) -> Arc<UserServers> {
        let user = self.users.entry(subject.clone());
        // Those of the configuration are there before Pomerium is asked, and without it.
        let new = || Arc::new(UserServers::of(self.configured.beside(&[])));
        Arc::clone(&user.or_insert_with(new))
    }

    /// Tries every server of the session's user, as Pomerium lists them now, for a person who wants
    /// to know: each has all the time there is.
    pub async fn refresh(self: &Arc<Self>, session: &Arc<Session>, scope: &ConversationId) {
        let user = self.of(&session.subject);
        // What came of it is said with the servers.
        let _listed = self.list_anew(&user, session).await;
        let names = user.names().into_iter();
        let names = names.filter(|name| user.awaits_consent(name).is_none());
        let tries = names.map(|name| self.patiently(session, name, scope));
        futures_util::future::join_all(tries).await;
    }

    /// Tries the servers of the session's user that are `wanted`, side by side, each under its own
    /// deadline, and tells `said` what became of each. A server that fails is said to have failed
    /// and left out.
    pub async fn load(
        self: &Arc<Self>,
        session: &Arc<Session>,
        scope: &ConversationId,
        wanted: impl Fn(&str) -> bool,
        said: mpsc::Sender<ServerStateChanged>,
    ) -> Vec<Arc<Catalog>> {
        let user = self.of(&session.subject);
        if let Err(error) = self.list(&user, session).await {
            let failure = Some(error.failure().clone());
            let (server, state) = ("Pomerium".to_owned(), ServerState::Unavailable);
            let _gone = said
                .send(ServerStateChanged {
                    server,
                    state,
                    failure,
                })
                .await;
        }
        let mut tries: FuturesUnordered<_> = user
            .names()
            .into_iter()
            .filter(|name| wanted(name))
            .map(|name| self.attempt(session, name, scope))
            .collect();
        let mut catalogs = Vec::new();
        while let Some((server, result)) = tries.next().await {
            let (state, failure) = match result {
                Ok(connection) => {
                    catalogs.push(connection.catalog());
                    (ServerState::Ready, None)
                }
                Err(error) => (error.state(), Some(error.failure().clone())),
            };
            let _gone = said
                .send(ServerStateChanged {
                    server,
                    state,
                    failure,
                })
                .await;
        }
        catalogs.sort_by(|a, b| a.server.cmp(&b.server));
        catalogs
    }

    /// A connection to one server: the one there is, or a new one.
    pub async fn connect(
        &self,
        session: &Arc<Session>,
        server: &str,
        scope: &ConversationId,
    ) -> Result<Connection, ConnectError> {
        let user = self.of(&session.subject);
        if user.get(server).is_none() {
            // After a restart a call can be the first to ask for a server.
            self.list(&user, session)
                .await
                .map_err(|error| match error {
                    RoutesError::StaleToken(failure) => ConnectError::StaleToken(failure),
                    RoutesError::Unavailable(failure) => ConnectError::Unavailable(failure),
                })?;
        }
        let Some(known) = user.get(server) else {
            return Err(ConnectError::Unavailable(Failure::new(
                Layer::Pomerium,
                format!("There is no server {server} any more."),
                "Ask your administrator whether it was renamed or removed.",
            )));
        };
        let credentials = self.configured.credentials(&known.route, session);
        let getting = self
            .connections
            .get(session, &known.route, scope, credentials);
        match getting.await {
            Ok(Found::Open(connection)) => {
                user.offer(server, connection.catalog());
                Ok(connection)
            }
            Ok(Found::Made(connection)) => {
                user.offer(server, connection.catalog());
                self.follow(&user, server, &connection);
                Ok(connection)
            }
            Err(error) => {
                // A stale token says nothing about a server that was ready.
                let outdated = matches!(error, ConnectError::StaleToken(_));
                if !(outdated && known.state == ServerState::Ready) {
                    user.fail(server, error.state(), error.failure().clone());
                }
                Err(error)
            }
        }
    }

    /// Tries one server. One that has failed a moment ago is not waited for as long again: it is
    /// tried all the same, and its tools are there as soon as it answers.
    async fn attempt(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: String,
        scope: &ConversationId,
    ) -> (String, Result<Connection, ConnectError>) {
        let user = self.of(&session.subject);
        if let Some(failure) = user.awaits_consent(&name) {
            return (name, Err(ConnectError::NeedsConnect(failure)));
        }
        let before = user.failed_within(&name, FAILED_LATELY);
        let trying = self.patiently(session, name.clone(), scope);
        let result = match before {
            None => trying.await,
            Some(failure) => {
                let tried = tokio::time::timeout(SECOND_CHANCE, trying).await;
                tried.unwrap_or(Err(ConnectError::Unavailable(failure)))
            }
        };
        (name, result)
    }

    /// Tries one server to the end, also when nobody waits for it any more.
    async fn patiently(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: String,
        scope: &ConversationId,
    ) -> Result<Connection, ConnectError> {
        let (servers, session, scope) = (Arc::clone(self), Arc::clone(session), scope.clone());
        let trying = self.connections.spawn_for(async move {
            let trying = servers.connect_patiently(&session, &name, &scope);
            trying.await
        });
        let stopped = || Err(ConnectError::Unavailable(stopping()));
        trying.await.unwrap_or_else(stopped)
    }

    /// Like [`Servers::connect`], but a stale token is waited out: a newer one of the session is
    /// asked for.
    async fn connect_patiently(
        &self,
        session: &Arc<Session>,
        server: &str,
        scope: &ConversationId,
    ) -> Result<Connection, ConnectError> {
        let mut newer = session.watch();
        let result = self.connect(session, server, scope).await;
        if !matches!(result, Err(ConnectError::StaleToken(_))) {
            return result;
        }
        session.recall_streams();
        match tokio::time::timeout(NEWER_TOKEN, newer.changed()).await {
            Ok(Ok(())) => self.connect(session, server, scope).await,
            Ok(Err(_)) | Err(_) => result,
        }
    }

    /// Whether what the tools of a user's server say of themselves counts.
    pub fn trusts_hints(&self, subject: &Subject, server: &str) -> bool {
        match self.of(subject).get(server) {
            Some(known) => self.configured.trusts_hints(&known.route),
            // Nobody knows yet whose it is.
            None => false,
        }
    }

    /// Closes the connections of a session, while its token still works.
    pub async fn close(&self, session: &Session) {
        self.connections.close(session).await;
    }

    /// Closes the session's connections of a scope that is over; does not wait for it.
    pub fn release(&self, session: &Session, scope: &ConversationId) {
        self.connections.release(session, scope);
    }

    /// Forgets what is known of a user's servers: nobody of theirs is here any more.
    pub fn forget(&self, subject: &Subject) {
        self.users.remove(subject);
    }

    /// Closes every connection.
    pub async fn close_all(&self) {
        self.connections.close_all().await;
    }

    /// Brings Pomerium's list up to date, if it is old.
    async fn list(&self, user: &UserServers, session: &Session) -> Result<(), RoutesError> {
        if user.listed_within(ROUTES_LIFE) {
            return Ok(());
        }
        self.list_anew(user, session).await
    }

    /// Keeps the catalog up to date while the connection lives.
    fn follow(&self, user: &Arc<UserServers>, server: &str, connection: &Connection) {
        let mut changes = connection.catalog_changes();
        let (user, server) = (Arc::downgrade(user), server.to_owned());
        self.connections.spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(user) = user.upgrade() else { return };
                let catalog = Arc::clone(&changes.borrow_and_update());
                user.offer(&server, catalog);
            }
        });
    }
}

fn stopping() -> Failure {
    let message = "Toolgate is being stopped.";
    Failure::new(Layer::Toolgate, message, "Try again in a moment.")
}
