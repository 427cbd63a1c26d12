//! The connections, by (subject, session, server, scope).

use std::{future::Future, sync::Arc, time::Instant};

use chat::ids::{ConversationId, Sid, Subject};
use dashmap::DashMap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use wire::{
    http::Http,
    mcp::{ConnectError, ConnectOptions, Connection, CredentialSource, EraMemory, ServerAddress},
    pomerium::Route,
};

use crate::tokens::Session;

/// MCP sessions of one user's session with one server: more conversations than anybody has going.
const SCOPED: usize = 32;

/// What connections are made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The way out.
    pub http: Http,
    /// The largest request sent, bytes.
    pub max_request_bytes: usize,
    /// The tracker of every task.
    pub tasks: TaskTracker,
    /// Ends every task.
    pub shutdown: CancellationToken,
}

/// All open connections.
pub(super) struct Connections {
    setup: Setup,
    eras: EraMemory,
    open: DashMap<Key, Arc<tokio::sync::Mutex<OfServer>>>,
}

/// Whose session, the server's name, and where it is: another place is another server.
type Key = (Subject, Sid, String, Url);

fn key(session: &Session, route: &Route) -> Key {
    (
        session.subject.clone(),
        session.sid.clone(),
        route.name.clone(),
        route.url.clone(),
    )
}

/// The connections of one session to one server. Locked while one is made, so that two callers
/// who need the same do not make it twice.
#[derive(Default)]
struct OfServer {
    /// The one that all conversations share, when the server issues no MCP sessions.
    shared: Option<Connection>,
    /// One for each conversation, when it does; the one used last stands last.
    scoped: Vec<(ConversationId, Connection)>,
    /// When the last attempt failed, and why: those who waited for it share its failure instead
    /// of waiting as long again, one after another.
    failed: Option<(Instant, ConnectError)>,
}

/// A connection that was asked for.
pub(super) enum Found {
    /// There was one.
    Open(Connection),
    /// It was made just now.
    Made(Connection),
}

impl Connections {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            eras: EraMemory::default(),
            open: DashMap::new(),
        }
    }

    /// The connection of this scope, if there is one and none is being made.
    pub(super) fn open(
        &self,
        session: &Session,
        route: &Route,
        scope: &ConversationId,
    ) -> Option<Connection> {
        let of_server = self.open.get(&key(session, route))?;
        let mut of_server = of_server.try_lock().ok()?;
        of_server.find(scope)
    }

    /// The connection of this scope, made if there is none.
    pub(super) async fn get(
        &self,
        session: &Arc<Session>,
        route: &Route,
        scope: &ConversationId,
        credentials: Arc<dyn CredentialSource>,
    ) -> Result<Found, ConnectError> {
        let of_server = Arc::clone(&self.open.entry(key(session, route)).or_default());
        let asked = Instant::now();
        let mut of_server = of_server.lock().await;
        if let Some((at, error)) = &of_server.failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        if let Some(connection) = of_server.find(scope) {
            return Ok(Found::Open(connection));
        }
        let connection = Connection::connect(ConnectOptions {
            http: self.setup.http.clone(),
            server: ServerAddress {
                name: route.name.clone(),
                url: route.url.clone(),
            },
            credentials,
            max_request_bytes: self.setup.max_request_bytes,
            eras: self.eras.clone(),
            tasks: self.setup.tasks.clone(),
            shutdown: self.setup.shutdown.clone(),
        })
        .await;
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                of_server.failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        if connection.has_session() {
            let oldest = (of_server.scoped.len() >= SCOPED).then(|| of_server.scoped.remove(0));
            of_server.scoped.push((scope.clone(), connection.clone()));
            if let Some((_, oldest)) = oldest {
                self.spawn(async move { oldest.close().await });
            }
        } else {
            of_server.shared = Some(connection.clone());
        }
        Ok(Found::Made(connection))
    }

    /// Closes all connections of a session.
    pub(super) async fn close(&self, session: &Session) {
        self.close_where(|(subject, sid, ..)| *subject == session.subject && *sid == session.sid)
            .await;
    }

    /// Closes a session's connections of one scope, in the background.
    pub(super) fn release(&self, session: &Session, scope: &ConversationId) {
        let own = self.open.iter().filter(|entry| {
            let (subject, sid, ..) = entry.key();
            *subject == session.subject && *sid == session.sid
        });
        let of_servers: Vec<_> = own.map(|entry| Arc::clone(entry.value())).collect();
        let scope = scope.clone();
        self.spawn(async move {
            let closing = of_servers.into_iter().map(|of_server| async {
                let of_server = of_server;
                let released = of_server.lock().await.take(&scope);
                if let Some(connection) = released {
                    connection.close().await;
                }
            });
            futures_util::future::join_all(closing).await;
        });
    }

    /// Closes all connections of a user to a server.
    pub(super) async fn close_server(&self, user: &Subject, server: &str) {
        self.close_where(|(subject, _, name, _)| subject == user && name == server)
            .await;
    }

    /// Closes all connections there are.
    pub(super) async fn close_all(&self) {
        self.close_where(|_| true).await;
    }

    async fn close_where(&self, wanted: impl Fn(&Key) -> bool) {
        let mut of_servers = Vec::new();
        self.open.retain(|key, of_server| {
            let close = wanted(key);
            if close {
                of_servers.push(Arc::clone(of_server));
            }
            !close
        });
        let closing = of_servers.into_iter().map(|of_server| async move {
            let mut of_server = of_server.lock().await;
            let scoped = std::mem::take(&mut of_server.scoped);
            let scoped = scoped.into_iter().map(|(_, scoped)| scoped);
            for connection in of_server.shared.take().into_iter().chain(scoped) {
                connection.close().await;
            }
        });
        futures_util::future::join_all(closing).await;
    }

    /// Runs a task that goes on when its caller no longer waits for it, and ends with the program.
    pub(super) async fn spawn_for<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let shutdown = self.setup.shutdown.clone();
        let running = self
            .setup
            .tasks
            .spawn(async move { shutdown.run_until_cancelled(task).await });
        running.await.ok().flatten()
    }

    /// Runs a task that ends with the program.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.setup.shutdown.clone();
        self.setup.tasks.spawn(async move {
            let _ended = shutdown.run_until_cancelled(task).await;
        });
    }
}

impl OfServer {
    /// The scope's own connection, which is its no more.
    fn take(&mut self, scope: &ConversationId) -> Option<Connection> {
        let index = self.scoped.iter().position(|(of, _)| of == scope)?;
        Some(self.scoped.remove(index).1)
    }

    fn find(&mut self, scope: &ConversationId) -> Option<Connection> {
        self.shared.take_if(|connection| connection.is_closed());
        self.scoped
            .retain(|(_, connection)| !connection.is_closed());
        if self.shared.is_some() {
            return self.shared.clone();
        }
        let index = self.scoped.iter().position(|(of, _)| of == scope)?;
        let found = self.scoped.remove(index);
        self.scoped.push(found.clone());
        Some(found.1)
    }
}
