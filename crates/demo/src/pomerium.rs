//! A stand-in for Pomerium, so that Toolgate can be shown and tested without one.
//!
//! It answers as Pomerium does, unpleasant parts included: the sign-in redirects, the session
//! cookie, programs' tokens, the identity assertion and its key set, External Tokens (TEs) that
//! expire, the list of MCP servers, accounts at upstreams that have to be connected, routes with
//! policy and the bodies that escape it, answers that are cut off after 30 seconds, the audit log,
//! and the errors of its proxy. Toolgate cannot tell the difference. It is no security product: two
//! people sign in without a password.
//!
//! Known differences:
//!
//! - `redirect_url` of `/connect` may be plain HTTP on a name under `localhost`, unless
//!   [`RedirectUrls::HttpsOnly`] is chosen; links lead to the scheme of the route's `from`.
//! - Upstreams and token endpoints over TLS are read from the configuration and never reached.
//! - An authorization server is never discovered: a route needs `client_id` and `endpoint` to be
//!   connected, as one in plain HTTP does with Pomerium.
//! - It is no authorization server for MCP clients: no OAuth metadata, no registration, no answer
//!   to preflights.
//! - Tokens of identity providers (`bearer_token_format`) are none here, and Pomerium's own pages
//!   about sessions and devices are missing.
//! - Everything is kept in memory: a restart ends sessions and disconnects accounts.

mod config;
mod policy;

mod audit;
mod gate;
mod json_rpc;
mod own_paths;
mod paths;
mod upstream;

mod connect;
mod credentials;
mod cuts;
mod programs;
mod sign_in;
mod token_endpoint;
mod upstream_auth;
mod upstream_tokens;

mod accept;
mod answer;
mod page;

mod assertion;
mod sessions;
mod vault;

mod authority;
mod listen;

pub use audit::AuditSink;
pub use config::ConfigError;
pub use sessions::DemoUser;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use assertion::Signer;
use audit::Audit;
use authority::Authority;
use config::Config;
use gate::{Gate, TeTerms};
use listen::{Door, Tracked};
use sessions::Sessions;
use upstream::Upstream;
use upstream_tokens::{Holder, UpstreamToken, UpstreamTokens};
use vault::Vault;

/// What a stand-in serves, and how long its tokens live.
#[derive(Debug, Clone)]
pub struct Options {
    /// Routes in the schema of Pomerium's `config.yaml`, with `authenticate_service_url`.
    pub config: String,
    /// How long a TE lives. Pomerium: 5 minutes, not settable.
    pub te_lifetime: Duration,
    /// What a TE starts with: nothing up to Pomerium 0.33, `pom_mat_` after it.
    pub te_prefix: String,
    /// How long a session lives (`cookie_expire`). Pomerium: 14 hours.
    pub session_lifetime: Duration,
    /// How long somebody may take to consent at an upstream's authorization server. Pomerium: 5
    /// minutes, not settable.
    pub consent_lifetime: Duration,
    /// Where `/connect` may send the browser back to.
    pub redirect_urls: RedirectUrls,
    /// Where audit lines go; `None` makes none.
    pub audit: Option<AuditSink>,
}

/// Where `/.pomerium/mcp/connect` may send the browser back to, by its `redirect_url`: always to
/// the host itself or that of a client route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectUrls {
    /// Over `https` only, as Pomerium has it.
    HttpsOnly,
    /// Over `http` too, where the host is a name under `localhost`: what a demonstration without
    /// certificates in the browser needs.
    HttpOnLocalhost,
}

impl Default for Options {
    /// No routes, no audit lines, the lifetimes of Pomerium, and `redirect_url`s on localhost.
    fn default() -> Self {
        Self {
            config: String::new(),
            te_lifetime: Duration::from_mins(5),
            te_prefix: String::new(),
            session_lifetime: Duration::from_hours(14),
            consent_lifetime: Duration::from_mins(5),
            redirect_urls: RedirectUrls::HttpOnLocalhost,
            audit: None,
        }
    }
}

/// The two sockets a stand-in listens on.
#[derive(Debug)]
pub struct Listeners {
    /// HTTP/1.1, for browsers.
    pub http: TcpListener,
    /// TLS with HTTP/2 or HTTP/1.1 under the stand-in's own authority.
    pub tls: TcpListener,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Standin {
    gate: Arc<Gate>,
    ca_pem: Arc<str>,
    http_addr: SocketAddr,
    tls_addr: SocketAddr,
}

/// Somebody signed in, without a browser.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The value of the `Cookie` header that stands for the session, on any host.
    pub cookie: String,
    /// The assertion's `sid`.
    pub sid: Uuid,
}

/// Why a stand-in did not start, or failed at something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The routes are not to be served as they stand.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener has no address.
    #[error("a listener has no address")]
    Listener(#[from] std::io::Error),
    /// A certificate or a key was not made.
    #[error("a certificate or a key was not made")]
    Certificate(#[from] rcgen::Error),
    /// The TLS configuration was refused.
    #[error("the TLS configuration was refused")]
    Tls(#[from] rustls::Error),
    /// A new signing key has no readable public part.
    #[error("the signing key is not on P-256")]
    SigningKey,
    /// An assertion was not signed.
    #[error("an assertion was not signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// A token was not sealed.
    #[error("a token was not sealed")]
    Seal(#[from] aws_lc_rs::error::Unspecified),
    /// JSON was not written.
    #[error("JSON was not written")]
    Json(#[from] serde_json::Error),
    /// A request's body broke off.
    #[error("a request's body broke off")]
    Body(#[from] hyper::Error),
    /// A request for an upstream was not to be built.
    #[error("a request for an upstream was not to be built")]
    Request(#[from] http::Error),
    /// A header for an upstream was not to be built.
    #[error("a header for an upstream was not to be built")]
    Header(#[from] http::header::InvalidHeaderValue),
    /// There is no such session, or it has ended.
    #[error("there is no session {0}")]
    NoSession(Uuid),
}

impl Standin {
    /// Starts serving. Everything runs on `tracker` and ends when `shutdown` is cancelled, open
    /// streams included.
    pub fn start(
        options: Options,
        listeners: Listeners,
        tracker: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        let config = Config::read(&options.config)?;
        let audit = Audit::new(config.audit_fields.clone(), options.audit);
        let authority = Authority::new(config.hosts())?;
        let tasks = Tracked {
            tracker: tracker.clone(),
            shutdown: shutdown.clone(),
        };
        let gate = Arc::new(Gate {
            config,
            sessions: Sessions::new(options.session_lifetime),
            vault: Vault::generate()?,
            signer: Signer::generate()?,
            tes: TeTerms::new(options.te_prefix, options.te_lifetime),
            upstream: Upstream::new(tasks.clone()),
            upstream_tokens: UpstreamTokens::new(options.consent_lifetime),
            redirect_urls: options.redirect_urls,
            audit,
        });
        let standin = Self {
            gate: Arc::clone(&gate),
            ca_pem: authority.root_pem.into(),
            http_addr: listeners.http.local_addr()?,
            tls_addr: listeners.tls.local_addr()?,
        };
        listen::serve(&gate, &tasks, listeners.http, Door::Plain);
        listen::serve(&gate, &tasks, listeners.tls, Door::Tls(authority.acceptor));
        Ok(standin)
    }

    /// The root certificate that TLS clients must trust, PEM (`TOOLGATE_CA_FILE`).
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where browsers connect.
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where Toolgate connects (`TOOLGATE_POMERIUM_ADDR`).
    pub const fn tls_addr(&self) -> SocketAddr {
        self.tls_addr
    }

    /// Signs somebody in, without a browser.
    pub fn sign_in(&self, user: DemoUser) -> Result<SignedIn, Error> {
        let session = self.gate.sessions.begin(user, SystemTime::now());
        Ok(SignedIn {
            cookie: self.gate.cookie(&session)?,
            sid: session.sid,
        })
    }

    /// A program's token of a session, as the programmatic login of `host` gives it: bare, to be
    /// sent as `Authorization: Bearer Pomerium-<token>`.
    pub fn programmatic_token(&self, sid: Uuid, host: &str) -> Result<String, Error> {
        self.gate.program_token(&self.session(sid)?, host)
    }

    /// Connects somebody's account at the upstream of `host`, as consenting does, with this token
    /// and without an end.
    pub fn connect_upstream(&self, user: DemoUser, host: &str, access_token: &str) {
        let token = UpstreamToken {
            access: access_token.to_owned(),
            refresh: None,
            ends: None,
        };
        self.gate.upstream_tokens.put(holder(user, host), token);
    }

    /// Forgets somebody's token for the upstream of `host`, as disconnecting does.
    pub fn disconnect_upstream(&self, user: DemoUser, host: &str) {
        self.gate.upstream_tokens.remove(&holder(user, host));
    }

    /// Whether there is a token of somebody's for the upstream of `host`.
    pub fn is_connected(&self, user: DemoUser, host: &str) -> bool {
        let token = self.gate.upstream_tokens.find(&holder(user, host));
        token.is_some()
    }

    /// Ends a session, as signing out does: its cookies, its TEs and its programs' tokens are
    /// refused from now on. Upstream tokens are the person's and stay.
    pub fn end_session(&self, sid: Uuid) {
        self.gate.sessions.end(sid);
    }

    /// A TE as the upstream of a client route would get it.
    pub fn issue_te(&self, sid: Uuid) -> Result<String, Error> {
        self.gate.issue_te(&self.session(sid)?)
    }

    /// Makes every TE that the session was issued so far stale; newer ones and cookies are good.
    pub fn recall_tes(&self, sid: Uuid) {
        self.gate.sessions.recall_tes(sid);
    }

    /// Changes how long TEs live that are issued from now on.
    pub fn set_te_lifetime(&self, lifetime: Duration) {
        self.gate.tes.set_lifetime(lifetime);
    }

    /// Counts every TE as stale for calls of this tool on this host from now on, whatever else it
    /// is good for: a fault that a real Pomerium shows when its clock is wrong.
    pub fn refuse_tes(&self, host: &str, tool: &str) {
        self.gate.tes.refuse(host, tool);
    }

    /// Signs assertions with a new key from now on; the key set holds only that.
    pub fn rotate_key(&self) -> Result<(), Error> {
        self.gate.signer.rotate()
    }

    /// An assertion for `host` as a route would send it.
    pub fn assertion(&self, sid: Uuid, host: &str) -> Result<String, Error> {
        let session = self.session(sid)?;
        self.gate.signer.assert(Some(&session), host)
    }

    /// An assertion that names the published key and was signed with another one.
    pub fn forged_assertion(&self, sid: Uuid, host: &str) -> Result<String, Error> {
        self.gate.signer.forge(&self.session(sid)?, host)
    }

    /// Requests so far for the route of `host`, refused ones included, Pomerium's own paths not.
    pub fn requests(&self, host: &str) -> u64 {
        let mut routes = self.gate.config.routes.iter();
        routes
            .find(|route| route.host == host)
            .map_or(0, |route| route.requests.load(Ordering::Relaxed))
    }

    fn session(&self, sid: Uuid) -> Result<sessions::Session, Error> {
        let session = self.gate.sessions.find(sid, SystemTime::now());
        session.ok_or(Error::NoSession(sid))
    }
}

fn holder(user: DemoUser, host: &str) -> Holder {
    let host = host.to_owned();
    Holder { user, host }
}

#[cfg(test)]
mod tests;
