//! The long-lived handles of the program.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::extract::FromRef;
use chat::{
    failure::Failure,
    ids::{ConversationId, Subject},
};
use store::{OpenError, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use wire::{
    http::{Http, HttpOptions, install_crypto},
    llm::{Endpoint, ModelClient, RoundTimeouts},
    pomerium::Pomerium,
};

use crate::{
    config::Config,
    context::{Context, Settings},
    identity::{Authority, Verifier},
    page,
    servers::{Known, Servers, Setup},
    streams::Streams,
    tokens::{Session, Sessions},
    traffic::Traffic,
    turns::Turns,
};

/// How long running turns have to write down what they have when the program stops.
const PUT_DOWN: Duration = Duration::from_secs(5);

/// How long MCP servers have to be told that their sessions end when the program stops.
const GOODBYES: Duration = Duration::from_secs(2);

/// What ends the program, in this order.
#[derive(Clone, Debug)]
pub struct Stops {
    /// Begins the end: no new turns.
    pub drain: CancellationToken,
    /// Ends the work: no new requests, turns are put down.
    pub work: CancellationToken,
    /// Ends what is on the wire, when every goodbye has been said.
    pub wires: CancellationToken,
}

/// The scope of connections that are made only to look at a server.
const LOOKING: &str = "looking";

/// Everything a handler can need.
pub struct App {
    /// What turns work with.
    pub context: Arc<Context>,
    /// The running turns.
    pub turns: Arc<Turns>,
    /// Says who a caller is.
    pub authority: Authority,
    /// The open event streams.
    pub streams: Streams,
    /// What the pages share.
    pub page: page::Shared,
    /// The origin of the page; of one that stands alone the address it listens on.
    pub public_url: Url,
    /// How long an External Token lives.
    pub token_life: Duration,
}

/// The state of the router.
#[derive(Clone)]
pub struct AppState(pub Arc<App>);

impl FromRef<AppState> for Arc<App> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.0)
    }
}

impl std::ops::Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

/// What could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of root certificates.
    #[error("TOOLGATE_CA_FILE: cannot read {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The way out.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] wire::http::SetupError),
    /// The address of a Toolgate that stands alone.
    #[error("TOOLGATE_LISTEN: {0}")]
    Listen(#[from] url::ParseError),
    /// The database.
    #[error("TOOLGATE_DATABASE_URL: {0}")]
    Store(#[from] OpenError),
    /// The turns that were running when the last process ended.
    #[error("the turns of the last run cannot be read: {0}")]
    Recovery(#[from] store::StoreError),
}

impl App {
    /// Opens the store and sets up the ways out; nothing is asked of anybody yet.
    pub async fn new(
        config: &Config,
        tasks: &TaskTracker,
        stops: &Stops,
    ) -> Result<Self, SetupError> {
        install_crypto();
        let store = Store::open(&config.database_url, tasks).await?;
        let traffic = Traffic::open(config, tasks).await?;
        let http = Http::new(HttpOptions {
            pomerium_addr: config.pomerium_addr.clone(),
            ca_pem: ca_pem(config)?,
            tap: traffic.tap(),
            tasks: tasks.clone(),
            shutdown: stops.wires.clone(),
        })?;
        for server in &config.servers {
            http.name_configured_host(server.url.host_str().unwrap_or_default());
        }
        let public_url = config.public_url.clone();
        let pomerium = public_url.map(|url| Pomerium::new(http.clone(), url));
        let model = ModelClient::new(
            http.clone(),
            Endpoint {
                base_url: config.openai_base_url.clone(),
                api_key: config.openai_api_key.clone(),
            },
            RoundTimeouts {
                first_byte: config.round_first_byte,
                idle: config.round_idle,
            },
        );
        let setup = Setup {
            http,
            max_request_bytes: config.mcp_max_request_bytes,
            tasks: tasks.clone(),
            shutdown: stops.wires.clone(),
        };
        let context = Arc::new(Context {
            store,
            traffic,
            model,
            servers: Arc::new(Servers::new(pomerium.clone(), &config.servers, setup)),
            sessions: match &pomerium {
                Some(_) => Sessions::default(),
                None => Sessions::lasting(),
            },
            settings: Settings::of(config),
            tasks: tasks.clone(),
            draining: stops.drain.clone(),
            shutdown: stops.work.clone(),
        });
        Ok(Self {
            turns: Arc::new(Turns::new(Arc::clone(&context), config.model.clone())),
            context,
            authority: pomerium.map_or(Authority::Local, |pomerium| {
                // Without a host no assertion would verify.
                let host = config.public_host().unwrap_or_default();
                Authority::Pomerium(Box::new(Verifier::new(pomerium, host)))
            }),
            streams: Streams::default(),
            page: page::Shared::new(config.examples.clone()),
            public_url: own_url(config)?,
            token_life: config.token_life,
        })
    }

    /// How long an event stream lives: it ends while its token still works, and the one that comes
    /// in its place brings a new one.
    pub fn stream_life(&self) -> Duration {
        self.token_life * 110 / 300
    }

    /// Whether Toolgate's route in Pomerium seems to cut what takes longer than 30 s, for want of
    /// `timeout: 0s`, as far as this person is to know.
    pub fn route_is_cut(&self, for_whom: &Subject) -> bool {
        self.streams.cuts.route_is_cut(for_whom)
    }

    /// Tries every server of a session's user, for somebody who looks at them.
    pub(crate) async fn try_servers(&self, session: &Arc<Session>) {
        let looking = ConversationId::from(LOOKING);
        self.context.servers.refresh(session, &looking).await;
    }

    /// Looks at one server afresh, for somebody who wants to know; none when there is no such
    /// server.
    pub(crate) async fn look(
        &self,
        session: &Arc<Session>,
        server: &str,
    ) -> Result<Option<Known>, Failure> {
        let looking = ConversationId::from(LOOKING);
        self.context.servers.look(session, server, &looking).await
    }

    /// Has Pomerium forget the user's account at a server; none when there is no such server.
    pub(crate) async fn disconnect(
        &self,
        session: &Arc<Session>,
        server: &str,
    ) -> Result<Option<Known>, Failure> {
        let looking = ConversationId::from(LOOKING);
        let servers = &self.context.servers;
        servers.disconnect(session, server, &looking).await
    }

    /// Takes up the turns that the last process left.
    pub async fn recover(&self) -> Result<(), SetupError> {
        Ok(self.turns.recover().await?)
    }

    /// Closes what nobody uses and removes what has expired, as long as the program runs.
    pub fn keep_house(self: &Arc<Self>) {
        self.turns.purge_expired();
        let traffic = &self.context.traffic;
        traffic.keep_within_limits(&self.context.tasks, self.context.shutdown.clone());
        let app = Arc::clone(self);
        let shutdown = self.context.shutdown.clone();
        self.context.tasks.spawn(async move {
            let mut ticks = tokio::time::interval(app.token_life / 20);
            while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
                app.close_unused().await;
            }
        });
    }

    /// Closes the connections of sessions that went quiet, while their token still works, and
    /// forgets sessions whose token no longer does.
    async fn close_unused(&self) {
        let quiet = self.context.sessions.older_than(self.quiet_after());
        let closing = quiet.iter().map(|session| self.close_if_unused(session));
        futures_util::future::join_all(closing).await;
    }

    async fn close_if_unused(&self, session: &Session) {
        // Looked at again: its owner may have come back since the list was made.
        let quiet = session.age().is_none_or(|age| age > self.quiet_after());
        if !quiet || self.turns.any_of(&session.subject) {
            return;
        }
        self.context.servers.close(session).await;
        if session.age().is_none_or(|age| age > self.token_life) {
            self.context.sessions.forget(session);
        }
        if !self.context.sessions.any_of(&session.subject) {
            self.context.servers.forget(&session.subject);
        }
    }

    /// A session whose newest token is older than this is not being looked at by anybody.
    fn quiet_after(&self) -> Duration {
        self.token_life * 4 / 5
    }

    /// Waits until every turn has written down what it has, and closes the store.
    pub(crate) async fn put_down(&self) {
        if tokio::time::timeout(PUT_DOWN, self.turns.put_down())
            .await
            .is_err()
        {
            tracing::warn!("a turn was not put down in time; the next start recovers it as it is");
        }
        if tokio::time::timeout(GOODBYES, self.context.servers.close_all())
            .await
            .is_err()
        {
            tracing::warn!("not every MCP session was closed; their servers will forget them");
        }
        self.context.store.close().await;
        self.context.traffic.close().await;
    }
}

/// The public URL; of a Toolgate that stands alone the address it listens on.
fn own_url(config: &Config) -> Result<Url, SetupError> {
    match &config.public_url {
        Some(url) => Ok(url.clone()),
        None => Ok(format!("http://{}", config.listen).parse()?),
    }
}

fn ca_pem(config: &Config) -> Result<Option<Vec<u8>>, SetupError> {
    let Some(path) = &config.ca_file else {
        return Ok(None);
    };
    let read = std::fs::read(path);
    read.map(Some).map_err(|source| SetupError::CaFile {
        path: path.clone(),
        source,
    })
}
