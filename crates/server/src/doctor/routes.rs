//! Pomerium's configuration file, read for what Toolgate needs of it. Nothing is asked of anybody:
//! text in, checks out.

mod shape;

mod client;

mod server;

mod global;

mod hosts;

mod policy;

mod duration;
mod yaml;

use std::collections::HashSet;

use url::Url;

use self::{
    shape::{Role, Route},
    yaml::Node,
};
use super::report::{Check, Group, Verdict};

/// Bytes of a configuration file that are read: far more than thousands of routes.
pub(super) const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What Toolgate's own settings say about the routes.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// `TOOLGATE_PUBLIC_URL`; none when it is not known.
    pub(super) public_url: Option<Url>,
    /// `TOOLGATE_MCP_MAX_REQUEST_BYTES`.
    pub(super) max_request_bytes: usize,
}

impl Default for Expected {
    /// What is known without Toolgate's settings.
    fn default() -> Self {
        Self {
            public_url: None,
            max_request_bytes: 1 << 20,
        }
    }
}

impl Expected {
    /// Whether this is Toolgate's own `from`; none when that is not known.
    fn is_toolgate(&self, from: &Url) -> Option<bool> {
        let public = self.public_url.as_ref()?;
        Some(public.origin() == from.origin())
    }
}

/// Something about the file.
#[derive(Clone, Debug)]
struct Finding {
    id: &'static str,
    verdict: Verdict,
    line: u64,
    what: String,
    mend: String,
}

impl Finding {
    fn fail(id: &'static str, line: u64, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            id,
            verdict: Verdict::Fail,
            line,
            what: what.into(),
            mend: mend.into(),
        }
    }

    fn warn(id: &'static str, line: u64, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            ..Self::fail(id, line, what, mend)
        }
    }

    fn check(self, place: &str) -> Check {
        let what = format!("{place}:{}: {}", self.line, self.what);
        Check {
            verdict: self.verdict,
            ..Check::ok(Group::Routes, self.id, what).mend(self.mend)
        }
    }
}

/// Everything there is to say about the file: what is wrong with all of it, then route by route.
pub(super) fn examine(file: &str, text: &str, expected: &Expected) -> Vec<Check> {
    let document = match Node::parse(text) {
        Ok(document) => document,
        Err(unreadable) => {
            let place = match unreadable.line {
                Some(line) => format!("{file}:{line}"),
                None => file.to_owned(),
            };
            let what = format!(
                "{place}: no YAML that Pomerium could read: {}",
                unreadable.problem
            );
            let mend = format!("mend the syntax of {place}; tabs and indentation come first");
            return vec![Check::fail(Group::Routes, "routes.yaml", what).mend(mend)];
        }
    };
    let routes = match shape::routes(&document) {
        Ok(routes) => routes,
        Err(finding) => return vec![finding.check(file)],
    };
    let mut checks: Vec<Check> = global::findings(&document, &routes, expected)
        .into_iter()
        .map(|finding| finding.check(file))
        .collect();
    let crowded = hosts::findings(&routes);
    let crowded_lines: HashSet<u64> = crowded.iter().map(|(line, _)| *line).collect();
    checks.extend(crowded.into_iter().map(|(_, finding)| finding.check(file)));
    for route in &routes {
        let findings = of_route(route, &document, expected);
        let flawless = findings
            .iter()
            .all(|finding| finding.verdict == Verdict::Ok)
            && !crowded_lines.contains(&route.line);
        if flawless {
            let what = format!(
                "{file}:{}: {}: {}",
                route.line,
                route.name(),
                route.role.words()
            );
            checks.push(Check::ok(Group::Routes, "routes.route", what));
        }
        let place = |finding: Finding| {
            let what = format!("{}: {}", route.name(), finding.what);
            Finding { what, ..finding }.check(file)
        };
        checks.extend(findings.into_iter().map(place));
    }
    checks
}

fn of_route(route: &Route<'_>, document: &Node, expected: &Expected) -> Vec<Finding> {
    let mut findings = shape::findings(route, expected);
    findings.extend(global::durations(route.node));
    match shape::meant(route, expected) {
        Role::Client => findings.extend(client::findings(route, document, expected)),
        Role::Server => findings.extend(server::findings(route, expected)),
        // Of one that is unclear nothing more can be said until that is mended.
        Role::Plain | Role::Unclear => {}
    }
    findings
}

#[cfg(test)]
mod tests;
