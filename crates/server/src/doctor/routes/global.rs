//! What concerns all of Pomerium, and whether Toolgate's route is there at all.

use super::{
    Expected, Finding,
    duration::{self, Length},
    shape::{Role, Route},
    yaml::Node,
};

/// The fields of the audit log that say which tool was called.
const AUDIT: [&str; 2] = ["mcp-method", "mcp-tool"];

pub(super) fn findings(document: &Node, routes: &[Route<'_>], expected: &Expected) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(mcp_flag(document));
    findings.extend(toolgates_route(document, routes, expected));
    findings.extend(servers(document, routes));
    findings.extend(shared_secret(document));
    findings.extend(databroker(document));
    findings.extend(audit(document));
    findings.extend(unreadable(document, "default_upstream_timeout"));
    findings
}

/// The durations of a route that Pomerium cannot read, or reads as nobody means them.
pub(super) fn durations(route: &Node) -> Vec<Finding> {
    let keys = ["timeout", "idle_timeout"];
    keys.iter()
        .filter_map(|key| unreadable(route, key))
        .collect()
}

fn unreadable(node: &Node, key: &str) -> Option<Finding> {
    let entry = node.entry(key)?;
    let value = node.get(key)?;
    let id = "routes.duration";
    match duration::read(value) {
        Ok(Length::Zero) => None,
        Ok(Length::Nanoseconds(limit)) if limit.unsigned_abs() >= 1_000_000 => None,
        Ok(Length::Nanoseconds(limit)) => {
            let what = format!("`{key}: {value}` means {}", duration::show(limit));
            let mend = format!("give it a unit: `{key}: {value}s`, or `{key}: 0s` for no limit");
            Some(Finding::fail(id, entry.line, what, mend))
        }
        Err(problem) => {
            let what = format!("`{key}`: {problem}, and Pomerium does not start");
            let mend = format!("write `{key}: 0s` for no limit, or a number with a unit (90s, 5m)");
            Some(Finding::fail(id, entry.line, what, mend))
        }
    }
}

fn mcp_flag(document: &Node) -> Option<Finding> {
    let flag = document.get("runtime_flags")?.entry("mcp")?;
    (!flag.node.is_true()).then(|| {
        let what = "`runtime_flags.mcp` is off: no route hands out tokens, no MCP server is listed";
        let mend = "set `runtime_flags: {mcp: true}`";
        Finding::fail("routes.runtime_flag", flag.line, what, mend)
    })
}

fn toolgates_route(document: &Node, routes: &[Route<'_>], expected: &Expected) -> Option<Finding> {
    let id = "routes.toolgate";
    let line = document.entry("routes").map_or(1, |entry| entry.line);
    let Some(public_url) = &expected.public_url else {
        // One of unclear role may be meant as Toolgate's, and is reported.
        let any = routes
            .iter()
            .any(|route| matches!(route.role, Role::Client | Role::Unclear));
        return (!any).then(|| {
            let what = "no route has `mcp: {client: {}}`: Toolgate would be given no token";
            Finding::fail(
                id,
                line,
                what,
                "set `mcp: {client: {}}` on Toolgate's route",
            )
        });
    };
    let origin = public_url.as_str().trim_end_matches('/');
    let is_ours = |route: &&Route<'_>| {
        let from = route.from.as_ref();
        from.and_then(|from| expected.is_toolgate(from)) == Some(true)
    };
    let ours: Vec<&Route<'_>> = routes.iter().filter(is_ours).collect();
    let client = ours.iter().find(|route| route.role == Role::Client);
    let Some(route) = client.or(ours.first()) else {
        let client = routes.iter().find(|route| route.role == Role::Client);
        let mend = match client {
            Some(client) => format!(
                "set TOOLGATE_PUBLIC_URL={}, if line {} is Toolgate's route",
                client.name(),
                client.line
            ),
            None => format!("add a route with `from: {origin}` and `mcp: {{client: {{}}}}`"),
        };
        let what = format!("no route has `from: {origin}` (TOOLGATE_PUBLIC_URL)");
        return Some(Finding::fail(id, line, what, mend));
    };
    let what = match route.role {
        Role::Client | Role::Unclear => return None,
        Role::Plain => "is Toolgate's route and has no `mcp`: Toolgate would be given no token",
        Role::Server => "is Toolgate's route and says `mcp.server`: Toolgate is a client",
    };
    let mend = "set `mcp: {client: {}}` on this route";
    Some(Finding::fail(
        id,
        route.line_of("mcp"),
        format!("{origin} {what}"),
        mend,
    ))
}

fn servers(document: &Node, routes: &[Route<'_>]) -> Option<Finding> {
    let any = routes
        .iter()
        .any(|route| matches!(route.role, Role::Server | Role::Unclear));
    (!any).then(|| {
        let line = document.entry("routes").map_or(1, |entry| entry.line);
        let what = "no route has `mcp: {server: …}`: there is no tool to use";
        let mend = "add `mcp: {server: {max_request_bytes: 1048576}}` to an MCP server's route";
        Finding::warn("routes.no_servers", line, what, mend)
    })
}

fn shared_secret(document: &Node) -> Option<Finding> {
    let keys = ["shared_secret", "shared_secret_file"];
    let set = keys
        .iter()
        .any(|key| document.get(key).is_some_and(|node| !node.is_empty()));
    (!set).then(|| {
        let what = "no `shared_secret`: Pomerium makes up a new one with each start, which ends \
                    every session and token";
        let mend = "set `shared_secret` to the output of `head -c32 /dev/urandom | base64`, or \
                    SHARED_SECRET in Pomerium's environment";
        Finding::warn("routes.shared_secret", document.line, what, mend)
    })
}

fn databroker(document: &Node) -> Option<Finding> {
    let key = "databroker_storage_type";
    let kind = document.get(key).and_then(Node::text);
    if !matches!(kind, None | Some("memory")) {
        return None;
    }
    let line = document
        .entry(key)
        .map_or(document.line, |entry| entry.line);
    let what = "sessions and connected accounts are kept in memory: a restart of Pomerium \
                forgets them";
    let mend = "set `databroker_storage_type: file` and `databroker_storage_connection_string: \
                file:///data/pomerium` (or postgres), or DATABROKER_STORAGE_TYPE in Pomerium's \
                environment";
    Some(Finding::warn("routes.databroker", line, what, mend))
}

fn audit(document: &Node) -> Option<Finding> {
    let key = "authorize_log_fields";
    let fields = document.get(key).map(Node::items).unwrap_or_default();
    let logged = |wanted: &str| fields.iter().any(|field| field.text() == Some(wanted));
    if AUDIT.iter().all(|field| logged(field)) {
        return None;
    }
    let line = document
        .entry(key)
        .map_or(document.line, |entry| entry.line);
    let what = "Pomerium's audit log does not say which tool was called";
    let mend = "set `authorize_log_fields: [request-id, user, email, session-id, host, method, \
                path, ip, mcp-method, mcp-tool]` (mcp-tool-parameters logs the arguments as well)";
    Some(Finding::warn("routes.audit", line, what, mend))
}
