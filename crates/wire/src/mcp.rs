//! MCP servers: connecting, listing, calling, reading. rmcp stays behind this module.
//!
//! A [`Connection`] is one MCP client to one server. It reads the newest token for each request,
//! heals itself when its session is lost, and tells of each call exactly how it ended, above all
//! whether it can have been executed.

mod call;
mod catalog;
mod client;
mod deadline;
mod echo;
mod ending;
mod era;
mod events;
mod inbox;
mod json;
mod legacy;
mod post;
mod read;
mod session;
mod trouble;
mod wire;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chat::{
    event::ServerState,
    failure::{Failure, Layer},
    ids::Subject,
    tool::Catalog,
};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

pub use self::{
    call::{CallContext, CallEvent, CallRequest, RunningCall},
    era::EraMemory,
    read::{ReadError, ReadRequest},
};
use self::{
    echo::Secrets,
    session::Session,
    trouble::{CHECK_SERVER, Kind, Trouble},
};
use crate::http::{Credential, Http, Lane};

/// How long connecting and listing every page may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Changes of a list come in bursts: this long after the first it is read.
const RELIST_DELAY: Duration = Duration::from_millis(200);

/// A server.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// Its name, as Pomerium's routes or the configuration have it.
    pub name: String,
    /// Its URL.
    pub url: Url,
}

/// Where a connection reads what its requests carry.
pub trait CredentialSource: Send + Sync {
    /// For a server behind Pomerium the newest External Token of the session; for one from the
    /// configuration what was configured for it.
    fn credential(&self) -> Credential;

    /// Whom it is for, in records of exchanges.
    fn subject(&self) -> Option<Subject> {
        None
    }
}

/// What [`Connection::connect`] needs.
pub struct ConnectOptions {
    /// Sends the requests.
    pub http: Http,
    /// The server.
    pub server: ServerAddress,
    /// Read for every request.
    pub credentials: Arc<dyn CredentialSource>,
    /// The largest request, bytes: Pomerium's policy does not see into larger ones than the
    /// route's `max_request_bytes`.
    pub max_request_bytes: usize,
    /// How servers were reached before. One for the process.
    pub eras: EraMemory,
    /// Owns the connection's tasks.
    pub tasks: TaskTracker,
    /// Ends them, as [`Connection::close`] does.
    pub shutdown: CancellationToken,
}

/// Why there is no connection.
#[derive(Clone, Debug, Error)]
pub enum ConnectError {
    /// Pomerium does not take the token: a newer one may work.
    #[error("{}", .0.message)]
    StaleToken(Failure),
    /// The user has to connect an account first.
    #[error("{}", .0.message)]
    NeedsConnect(Failure),
    /// Pomerium's policy refuses the user.
    #[error("{}", .0.message)]
    Forbidden(Failure),
    /// It cannot be reached, or what answers is no MCP server.
    #[error("{}", .0.message)]
    Unavailable(Failure),
}

impl ConnectError {
    /// What a person is told.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::StaleToken(failure)
            | Self::NeedsConnect(failure)
            | Self::Forbidden(failure)
            | Self::Unavailable(failure) => failure,
        }
    }

    /// The server's state, seen from here.
    pub fn state(&self) -> ServerState {
        match self {
            Self::NeedsConnect(_) => ServerState::NeedsConnect,
            Self::Forbidden(_) => ServerState::Forbidden,
            Self::StaleToken(_) | Self::Unavailable(_) => ServerState::Unavailable,
        }
    }
}

impl From<Trouble> for ConnectError {
    fn from(Trouble { kind, failure }: Trouble) -> Self {
        match kind {
            Kind::StaleToken => Self::StaleToken(failure),
            Kind::NeedsConnect => Self::NeedsConnect(failure),
            Kind::Denied => Self::Forbidden(failure),
            // Its advice is about a call that may have run.
            Kind::Lost => Self::Unavailable(Failure {
                advice: CHECK_SERVER.to_owned(),
                ..failure
            }),
            Kind::TooLarge
            | Kind::SessionGone
            | Kind::HeaderMismatch
            | Kind::Unreachable
            | Kind::NoEndpoint
            | Kind::Protocol
            | Kind::Limit => Self::Unavailable(failure),
        }
    }
}

/// A connection to one server, with its tools listed. Cheap to clone; the session ends when it is
/// closed or the last clone is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

impl Connection {
    /// Connects and lists the tools, all pages, within 10 s.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let ConnectOptions {
            http,
            server,
            credentials,
            max_request_bytes,
            eras,
            tasks,
            shutdown,
        } = options;
        let lane = http.lane(&server.url);
        let link = Link {
            http,
            lane,
            server,
            credentials,
            secrets: Secrets::default(),
            max_request_bytes,
            tasks,
        };
        let link = Arc::new(link);
        let (session, catalog) = open(&link, &eras).await?;
        let shared = Arc::new(Shared {
            session: Mutex::new(session),
            replacing: tokio::sync::Mutex::default(),
            catalog: watch::Sender::new(Arc::new(catalog)),
            closed: shutdown.child_token(),
            link,
            eras,
        });
        shared.watch();
        Ok(Self(shared))
    }

    /// The newest catalog.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.borrow().clone()
    }

    /// Tells of each newer catalog: the server said that its tools changed, or there is a new
    /// session.
    pub fn catalog_changes(&self) -> watch::Receiver<Arc<Catalog>> {
        self.0.catalog.subscribe()
    }

    /// Whether the server keeps a session for this connection: then conversations must not
    /// share it.
    pub fn has_session(&self) -> bool {
        self.0.session().wire.has_session()
    }

    /// Whether the connection has ended. Calls on one whose session was lost make a new session;
    /// on one that was closed they are refused ([`chat::input::Refusal::SessionGone`]).
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled() || self.0.session().is_closed()
    }

    /// Starts a tool call.
    pub fn call(&self, request: CallRequest) -> RunningCall {
        call::start(&self.0, request)
    }

    /// Reads a resource that a result of the server's links to: the item of MCP's
    /// `ReadResourceResult.contents` that has its URI, else the first, as the server sent it but
    /// for secrets that it was sent. Dropping the future cancels it at the server.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn read(&self, request: ReadRequest) -> Result<Value, ReadError> {
        read::read(&self.0, request).await
    }

    /// Ends the connection: running calls are cancelled at the server and end
    /// [`chat::outcome::Outcome::Unknown`], the session is deleted. At most 5 s.
    pub async fn close(&self) {
        self.0.closed.cancel();
        self.0.session().close().await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.0.link.server)
            .finish_non_exhaustive()
    }
}

/// What all sessions of a connection share.
struct Link {
    http: Http,
    lane: Lane,
    server: ServerAddress,
    credentials: Arc<dyn CredentialSource>,
    /// What the credentials were.
    secrets: Secrets,
    max_request_bytes: usize,
    tasks: TaskTracker,
}

struct Shared {
    link: Arc<Link>,
    eras: EraMemory,
    session: Mutex<Arc<Session>>,
    /// Held while a session is replaced, so that many calls make one new session.
    replacing: tokio::sync::Mutex<()>,
    catalog: watch::Sender<Arc<Catalog>>,
    closed: CancellationToken,
}

/// A new session and the catalog it lists.
async fn open(link: &Arc<Link>, eras: &EraMemory) -> Result<(Arc<Session>, Catalog), Trouble> {
    let opening = async {
        let session = era::establish(link, eras).await?;
        let catalog = session.list().await?;
        Ok((Arc::new(session), catalog))
    };
    tokio::time::timeout(CONNECT_TIMEOUT, opening)
        .await
        .unwrap_or_else(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            let message = format!("no answer within {seconds} s");
            Err(Trouble::new(
                Kind::Lost,
                Failure::new(Layer::Server, message, CHECK_SERVER),
            ))
        })
}

impl Shared {
    fn session(&self) -> Arc<Session> {
        self.session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The session, or a new one if it has ended.
    async fn live_session(self: &Arc<Self>) -> Result<Arc<Session>, Trouble> {
        let session = self.session();
        if session.is_closed() {
            self.replace(&session).await
        } else {
            Ok(session)
        }
    }

    /// Puts a new session in the place of `lost`, once, whoever asks.
    async fn replace(self: &Arc<Self>, lost: &Arc<Session>) -> Result<Arc<Session>, Trouble> {
        let _replacing = self.replacing.lock().await;
        let current = self.session();
        if !Arc::ptr_eq(&current, lost) {
            return Ok(current);
        }
        let (session, catalog) = open(&self.link, &self.eras).await?;
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session.clone();
        self.publish(catalog);
        self.watch();
        Ok(session)
    }

    /// Lists again; a failure leaves the catalog as it is.
    async fn relist(&self, session: &Session) {
        match tokio::time::timeout(CONNECT_TIMEOUT, session.list()).await {
            Ok(Ok(catalog)) => self.publish(catalog),
            Ok(Err(Trouble { failure, .. })) => {
                let server = &self.link.server.name;
                tracing::info!(server, failure = failure.message, "tools not listed again");
            }
            Err(_) => tracing::info!(server = self.link.server.name, "tools not listed in time"),
        }
    }

    fn publish(&self, catalog: Catalog) {
        self.catalog.send_if_modified(|known| {
            let new = known.hash != catalog.hash || known.broken != catalog.broken;
            if new {
                *known = Arc::new(catalog);
            }
            new
        });
    }

    /// Starts the tasks that keep the catalog of the present session new. They hold neither the
    /// session nor the connection.
    fn watch(self: &Arc<Self>) {
        let session = self.session();
        let ended = session.wire.ended.clone();
        let closed = self.closed.clone();
        let changes = session.wire.inbox.list_changed.clone();
        let (shared, listed) = (Arc::downgrade(self), Arc::downgrade(&session));
        let relisting = async move {
            loop {
                changes.notified().await;
                tokio::time::sleep(RELIST_DELAY).await;
                let (Some(shared), Some(session)) = (shared.upgrade(), listed.upgrade()) else {
                    return;
                };
                shared.relist(&session).await;
            }
        };
        let subscribing = session.must_subscribe().then(|| session.subscription());
        let watching = async move {
            let subscribing = async move {
                if let Some(subscription) = subscribing {
                    subscription.keep().await;
                }
            };
            tokio::join!(relisting, subscribing)
        };
        self.link.tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = ended.cancelled() => {}
                ((), ()) = watching => {}
            }
        });
    }
}

#[cfg(test)]
mod tests;
