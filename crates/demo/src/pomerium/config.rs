//! The routes, read from a file in the schema of Pomerium's own `config.yaml`.
//!
//! Only what the stand-in acts on is read. Any other key is refused by name with its place in the
//! file, so that nobody believes a setting to be in force that is not.

mod table;

pub use table::ConfigError;
pub(super) use table::Table;

use std::sync::atomic::AtomicU64;

use serde_json::Value;
use url::{Host, Url};

use super::policy::{self, Policy};

/// Bytes of a request's body that Pomerium's tool policy sees when the route does not say
/// (`max_request_bytes`, 4 KiB).
const DEFAULT_MAX_REQUEST_BYTES: usize = 4 * 1024;

/// What the stand-in serves.
#[derive(Debug)]
pub(super) struct Config {
    /// `authenticate_service_url`: where people sign in.
    pub(super) authenticate: Url,
    /// In the order of the file, each with a host of its own.
    pub(super) routes: Vec<Route>,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    /// `from`: the origin that browsers know, without a path.
    pub(super) from: Url,
    /// The host of `from`, lower case, without its port.
    pub(super) host: String,
    /// `to`: plain HTTP; its path, if any, is put in place of the leading `/` of each request.
    pub(super) to: Url,
    /// `name`, empty when absent.
    pub(super) name: String,
    /// `description`, empty when absent.
    pub(super) description: String,
    /// `logo_url`, empty when absent.
    pub(super) logo_url: String,
    /// What the route is to MCP.
    pub(super) kind: Kind,
    /// `pass_identity_headers`.
    pub(super) identity: Identity,
    /// `preserve_host_header`.
    pub(super) upstream_host: UpstreamHost,
    /// `policy`; absent means that nobody may pass.
    pub(super) policy: Policy,
    /// Requests that came for the route itself, refused ones too.
    pub(super) requests: AtomicU64,
}

/// What a route is to MCP (`mcp`).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No `mcp` key: a plain route.
    Plain,
    /// `mcp: {client: {}}`: its upstream gets a TE with every request.
    Client,
    /// `mcp: {server: …}`: reached with a TE.
    Server {
        /// `path`, appended to the URL that clients are shown.
        path: String,
        /// `max_request_bytes`: the largest body that policy sees. A larger one passes unseen.
        max_request_bytes: usize,
    },
}

/// Whether the upstream is told who asks (`pass_identity_headers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// A signed assertion with each request.
    Passed,
    /// Nothing; a client's own assertion is removed too.
    Withheld,
}

/// Which `Host` the upstream sees (`preserve_host_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamHost {
    /// The one the client asked for.
    Preserved,
    /// The one of `to`.
    OfUpstream,
}

impl Config {
    /// Reads a configuration.
    pub(super) fn read(yaml: &str) -> Result<Self, ConfigError> {
        let document: Value = serde_saphyr::from_str(yaml)
            .map_err(|error| ConfigError::new("configuration", first_line(&error.to_string())))?;
        let top = Table::of("configuration", &document)?;
        top.only(&["authenticate_service_url", "routes"])?;
        let authenticate = top.origin("authenticate_service_url")?;
        let mut routes: Vec<Route> = Vec::new();
        for (index, value) in top.list("routes")?.iter().enumerate() {
            let route = Route::read(index, value)?;
            if host_of(&authenticate).is_some_and(|host| host == route.host)
                || routes.iter().any(|other| other.host == route.host)
            {
                let told = format!("host {} is taken already; one route each", route.host);
                return Err(ConfigError::new(&format!("routes[{index}].from"), &told));
            }
            routes.push(route);
        }
        Ok(Self {
            authenticate,
            routes,
        })
    }

    /// Every name that a certificate for this configuration must cover.
    pub(super) fn hosts(&self) -> Vec<String> {
        host_of(&self.authenticate)
            .into_iter()
            .chain(self.routes.iter().map(|route| route.host.clone()))
            .collect()
    }
}

impl Route {
    fn read(index: usize, value: &Value) -> Result<Self, ConfigError> {
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
        for key in ["timeout", "idle_timeout"] {
            table.duration(key)?;
        }
        let from = table.origin("from")?;
        let host = host_of(&from)
            .ok_or_else(|| ConfigError::new(&at, "`from` must be a URL with a host"))?;
        Ok(Self {
            host,
            from,
            to: table.upstream("to")?,
            name: table.text("name")?.unwrap_or_default().to_owned(),
            description: table.text("description")?.unwrap_or_default().to_owned(),
            logo_url: table.text("logo_url")?.unwrap_or_default().to_owned(),
            kind: read_kind(&table)?,
            identity: if table.flag("pass_identity_headers")? {
                Identity::Passed
            } else {
                Identity::Withheld
            },
            upstream_host: if table.flag("preserve_host_header")? {
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

    /// The URL that MCP clients are shown: `from` with its port, and the server's path unless
    /// that is `/`. Never with a trailing slash.
    pub(super) fn server_url(&self) -> Option<String> {
        let Kind::Server { path, .. } = &self.kind else {
            return None;
        };
        let origin = self.from.as_str().trim_end_matches('/');
        let path = path.trim_matches('/');
        Some(if path.is_empty() {
            origin.to_owned()
        } else {
            format!("{origin}/{path}")
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
    table.only(&["path", "max_request_bytes"])?;
    Ok(Kind::Server {
        path: table.text("path")?.unwrap_or("/").to_owned(),
        max_request_bytes: match table.number("max_request_bytes")? {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => DEFAULT_MAX_REQUEST_BYTES,
        },
    })
}

/// The host of a URL as it is compared: lower case, without port or brackets.
pub(super) fn host_of(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_lowercase()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

/// The parser's message without its excerpt of the file.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

#[cfg(test)]
mod tests;
