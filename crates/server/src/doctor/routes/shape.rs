//! The routes of the file, and whether they are written as Pomerium reads them today.

use url::Url;

use super::{
    Expected, Finding,
    yaml::{Entry, Node, Value},
};

/// The keys that `mcp.server` has; older versions had them in `mcp` itself.
const SERVER_KEYS: [&str; 4] = [
    "upstream_oauth2",
    "path",
    "max_request_bytes",
    "authorization_server_url",
];

/// What made a client route once.
const PASS_TOKEN: &str = "pass_upstream_access_token";

/// A route, as far as it can be made out.
pub(super) struct Route<'a> {
    pub(super) node: &'a Node,
    /// Where it begins.
    pub(super) line: u64,
    /// `from`, if it is a URL with a host.
    pub(super) from: Option<Url>,
    pub(super) role: Role,
}

/// What a route is to MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Plain,
    /// `mcp: {client: {}}`
    Client,
    /// `mcp: {server: …}`
    Server,
    /// Something that Pomerium refuses.
    Unclear,
}

impl Role {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Plain => "not an MCP route",
            Self::Client => "MCP client route",
            Self::Server => "MCP server route",
            Self::Unclear => "unclear",
        }
    }
}

impl<'a> Route<'a> {
    fn read(node: &'a Node) -> Self {
        let from = node.get("from").and_then(Node::text);
        let from = from.and_then(|text| Url::parse(text).ok());
        Self {
            node,
            line: node.line,
            from: from.filter(Url::has_host),
            role: role(node),
        }
    }

    /// How people know it.
    pub(super) fn name(&self) -> &'a str {
        let from = self.node.get("from").and_then(Node::text);
        from.unwrap_or("a route without `from`")
    }

    /// The line of a key of the route, or of the route itself.
    pub(super) fn line_of(&self, key: &str) -> u64 {
        self.node.entry(key).map_or(self.line, |entry| entry.line)
    }

    /// What `mcp.server` holds.
    pub(super) fn server(&self) -> Option<&'a Node> {
        self.node.get("mcp")?.get("server")
    }
}

/// The routes, or why there are none.
pub(super) fn routes(document: &Node) -> Result<Vec<Route<'_>>, Finding> {
    let none = |line: u64, what: &str, mend: &str| Finding::fail("routes.none", line, what, mend);
    if let Some(entry) = document.entry("routes") {
        let found: Vec<Route<'_>> = entry.node.items().iter().map(Route::read).collect();
        if found.is_empty() {
            let mend = "add Toolgate's route and those of the MCP servers under `routes`";
            return Err(none(entry.line, "`routes` is empty", mend));
        }
        return Ok(found);
    }
    if let Some(entry) = document.entry("policy") {
        let mend = "rename the top-level key `policy` to `routes`";
        return Err(none(
            entry.line,
            "no `routes`; `policy` is their old name",
            mend,
        ));
    }
    let mend = "name Pomerium's config.yaml, the file that has `routes:` in it";
    Err(none(document.line, "no `routes` in this file", mend))
}

fn role(route: &Node) -> Role {
    let Some(mcp) = route.entry("mcp") else {
        return Role::Plain;
    };
    match (mcp.node.get("client"), mcp.node.get("server")) {
        (Some(_), None) => Role::Client,
        (None, Some(_)) => Role::Server,
        (Some(_), Some(_)) | (None, None) => Role::Unclear,
    }
}

/// What a route is meant to be, where Pomerium cannot tell: the rest is looked at in that light.
pub(super) fn meant(route: &Route<'_>, expected: &Expected) -> Role {
    let Some(mcp) = route
        .node
        .get("mcp")
        .filter(|_| route.role == Role::Unclear)
    else {
        return route.role;
    };
    let from = route.from.as_ref();
    let keys = || mcp.entries().iter().map(|entry| entry.key.as_str());
    if keys().any(|key| SERVER_KEYS.contains(&key)) {
        Role::Server
    } else if keys().eq([PASS_TOKEN]) || from.and_then(|it| expected.is_toolgate(it)) == Some(true)
    {
        Role::Client
    } else {
        Role::Unclear
    }
}

/// What is wrong with the form of a route, whatever it is for.
pub(super) fn findings(route: &Route<'_>, expected: &Expected) -> Vec<Finding> {
    let mut findings = Vec::new();
    if route.from.is_none() {
        let what = "`from` is missing or is no URL";
        let mend = "set `from: https://HOST`";
        findings.push(Finding::fail(
            "routes.from",
            route.line_of("from"),
            what,
            mend,
        ));
    }
    let elsewhere = ["to", "redirect", "response"];
    if elsewhere.iter().all(|key| route.node.get(key).is_none()) {
        let what = "no `to`: Pomerium refuses the route";
        findings.push(Finding::fail(
            "routes.to",
            route.line,
            what,
            "set `to: http://HOST:PORT`",
        ));
    }
    if let Some(mcp) = route.node.entry("mcp") {
        findings.extend(of_mcp(route, mcp, expected));
    }
    findings
}

fn of_mcp(route: &Route<'_>, mcp: &Entry, expected: &Expected) -> Vec<Finding> {
    if mcp.node.get("client").is_some() && mcp.node.get("server").is_some() {
        let what = "`mcp` has both `client` and `server`: Pomerium takes exactly one";
        let mend = "keep `mcp: {client: {}}` on Toolgate's route, `server` on those of MCP servers";
        return vec![Finding::fail("routes.mcp_both", mcp.line, what, mend)];
    }
    let old: Vec<&Entry> = mcp
        .node
        .entries()
        .iter()
        .filter(|entry| is_old(entry))
        .collect();
    if !old.is_empty() {
        return vec![old_keys(route, mcp, &old, expected)];
    }
    if route.role != Role::Unclear {
        return Vec::new();
    }
    let empty = ["client", "server"]
        .iter()
        .find_map(|key| mcp.node.entry(key));
    vec![match empty {
        Some(entry) => {
            let key = &entry.key;
            let what = format!("`mcp.{key}:` without a value counts as absent, and Pomerium stops");
            let mend = format!("write `mcp: {{{key}: {{}}}}`");
            Finding::fail("routes.mcp_null", entry.line, what, mend)
        }
        None => role_missing(route, mcp, expected),
    }]
}

/// `mcp: {}`, which made a server route up to Pomerium 0.30.
fn role_missing(route: &Route<'_>, mcp: &Entry, expected: &Expected) -> Finding {
    let is_toolgate = route
        .from
        .as_ref()
        .and_then(|from| expected.is_toolgate(from));
    let bytes = expected.max_request_bytes;
    let server = format!("`mcp: {{server: {{max_request_bytes: {bytes}}}}}`");
    let mend = match is_toolgate {
        Some(true) => "write `mcp: {client: {}}`: this is Toolgate's own route".to_owned(),
        Some(false) => format!("write {server}"),
        None => format!("write {server} for an MCP server, `mcp: {{client: {{}}}}` for Toolgate"),
    };
    let (form, known) = if mcp.node.value == Value::Null {
        ("`mcp:` without a value", "means nothing")
    } else {
        (
            "`mcp` without `server` or `client`",
            "is the form of Pomerium 0.30; newer ones do not start",
        )
    };
    Finding::fail("routes.mcp_role", mcp.line, format!("{form} {known}"), mend)
}

fn is_old(entry: &Entry) -> bool {
    entry.key == PASS_TOKEN || SERVER_KEYS.contains(&entry.key.as_str())
}

/// Keys of older versions, which stood in `mcp` itself, with today's form to paste.
fn old_keys(route: &Route<'_>, mcp: &Entry, old: &[&Entry], expected: &Expected) -> Finding {
    let names: Vec<String> = old
        .iter()
        .map(|entry| format!("`mcp.{}`", entry.key))
        .collect();
    let line = old.first().map_or(mcp.line, |entry| entry.line);
    let verb = if names.len() == 1 {
        "is a key"
    } else {
        "are keys"
    };
    let what = format!("{} {verb} of older versions of Pomerium", names.join(", "));
    let moved: Vec<&&Entry> = old.iter().filter(|entry| entry.key != PASS_TOKEN).collect();
    let mend = if moved.is_empty() && route.role != Role::Server {
        "write `mcp: {client: {}}` in its place".to_owned()
    } else {
        let kept = route.server().map(Node::entries).unwrap_or_default();
        let entries = kept.iter().chain(moved.into_iter().copied()).cloned();
        let mut entries: Vec<Entry> = entries.collect();
        if entries.iter().all(|entry| entry.key != "max_request_bytes") {
            entries.push(max_request_bytes(line, expected));
        }
        let server = Node {
            line,
            value: Value::Map(entries),
        };
        format!("write `mcp: {{server: {server}}}` in its place")
    };
    Finding::fail("routes.mcp_old", line, what, mend)
}

/// What every server route should have.
fn max_request_bytes(line: u64, expected: &Expected) -> Entry {
    let bytes = i64::try_from(expected.max_request_bytes).unwrap_or(i64::MAX);
    Entry {
        key: "max_request_bytes".to_owned(),
        line,
        node: Node {
            line,
            value: Value::Integer(bytes),
        },
    }
}
