//! The routes, read from a file in the schema of Pomerium's own `config.yaml`.
//!
//! What the stand-in acts on is read. What only a real Pomerium needs (certificates, the identity
//! provider, its database) is passed over by name. Any other key is refused by name with its place
//! in the file, so that nobody believes a setting to be in force that is not.

mod route;
mod table;

pub(super) use route::{
    Cuts, Endpoint, Identity, Kind, Route, UpstreamHost, UpstreamOAuth, host_of,
};
pub use table::ConfigError;
pub(super) use table::Table;

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::audit::AuditField;

/// How long a response may take when its route does not say (`default_upstream_timeout`).
const DEFAULT_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// Keys that the stand-in acts on.
const KNOWN: [&str; 7] = [
    "authenticate_service_url",
    "authorize_log_fields",
    "default_upstream_timeout",
    "pass_identity_headers",
    "programmatic_redirect_domain_whitelist",
    "routes",
    "runtime_flags",
];

/// Keys that only a real Pomerium needs: where it listens, whom it asks who people are, what it
/// keeps and where, what it logs beside the audit lines, and what it fetches as an OAuth party.
const FOR_POMERIUM: [&str; 49] = [
    "access_log_fields",
    "address",
    "autocert",
    "autocert_ca",
    "autocert_dir",
    "autocert_eab_key_id",
    "autocert_eab_mac_key",
    "autocert_email",
    "autocert_must_staple",
    "autocert_trusted_ca",
    "autocert_trusted_ca_file",
    "autocert_use_staging",
    "certificate",
    "certificate_authority",
    "certificate_authority_file",
    "certificate_file",
    "certificate_key",
    "certificate_key_file",
    "certificates",
    "codec_type",
    "cookie_secret",
    "cookie_secret_file",
    "databroker_service_url",
    "databroker_storage_connection_string",
    "databroker_storage_connection_string_file",
    "databroker_storage_type",
    "dns_lookup_family",
    "envoy_admin_address",
    "grpc_address",
    "http_redirect_addr",
    "idp_client_id",
    "idp_client_id_file",
    "idp_client_secret",
    "idp_client_secret_file",
    "idp_provider",
    "idp_provider_url",
    "idp_refresh_directory_interval",
    "idp_request_params",
    "idp_scopes",
    "installation_id",
    "log_level",
    "mcp_allowed_as_metadata_domains",
    "mcp_allowed_client_id_domains",
    "metrics_address",
    "proxy_log_level",
    "services",
    "shared_secret",
    "shared_secret_file",
    "signing_key",
];

/// Hosts that a program may have its token sent to (`programmatic_redirect_domain_whitelist`).
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the stand-in serves.
#[derive(Debug)]
pub(super) struct Config {
    /// `authenticate_service_url`: where people sign in.
    pub(super) authenticate: Url,
    /// `authorize_log_fields`: what an audit line says, in this order.
    pub(super) audit_fields: Vec<AuditField>,
    /// `programmatic_redirect_domain_whitelist`: hosts that get a program's token.
    pub(super) programmatic_hosts: Vec<String>,
    /// In the order of the file, each with a host of its own.
    pub(super) routes: Vec<Route>,
}

/// What holds for every route that does not say otherwise.
#[derive(Debug, Clone, Copy)]
struct Defaults {
    /// `pass_identity_headers`.
    identity: Identity,
    /// `default_upstream_timeout`; `None` is without end.
    timeout: Option<Duration>,
}

impl Config {
    /// Reads a configuration.
    pub(super) fn read(yaml: &str) -> Result<Self, ConfigError> {
        let document: Value = serde_saphyr::from_str(yaml)
            .map_err(|error| ConfigError::new("configuration", first_line(&error.to_string())))?;
        let top = Table::of("configuration", &document)?;
        top.only_beside(&KNOWN, &FOR_POMERIUM)?;
        check_runtime_flags(&top)?;
        let authenticate = top.origin("authenticate_service_url")?;
        let defaults = Defaults::read(&top)?;
        let mut routes: Vec<Route> = Vec::new();
        for (index, value) in top.list("routes")?.iter().enumerate() {
            let route = Route::read(index, value, defaults)?;
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
            audit_fields: read_audit_fields(&top)?,
            programmatic_hosts: top
                .texts("programmatic_redirect_domain_whitelist")?
                .unwrap_or_else(|| LOOPBACK_NAMES.map(str::to_owned).to_vec()),
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

impl Defaults {
    fn read(top: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            identity: Identity::read(top)?.unwrap_or(Identity::Withheld),
            timeout: top
                .duration("default_upstream_timeout")?
                .unwrap_or(Some(DEFAULT_UPSTREAM_TIMEOUT)),
        })
    }
}

/// The stand-in is a Pomerium with `mcp` on and dynamic client registration off.
fn check_runtime_flags(top: &Table<'_>) -> Result<(), ConfigError> {
    let Some(flags) = top.table("runtime_flags")? else {
        return Ok(());
    };
    flags.only(&["mcp", "mcp_dynamic_client_registration"])?;
    for (flag, is) in [("mcp", true), ("mcp_dynamic_client_registration", false)] {
        if flags.flag(flag)?.is_some_and(|set| set != is) {
            let told = format!("`{flag}` is always {is} in the stand-in");
            return Err(ConfigError::new("configuration.runtime_flags", &told));
        }
    }
    Ok(())
}

fn read_audit_fields(top: &Table<'_>) -> Result<Vec<AuditField>, ConfigError> {
    let Some(names) = top.texts("authorize_log_fields")? else {
        return Ok(AuditField::DEFAULT.to_vec());
    };
    let read = |name: &String| {
        AuditField::named(name).ok_or_else(|| {
            let told = format!("`{name}` is no field that the stand-in knows");
            ConfigError::new("configuration.authorize_log_fields", &told)
        })
    };
    names.iter().map(read).collect()
}

/// The parser's message without its excerpt of the file.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

#[cfg(test)]
mod tests;
