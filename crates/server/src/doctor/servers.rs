//! The MCP servers: each is connected to as a turn would connect, and let go.

use std::{sync::Arc, time::Instant};

use chat::{
    failure::{Failure, Layer},
    limits,
};
use futures_util::{StreamExt as _, stream};
use url::Url;
use wire::{
    http::{Credential, ServerKey},
    mcp::{ConnectError, ConnectOptions, Connection, CredentialSource, EraMemory, ServerAddress},
    pomerium::Route,
};

use super::{
    login::Login,
    origin, place,
    report::{Check, Group, Report, Verdict},
    way::Way,
};
use crate::config::{Config, ConfiguredServer};

/// Servers that are looked at side by side.
const AT_ONCE: usize = 8;

/// What every request to one server carries.
struct Fixed(Credential);

impl CredentialSource for Fixed {
    fn credential(&self) -> Credential {
        self.0.clone()
    }
}

/// A server to look at.
struct Target {
    name: String,
    url: Url,
    credential: Credential,
    /// Where its account is connected, if that can be done.
    connect: Option<Url>,
}

impl Target {
    fn of_route(route: &Route, login: &Login, back: Option<&Url>) -> Self {
        Self {
            name: route.name.clone(),
            url: route.url.clone(),
            credential: Credential::ExternalToken(login.token().clone()),
            connect: back.and_then(|back| route.connect_url(back)),
        }
    }

    fn of_config(server: &ConfiguredServer) -> Self {
        let key = ServerKey::new(&server.url, server.bearer.clone());
        Self {
            name: server.name.clone(),
            url: server.url.clone(),
            credential: Credential::Configured(key),
            connect: None,
        }
    }
}

/// Looks at the servers that Pomerium lists, and at those of the configuration.
pub(super) async fn check(
    way: &Way,
    config: &Config,
    routes: &[Route],
    login: Option<&Login>,
    report: &mut Report,
) {
    let back = config.public_url.as_ref();
    let listed = routes
        .iter()
        .filter_map(|route| Some(Target::of_route(route, login?, back)));
    let targets: Vec<Target> = listed
        .chain(config.servers.iter().map(Target::of_config))
        .collect();
    if targets.is_empty() {
        report.add(&nothing_to_see(config, login));
        return;
    }
    let eras = EraMemory::default();
    let looking = targets
        .into_iter()
        .map(|target| look(way, config, &eras, target));
    let mut looked = stream::iter(looking).buffered(AT_ONCE);
    let mut tools = 0;
    while let Some(seen) = looked.next().await {
        tools += seen.tools;
        report.extend(seen.checks);
    }
    if tools > limits::FUNCTIONS {
        let what = format!(
            "{tools} tools in all: a model is offered {} at most, and the last servers by name \
             are left out",
            limits::FUNCTIONS
        );
        let mend = "take servers or tools out: by `policy` in Pomerium, or in the servers";
        report.add(&Check::warn(Group::Servers, "servers.functions", what).mend(mend));
    }
}

fn nothing_to_see(config: &Config, login: Option<&Login>) -> Check {
    let id = "servers.none";
    match &config.public_url {
        Some(_) if login.is_some() => {
            let what = "no server is known to look at";
            Check::skipped(Group::Servers, id, what)
        }
        Some(url) => {
            let what = "no server was looked at: that takes a login";
            let mend = format!("run `toolgate login {}`", origin(url));
            Check::skipped(Group::Servers, id, what).mend(mend)
        }
        None => {
            let what = "no MCP server is set: there is no tool to use";
            let mend = "set TOOLGATE_MCP_SERVERS=NAME=http://HOST:PORT/mcp";
            Check::warn(Group::Servers, id, what).mend(mend)
        }
    }
}

/// What was seen of one server.
struct Seen {
    checks: Vec<Check>,
    tools: usize,
}

async fn look(way: &Way, config: &Config, eras: &EraMemory, target: Target) -> Seen {
    let started = Instant::now();
    let connecting = Connection::connect(ConnectOptions {
        http: way.http.clone(),
        server: ServerAddress {
            name: target.name.clone(),
            url: target.url.clone(),
        },
        credentials: Arc::new(Fixed(target.credential.clone())),
        max_request_bytes: config.mcp_max_request_bytes,
        eras: eras.clone(),
        tasks: way.tasks.clone(),
        shutdown: way.stop.clone(),
    });
    let connection = match connecting.await {
        Ok(connection) => connection,
        Err(error) => {
            let checks = vec![refused(&target, &error, config)];
            return Seen { checks, tools: 0 };
        }
    };
    let took = started.elapsed().as_millis();
    let catalog = connection.catalog();
    let kept = if connection.has_session() {
        " with a session"
    } else {
        ""
    };
    connection.close().await;
    let name = &target.name;
    let version = way.versions.of(name);
    let spoken = version.map_or("the HTTP+SSE of 2024-11-05".to_owned(), |it| {
        format!("MCP {it}")
    });
    let tools = catalog.tools.len();
    let what = format!("{name}: ready, {tools} tool(s), {spoken}{kept} ({took} ms)");
    let mut checks = vec![Check::ok(Group::Servers, "servers.server", what)];
    if tools == 0 {
        let what = format!("{name}: offers no tools");
        let mend = format!(
            "look at what {} offers: Toolgate uses only tools",
            place(&target.url)
        );
        checks.push(Check::warn(Group::Servers, "servers.tools", what).mend(mend));
    }
    for broken in &catalog.broken {
        let what = format!(
            "{name}: the tool {} is left out: {}",
            broken.name, broken.reason
        );
        let mend = format!("have {name} describe the tool as MCP wants it; its other tools work");
        checks.push(Check::warn(Group::Servers, "servers.tools", what).mend(mend));
    }
    Seen { checks, tools }
}

/// A server that cannot be used, and what to do.
fn refused(target: &Target, error: &ConnectError, config: &Config) -> Check {
    let Failure {
        message,
        advice,
        request_id,
        ..
    } = error.failure();
    let known = request_id.as_deref();
    let id = known.map(|id| format!(" (Pomerium's request {id})"));
    let what = format!("{}: {message}{}", target.name, id.unwrap_or_default());
    let (verdict, mend) = match error {
        ConnectError::NeedsConnect(_) => {
            let open = target
                .connect
                .as_ref()
                .map(|url| format!("open {url} in your browser"));
            (Verdict::Warn, open.unwrap_or_else(|| advice.clone()))
        }
        ConnectError::Forbidden(failure) => (Verdict::Warn, let_in(failure)),
        ConnectError::StaleToken(_) => {
            let place = config.public_url.as_ref().map(origin).unwrap_or_default();
            (Verdict::Fail, format!("run `toolgate login {place}`"))
        }
        ConnectError::Unavailable(_) => (Verdict::Fail, advice.clone()),
    };
    Check {
        verdict,
        ..Check::ok(Group::Servers, "servers.server", what).mend(mend)
    }
}

/// What to do about a refusal: by policy it comes without a status, as a JSON-RPC error; a missing
/// certificate and the server's own refusal have advice of theirs.
fn let_in(failure: &Failure) -> String {
    if failure.layer == Layer::Pomerium && failure.status.is_none() {
        return "let yourself in by the `policy` of the server's route, if you should be"
            .to_owned();
    }
    failure.advice.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_denial_by_policy_is_mended_in_the_policy() {
        let of_policy = Failure::new(Layer::Pomerium, "policy denies this", "Ask.");
        assert!(let_in(&of_policy).contains("`policy`"));
        let own = Failure::new(Layer::Server, "refused", "Ask whoever runs it.").with_status(403);
        assert_eq!(let_in(&own), "Ask whoever runs it.");
        let device = Failure::new(Layer::Pomerium, "device", "Register it.").with_status(450);
        assert_eq!(let_in(&device), "Register it.");
    }
}
