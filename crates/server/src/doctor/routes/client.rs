//! What a client route needs: Toolgate's own.

use super::{
    Expected, Finding,
    duration::{self, Length},
    policy::{self, Admits},
    shape::Route,
    yaml::Node,
};
use crate::doctor::report::Verdict;

/// What is missing from a client route. What is wrong with one that is somebody else's is only a
/// warning.
pub(super) fn findings(route: &Route<'_>, document: &Node, expected: &Expected) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [
        timeout(route, document),
        idle_timeout(route),
        identity(route, document),
        admission(route),
    ]
    .into_iter()
    .flatten()
    .collect();
    let from = route.from.as_ref();
    if from.and_then(|from| expected.is_toolgate(from)) == Some(false) {
        for finding in &mut findings {
            finding.verdict = Verdict::Warn;
        }
    }
    if let Some(from) = from
        && (from.path() != "/" || from.host_str().is_some_and(|host| host.contains('*')))
    {
        let what = "Toolgate needs an origin of its own, one host without a path";
        let mend = "set `from: https://HOST` and TOOLGATE_PUBLIC_URL to the same";
        findings.push(Finding::fail(
            "routes.client_from",
            route.line_of("from"),
            what,
            mend,
        ));
    }
    findings
}

/// The total time of an answer: without a word of the route, the global one of 30 s.
fn timeout(route: &Route<'_>, document: &Node) -> Option<Finding> {
    let id = "routes.timeout";
    let mend = "set `timeout: 0s` on this route";
    if let Some(node) = route.node.get("timeout") {
        // One that cannot be read is reported as such.
        let Ok(Length::Nanoseconds(limit)) = duration::read(node) else {
            return None;
        };
        let what = format!(
            "`timeout` cuts every answer after {}",
            duration::show(limit)
        );
        return Some(Finding::fail(id, route.line_of("timeout"), what, mend));
    }
    if never_idle(route) {
        return None;
    }
    let global = document.get("default_upstream_timeout");
    let what = match global.map(duration::read) {
        Some(Ok(Length::Zero) | Err(_)) => return None,
        Some(Ok(Length::Nanoseconds(limit))) => {
            let limit = duration::show(limit);
            format!("`default_upstream_timeout` cuts every answer after {limit}")
        }
        None => "no `timeout`: Pomerium cuts every answer after 30 s".to_owned(),
    };
    Some(Finding::fail(id, route.line, what, mend))
}

/// The longest silence within an answer: without a word of the route, 5 minutes.
fn idle_timeout(route: &Route<'_>) -> Option<Finding> {
    let mend = "set `idle_timeout: 0s` on this route";
    let (line, what) = match route.node.get("idle_timeout").map(duration::read) {
        Some(Ok(Length::Zero) | Err(_)) => return None,
        Some(Ok(Length::Nanoseconds(limit))) => {
            let limit = duration::show(limit);
            let what = format!("`idle_timeout` cuts an answer that is silent for {limit}");
            (route.line_of("idle_timeout"), what)
        }
        None if never_idle(route) => return None,
        None => {
            let what = "no `idle_timeout`: Pomerium cuts an answer that is silent for 5 minutes";
            (route.line, what.to_owned())
        }
    };
    Some(Finding::fail("routes.idle_timeout", line, what, mend))
}

/// `allow_websockets` takes away both limits that are not written down.
fn never_idle(route: &Route<'_>) -> bool {
    route.node.flag("allow_websockets")
}

fn identity(route: &Route<'_>, document: &Node) -> Option<Finding> {
    let key = "pass_identity_headers";
    let passed = match route.node.get(key) {
        Some(node) => node.is_true(),
        None => document.flag(key),
    };
    (!passed).then(|| {
        let what = "without `pass_identity_headers: true` Toolgate is not told who asks, and \
                    answers everybody 401";
        let mend = "set `pass_identity_headers: true` on this route";
        Finding::fail(
            "routes.pass_identity_headers",
            route.line_of(key),
            what,
            mend,
        )
    })
}

fn admission(route: &Route<'_>) -> Option<Finding> {
    let id = "routes.policy";
    match policy::admits(route.node) {
        Admits::Users => None,
        Admits::Nobody => Some(policy::nobody(route)),
        Admits::Everybody(key) => {
            let what =
                format!("`{key}` lets people in who have not signed in: Toolgate answers them 401");
            let mend = "replace it by `policy: [{allow: {or: [{domain: {is: example.com}}]}}]`";
            Some(Finding::fail(id, route.line_of(key), what, mend))
        }
    }
}
