//! Routes that share a host: Pomerium takes the first of them as the MCP route of that host.

use std::collections::HashMap;

use super::{
    Finding,
    shape::{Role, Route},
};

/// The keys that give a route a part of its host.
const PARTS: [&str; 3] = ["path", "prefix", "regex"];

/// What is wrong with which route, by its line.
pub(super) fn findings(routes: &[Route<'_>]) -> Vec<(u64, Finding)> {
    let mut first: HashMap<&str, &Route<'_>> = HashMap::new();
    let mut findings = Vec::new();
    for route in routes {
        let Some(host) = route.from.as_ref().and_then(|from| from.host_str()) else {
            continue;
        };
        match first.get(host) {
            None => {
                first.insert(host, route);
            }
            Some(before) => {
                let finding = of_pair(before, route, host);
                findings.extend(finding.map(|finding| (route.line, finding)));
            }
        }
    }
    findings
}

fn of_pair(before: &Route<'_>, route: &Route<'_>, host: &str) -> Option<Finding> {
    let id = "routes.shared_host";
    let line = route.line_of("from");
    let there = before.line;
    let mend = "give each of them a host of its own in `from`";
    if before.role != Role::Plain && route.role != Role::Plain {
        let what = format!(
            "{host} is the host of the route at line {there} as well: Pomerium takes only the \
             first as the MCP route of a host"
        );
        return Some(Finding::fail(id, line, what, mend));
    }
    if before.role == Role::Plain && route.role == Role::Plain {
        return None;
    }
    let is_part = |route: &Route<'_>| PARTS.iter().any(|key| route.node.get(key).is_some());
    if is_part(before) || is_part(route) {
        return None;
    }
    let what = format!(
        "{host} is the host of the route at line {there} as well, and neither has a `prefix`: \
         only the first is ever used"
    );
    Some(Finding::fail(id, line, what, mend))
}
