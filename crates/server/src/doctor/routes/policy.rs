//! Whom a route's policy lets in, as far as the file alone can say.

use super::{
    Finding,
    shape::Route,
    yaml::{Node, Value},
};

/// The keys beside `policy` that let people in.
const ALLOWING: [&str; 5] = [
    "allow_any_authenticated_user",
    "allowed_users",
    "allowed_domains",
    "allowed_groups",
    "allowed_idp_claims",
];

/// Lets in everybody, signed in or not.
const PUBLIC: &str = "allow_public_unauthenticated_access";

/// Whom a route lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    /// Nobody at all.
    Nobody,
    /// Somebody.
    Users,
    /// Everybody, signed in or not, because of this key.
    Everybody(&'static str),
}

pub(super) fn admits(route: &Node) -> Admits {
    if route.flag(PUBLIC) {
        return Admits::Everybody(PUBLIC);
    }
    let named = ALLOWING.iter().filter_map(|key| route.get(key));
    let mut named = named.filter(|node| match node.value {
        Value::Bool(allowed) => allowed,
        Value::Null
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => !node.is_empty(),
    });
    let rules = route.get("policy").map(Node::items).unwrap_or_default();
    let allows = |rule: &Node| rule.get("allow").is_some_and(|allow| !allow.is_empty());
    if named.next().is_some() || rules.iter().any(allows) {
        Admits::Users
    } else {
        Admits::Nobody
    }
}

/// The finding of a route that nobody may use.
pub(super) fn nobody(route: &Route<'_>) -> Finding {
    let what = match route.node.entry("policy") {
        None => "no `policy`: nobody is let in",
        Some(entry) if entry.node.is_empty() => "an empty `policy` lets nobody in",
        Some(_) => "a `policy` without `allow` lets nobody in",
    };
    let mend = "set `policy: [{allow: {or: [{domain: {is: example.com}}]}}]` with your own rule";
    Finding::fail("routes.policy", route.line_of("policy"), what, mend)
}

/// Whether a rule under `verb` (`allow`, `deny`) names tools.
pub(super) fn names_tools(route: &Node, verb: &str) -> bool {
    let rules = route.get("policy").map(Node::items).unwrap_or_default();
    rules
        .iter()
        .filter_map(|rule| rule.get(verb))
        .any(|rule| rule.mentions("mcp_tool"))
}
