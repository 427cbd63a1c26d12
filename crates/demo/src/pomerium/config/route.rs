//! One route of the configuration.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::Value;
use url::{Host, Url};

use super::{ConfigError, Defaults, Table};
use crate::pomerium::policy::{self, Policy};

/// Bytes of a request's body that Pomerium's tool policy sees when the route does not say
/// (`max_request_bytes`, 4 KiB).
const DEFAULT_MAX_REQUEST_BYTES: usize = 4 * 1024;

/// How long a stream may be silent when its route does not say: Envoy's own default.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// One route.
#[derive(Debug)]
pub(in crate::pomerium) struct Route {
    /// `from`: the origin that browsers know, without a path.
    pub(in crate::pomerium) from: Url,
    /// The host of `from`, lower case, without its port.
    pub(in crate::pomerium) host: String,
    /// `to`; its path, if any, is put in place of the leading `/` of each request. Only plain HTTP
    /// is ever reached.
    pub(in crate::pomerium) to: Url,
    /// `name`, empty when absent.
    pub(in crate::pomerium) name: String,
    /// `description`, empty when absent.
    pub(in crate::pomerium) description: String,
    /// `logo_url`, empty when absent.
    pub(in crate::pomerium) logo_url: String,
    /// What the route is to MCP.
    pub(in crate::pomerium) kind: Kind,
    /// `pass_identity_headers`.
    pub(in crate::pomerium) identity: Identity,
    /// `preserve_host_header`.
    pub(in crate::pomerium) upstream_host: UpstreamHost,
    /// `timeout` and `idle_timeout`.
    pub(in crate::pomerium) cuts: Cuts,
    /// `policy`; absent means that nobody may pass.
    pub(in crate::pomerium) policy: Policy,
    /// Requests that came for the route itself, refused ones too.
    pub(in crate::pomerium) requests: AtomicU64,
}

/// What a route is to MCP (`mcp`).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pomerium) enum Kind {
    /// No `mcp` key: a plain route.
    Plain,
    /// `mcp: {client: {}}`: its upstream gets a TE with every request.
    Client,
    /// `mcp: {server: …}`: reached with a TE.
    Server(Box<McpServer>),
}

/// An MCP server (`mcp.server`).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pomerium) struct McpServer {
    /// `path`, appended to the URL that clients are shown.
    pub(in crate::pomerium) path: String,
    /// `max_request_bytes`: the largest body that policy sees. A larger one passes unseen.
    pub(in crate::pomerium) max_request_bytes: usize,
    /// `upstream_oauth2`: how people let Pomerium act for them at the upstream.
    pub(in crate::pomerium) oauth: Option<UpstreamOAuth>,
}

/// Pomerium as an OAuth client of the upstream (`upstream_oauth2`).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pomerium) struct UpstreamOAuth {
    /// `client_id`.
    pub(in crate::pomerium) client_id: String,
    /// `client_secret`, empty when absent.
    pub(in crate::pomerium) client_secret: String,
    /// `scopes`.
    pub(in crate::pomerium) scopes: Vec<String>,
    /// `authorization_url_params`: more parameters for the authorization endpoint.
    pub(in crate::pomerium) authorization_params: Vec<(String, String)>,
    /// `endpoint`; `None` leaves it to discovery.
    pub(in crate::pomerium) endpoint: Option<Endpoint>,
}

/// Where an authorization server is, without discovery.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pomerium) struct Endpoint {
    /// `auth_url`: where people consent.
    pub(in crate::pomerium) auth_url: Url,
    /// `token_url`.
    pub(in crate::pomerium) token_url: Url,
}

/// Whether the upstream is told who asks (`pass_identity_headers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pomerium) enum Identity {
    /// A signed assertion with each request.
    Passed,
    /// Nothing; a client's own assertion is removed too.
    Withheld,
}

/// Which `Host` the upstream sees (`preserve_host_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pomerium) enum UpstreamHost {
    /// The one the client asked for.
    Preserved,
    /// The one of `to`.
    OfUpstream,
}

/// When a response is cut off; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pomerium) struct Cuts {
    /// `timeout`: from the end of the request to the end of the response.
    pub(in crate::pomerium) total: Option<Duration>,
    /// `idle_timeout`: without a byte in either direction.
    pub(in crate::pomerium) idle: Option<Duration>,
}

impl Route {
    pub(super) fn read(
        index: usize,
        value: &Value,
        defaults: Defaults,
    ) -> Result<Self, ConfigError> {
        let named = value.get("from").and_then(Value::as_str);
        let at = match named {
            Some(from) => format!("routes[{index}] ({from})"),
            None => format!("routes[{index}]"),
        };
        let table = Table::of(&at, value)?;
        table.only(&[
            "from",
            "to",
            "name",
            "description",
            "logo_url",
            "mcp",
            "pass_identity_headers",
            "preserve_host_header",
            "timeout",
            "idle_timeout",
            "policy",
        ])?;
        let kind = read_kind(&table)?;
        let from = table.origin("from")?;
        let host = host_of(&from)
            .ok_or_else(|| ConfigError::new(&at, "`from` must be a URL with a host"))?;
        let preserved = table.flag("preserve_host_header")?.unwrap_or_default();
        Ok(Self {
            host,
            from,
            to: table.upstream("to")?,
            name: table.text("name")?.unwrap_or_default().to_owned(),
            description: table.text("description")?.unwrap_or_default().to_owned(),
            logo_url: table.text("logo_url")?.unwrap_or_default().to_owned(),
            cuts: Cuts::read(&table, &kind, defaults)?,
            kind,
            identity: Identity::read(&table)?.unwrap_or(defaults.identity),
            upstream_host: if preserved {
                UpstreamHost::Preserved
            } else {
                UpstreamHost::OfUpstream
            },
            policy: match table.value("policy") {
                Some((at, value)) => policy::read(&at, value)?,
                None => Policy::default(),
            },
            requests: AtomicU64::new(0),
        })
    }

    /// What the route says about its MCP server, if it has one.
    pub(in crate::pomerium) const fn server(&self) -> Option<&McpServer> {
        match &self.kind {
            Kind::Plain | Kind::Client => None,
            Kind::Server(server) => Some(server),
        }
    }

    /// The URL that MCP clients are shown: `from` with its port, and the server's path unless
    /// that is `/`. Never with a trailing slash.
    pub(in crate::pomerium) fn server_url(&self) -> Option<String> {
        let path = self.server()?.path.trim_matches('/');
        let origin = self.from.as_str().trim_end_matches('/');
        Some(if path.is_empty() {
            origin.to_owned()
        } else {
            format!("{origin}/{path}")
        })
    }
}

impl Identity {
    /// What a route says, or all of them together; `None` if nothing.
    pub(super) fn read(table: &Table<'_>) -> Result<Option<Self>, ConfigError> {
        let passed = table.flag("pass_identity_headers")?;
        Ok(passed.map(|passed| if passed { Self::Passed } else { Self::Withheld }))
    }
}

impl Cuts {
    /// MCP servers stream for as long as they like unless their route says otherwise
    /// (`shouldDisableStreamIdleTimeout` of Pomerium 0.33).
    fn read(route: &Table<'_>, kind: &Kind, defaults: Defaults) -> Result<Self, ConfigError> {
        let default = match kind {
            Kind::Plain | Kind::Client => Self {
                total: defaults.timeout,
                idle: Some(DEFAULT_IDLE_TIMEOUT),
            },
            Kind::Server(_) => Self {
                total: None,
                idle: None,
            },
        };
        Ok(Self {
            total: route.duration("timeout")?.unwrap_or(default.total),
            idle: route.duration("idle_timeout")?.unwrap_or(default.idle),
        })
    }
}

fn read_kind(route: &Table<'_>) -> Result<Kind, ConfigError> {
    let Some(mcp) = route.table("mcp")? else {
        return Ok(Kind::Plain);
    };
    mcp.only(&["client", "server"])?;
    let (role, at, value) = mcp.single("role, `client` or `server`")?;
    let table = Table::of(&at, value)?;
    if role == "client" {
        table.only(&[])?;
        return Ok(Kind::Client);
    }
    table.only(&["path", "max_request_bytes", "upstream_oauth2"])?;
    let oauth = table.table("upstream_oauth2")?;
    Ok(Kind::Server(Box::new(McpServer {
        path: table.text("path")?.unwrap_or("/").to_owned(),
        max_request_bytes: match table.number("max_request_bytes")? {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => DEFAULT_MAX_REQUEST_BYTES,
        },
        oauth: oauth.map(|oauth| read_oauth(&oauth)).transpose()?,
    })))
}

fn read_oauth(table: &Table<'_>) -> Result<UpstreamOAuth, ConfigError> {
    table.only(&[
        "client_id",
        "client_secret",
        "scopes",
        "authorization_url_params",
        "endpoint",
    ])?;
    let endpoint = table.table("endpoint")?;
    Ok(UpstreamOAuth {
        client_id: table.text("client_id")?.unwrap_or_default().to_owned(),
        client_secret: table.text("client_secret")?.unwrap_or_default().to_owned(),
        scopes: table.texts("scopes")?.unwrap_or_default(),
        authorization_params: match table.table("authorization_url_params")? {
            Some(params) => params.all_texts()?,
            None => Vec::new(),
        },
        endpoint: endpoint.map(|table| read_endpoint(&table)).transpose()?,
    })
}

/// `auth_style` is read by Pomerium and of no consequence: the client's secret is always in the
/// form.
fn read_endpoint(table: &Table<'_>) -> Result<Endpoint, ConfigError> {
    table.only(&["auth_url", "token_url", "auth_style"])?;
    Ok(Endpoint {
        auth_url: table.endpoint("auth_url")?,
        token_url: table.endpoint("token_url")?,
    })
}

/// The host of a URL as it is compared: lower case, without port or brackets.
pub(in crate::pomerium) fn host_of(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_lowercase()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}
