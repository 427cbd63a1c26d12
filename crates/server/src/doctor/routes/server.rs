//! What the route of an MCP server needs.

use url::Url;

use super::{
    Expected, Finding,
    duration::{self, Length},
    policy::{self, Admits},
    shape::Route,
    yaml::{Node, Value},
};

/// Bytes of a request that Pomerium's tool policy sees unless the route says otherwise
/// (`mcp.server.max_request_bytes`, 4 KiB).
const DEFAULT_MAX_REQUEST_BYTES: u32 = 4096;

pub(super) fn findings(route: &Route<'_>, expected: &Expected) -> Vec<Finding> {
    let findings = [
        request_bytes(route, expected),
        tools_allowed(route),
        admission(route),
        timeout(route),
        path_twice(route),
        wildcard(route),
        auth_style(route),
    ];
    findings.into_iter().flatten().collect()
}

/// Whether tool policy sees every request that Toolgate may send.
fn request_bytes(route: &Route<'_>, expected: &Expected) -> Option<Finding> {
    let id = "routes.max_request_bytes";
    let wanted = expected.max_request_bytes;
    let entry = route.server()?.entry("max_request_bytes");
    let (line, bytes) = match entry {
        None => (route.line_of("mcp"), Some(DEFAULT_MAX_REQUEST_BYTES)),
        Some(entry) => (entry.line, bytes(&entry.node)),
    };
    let Some(bytes) = bytes else {
        let value = entry
            .map(|entry| entry.node.to_string())
            .unwrap_or_default();
        let what = format!("`max_request_bytes: {value}` is no number of bytes");
        let mend = format!("set `mcp: {{server: {{max_request_bytes: {wanted}}}}}`");
        return Some(Finding::fail(id, line, what, mend));
    };
    if usize::try_from(bytes).is_ok_and(|bytes| bytes >= wanted) {
        return None;
    }
    let size = if entry.is_some() {
        format!("`max_request_bytes: {bytes}`")
    } else {
        format!("no `max_request_bytes`, which means {bytes},")
    };
    let mend = format!(
        "set `max_request_bytes: {wanted}` in `mcp.server`, or TOOLGATE_MCP_MAX_REQUEST_BYTES to \
         {bytes} (other MCP clients are not bound by that)"
    );
    Some(if policy::names_tools(route.node, "deny") {
        let what = format!(
            "{size} beside a rule on `mcp_tool`: a larger request passes unseen by that rule, and \
             Toolgate sends up to {wanted} bytes"
        );
        Finding::fail(id, line, what, mend)
    } else {
        let what = format!(
            "{size} is less than the {wanted} bytes Toolgate sends: neither a rule on `mcp_tool` \
             nor the audit log would see a larger request"
        );
        Finding::warn(id, line, what, mend)
    })
}

/// What `max_request_bytes` comes to, if Pomerium can read it (a `uint32`).
fn bytes(node: &Node) -> Option<u32> {
    match &node.value {
        Value::Null => Some(DEFAULT_MAX_REQUEST_BYTES),
        Value::Integer(bytes) => u32::try_from(*bytes).ok(),
        Value::Text(digits) => digits.parse().ok(),
        Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn tools_allowed(route: &Route<'_>) -> Option<Finding> {
    policy::names_tools(route.node, "allow").then(|| {
        let what = "`mcp_tool` under `allow` holds for tool calls only: whoever depends on it \
                    can neither connect nor list the tools";
        let mend = "allow people as usual, and put the tools they must not call under `deny`";
        Finding::warn("routes.mcp_tool_allow", route.line_of("policy"), what, mend)
    })
}

fn admission(route: &Route<'_>) -> Option<Finding> {
    match policy::admits(route.node) {
        Admits::Users => None,
        Admits::Nobody => Some(policy::nobody(route)),
        Admits::Everybody(key) => {
            let what = format!("`{key}` opens the MCP server to everybody, signed in or not");
            let mend = format!("take `{key}` out and set a `policy`");
            Some(Finding::fail(
                "routes.policy",
                route.line_of(key),
                what,
                mend,
            ))
        }
    }
}

/// Server routes have no limits by themselves since Pomerium 0.33; one that is written counts.
fn timeout(route: &Route<'_>) -> Option<Finding> {
    let key = "timeout";
    let Ok(Length::Nanoseconds(limit)) = duration::read(route.node.get(key)?) else {
        return None;
    };
    let limit = duration::show(limit);
    let what = format!("`timeout` cuts tool calls that take longer than {limit}");
    let mend = "set `timeout: 0s` on this route (Toolgate has limits of its own)";
    Some(Finding::warn(
        "routes.timeout",
        route.line_of(key),
        what,
        mend,
    ))
}

/// Pomerium puts the path of `to` in the place of the leading slash: with `mcp.server.path` as
/// well, the server would be asked for `/mcpmcp`.
fn path_twice(route: &Route<'_>) -> Option<Finding> {
    let path = route.server()?.entry("path")?;
    let shown = path.node.text()?.trim_matches('/');
    let to = route.node.get("to")?.items().first()?.text()?;
    let to = Url::parse(to).ok()?;
    if shown.is_empty() || to.path() == "/" {
        return None;
    }
    let there = to.path();
    let what = format!(
        "`to` has the path {there} and `mcp.server.path` is /{shown}: requests would go to \
         {there}{shown}"
    );
    let mend = format!("take {there} out of `to`, or `path` out of `mcp.server`");
    Some(Finding::fail("routes.path_twice", path.line, what, mend))
}

fn wildcard(route: &Route<'_>) -> Option<Finding> {
    if !route.name().contains('*') {
        return None;
    }
    let what = "a wildcard is no place: Toolgate leaves the server out";
    let mend = "give the MCP server a host of its own in `from`";
    Some(Finding::warn(
        "routes.wildcard",
        route.line_of("from"),
        what,
        mend,
    ))
}

fn auth_style(route: &Route<'_>) -> Option<Finding> {
    let endpoint = route.server()?.get("upstream_oauth2")?.get("endpoint");
    let entry = endpoint.and_then(|endpoint: &Node| endpoint.entry("auth_style"))?;
    let what = "`auth_style` is read and not used: Pomerium sends the client's secret in the form";
    let mend = "take `auth_style` out; the token endpoint must take `client_secret` in the form";
    Some(Finding::warn("routes.auth_style", entry.line, what, mend))
}
