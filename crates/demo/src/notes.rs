//! Notes: a small MCP server that belongs to somebody else. It has accounts and an OAuth 2.1
//! authorization server of its own, so it wants to be connected before its tools can be called.
//!
//! What it is for: a Pomerium route with `upstream_oauth2`. Its tools can be listed by anybody and
//! called only with an access token, so that a call is the first to meet a missing connection; or,
//! as [`Listing::Closed`], not even that.
//!
//! One port has it all: `/mcp` (streamable HTTP, without sessions), `/authorize` and `/token`
//! (RFC 6749 with PKCE, RFC 7636) and the metadata of RFC 9728 and RFC 8414. Everything is kept in
//! memory. It checks no password: whoever consents chooses whose notes they are.

mod attachments;
mod authorization;
mod bearer;
mod expiring;
mod ledger;
mod tools;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router, middleware,
    routing::{get, post},
    serve::ListenerExt as _,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::expiring::random_name as random_secret;
pub use self::ledger::Account;
use self::ledger::Ledger;

/// Where MCP is spoken.
pub const MCP_PATH: &str = "/mcp";

/// The one scope there is.
pub const SCOPE: &str = "notes";

/// How the server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who may see which tools there are.
    pub listing: Listing,
    /// How long an access token is good for. A refresh token gets another one.
    pub access_token_life: Duration,
}

/// Who may see which tools there are; calls always want a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Anybody: `initialize` and `tools/list` are answered without a token.
    Open,
    /// Whoever may call them: without a token everything is answered 401.
    Closed,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listing: Listing::Open,
            access_token_life: Duration::from_hours(1),
        }
    }
}

/// The one OAuth client that is registered.
#[derive(Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`, sent in the form.
    pub secret: String,
    /// The `redirect_uri`, exactly.
    pub redirect_uri: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// A running server; clones are handles to the same one.
#[derive(Clone)]
pub struct Notes {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    client: Client,
    address: SocketAddr,
    ledger: Mutex<Ledger>,
}

impl Notes {
    /// Starts serving on `listener`, with its tasks on `tracker`, until `shutdown`.
    ///
    /// Fails when the listener's address cannot be read.
    pub fn start(
        options: Options,
        client: Client,
        listener: TcpListener,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            options,
            client,
            address: listener.local_addr()?,
            ledger: Mutex::default(),
        });
        let app = router(&shared, &shutdown);
        let listener = listener.tap_io(|stream| {
            // Without it, small answers would wait for an acknowledgement.
            stream.set_nodelay(true).ok();
        });
        let serving = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned());
        tracker.spawn(async move {
            if let Err(error) = serving.await {
                tracing::warn!(%error, "Notes ended");
            }
        });
        Ok(Self { shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The client that is registered.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// What is written in an account, the oldest first.
    pub fn notes_of(&self, account: Account) -> Vec<String> {
        self.shared.ledger().notes(account).to_vec()
    }

    /// Makes every token worthless that was issued so far, refresh tokens included.
    pub fn revoke_all(&self) {
        self.shared.ledger().revoke_all();
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes")
            .field("options", &self.shared.options)
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic while the lock was held leaves a ledger that is still whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A URL of this server.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn router(shared: &Arc<Shared>, shutdown: &CancellationToken) -> Router {
    let mcp = Router::new()
        .route_service(MCP_PATH, tools::service(shared, shutdown))
        .layer(middleware::from_fn_with_state(
            Arc::clone(shared),
            bearer::admit,
        ));
    let login = Router::new()
        .route(
            "/authorize",
            get(authorization::ask).post(authorization::decide),
        )
        .route("/token", post(authorization::token))
        .route(bearer::METADATA_PATH, get(bearer::metadata))
        .route(
            "/.well-known/oauth-authorization-server",
            get(authorization::metadata),
        )
        .with_state(Arc::clone(shared));
    mcp.merge(login)
}

#[cfg(test)]
mod tests;
