//! Pomerium's policy language (PPL), as far as a demonstration needs it.
//!
//! A policy is a list of rules; a rule allows or denies when one of its blocks holds. A denial
//! beats an allowance, and no allowance is a denial. Criteria and their meaning are those of
//! Pomerium's `pkg/policy/criteria`; whatever is not known here is refused by name when the
//! configuration is read.

mod read;

pub(super) use read::read;

use std::collections::BTreeSet;

use super::sessions::DemoUser;

/// The reason of a criterion that wanted to know the user when there was none.
const UNAUTHENTICATED: &str = "user-unauthenticated";

/// What a request is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The signed-in user, if any.
    pub(super) user: Option<DemoUser>,
    /// What the request asks of an MCP server, when it is a readable one.
    pub(super) call: Option<Asked<'a>>,
}

/// A readable MCP request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Its method.
    pub(super) method: &'a str,
    /// The name of the tool of a `tools/call`, if that was readable too.
    pub(super) tool: Option<&'a str>,
}

/// What the policy says about a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What becomes of it.
    pub(super) decision: Decision,
    /// Whether a rule allows.
    pub(super) allow: Verdict,
    /// Whether a rule denies.
    pub(super) deny: Verdict,
}

/// A truth value and the reasons for it, in Pomerium's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The value.
    pub(super) holds: bool,
    /// In alphabetical order.
    pub(super) reasons: BTreeSet<&'static str>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on to the upstream.
    Allow,
    /// It is refused, whoever signs in.
    Deny,
    /// A criterion wanted to know the user and there is none.
    SignIn,
}

/// The policy of one route.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// Any of these allows.
    allow: Vec<Block>,
    /// Any of these denies.
    deny: Vec<Block>,
}

impl Policy {
    /// Judges one request. A missing user counts only where a criterion asked for one, so an
    /// `accept` route stays public.
    pub(super) fn judge(&self, subject: Subject<'_>) -> Judgement {
        let deny = Verdict::any(self.deny.iter().map(|block| block.judge(subject)));
        let allow = Verdict::any(self.allow.iter().map(|block| block.judge(subject)));
        let decision = if deny.wants_user() || allow.wants_user() {
            Decision::SignIn
        } else if !deny.holds && allow.holds {
            Decision::Allow
        } else {
            Decision::Deny
        };
        Judgement {
            decision,
            allow,
            deny,
        }
    }
}

impl Judgement {
    /// Pomerium answers a path of its own.
    pub(super) fn own_path() -> Self {
        Self {
            decision: Decision::Allow,
            allow: Verdict::yes("pomerium-route"),
            deny: Verdict::default(),
        }
    }

    /// A path of Pomerium's own is only for people who are signed in.
    pub(super) fn unauthenticated() -> Self {
        Self {
            decision: Decision::SignIn,
            allow: Verdict::no(UNAUTHENTICATED),
            deny: Verdict::default(),
        }
    }
}

/// Criteria joined by one operator.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    operator: Operator,
    criteria: Vec<Criterion>,
}

/// How the criteria of a block are joined (`pkg/policy/generator/conditionals.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// All hold.
    And,
    /// At least one holds.
    Or,
    /// None holds.
    Not,
    /// At least one does not hold.
    Nor,
}

#[derive(Debug, PartialEq, Eq)]
enum Criterion {
    /// Always holds.
    Accept,
    /// Somebody is signed in.
    AuthenticatedUser,
    /// The user's email address.
    Email(StringMatcher),
    /// What follows the `@` of the user's email address.
    Domain(StringMatcher),
    /// The tool of a `tools/call`; never holds for any other request.
    McpTool(StringMatcher),
}

/// Tests on one string, all of which must hold.
#[derive(Debug, PartialEq, Eq)]
struct StringMatcher(Vec<StringTest>);

#[derive(Debug, PartialEq, Eq)]
enum StringTest {
    Is(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Verdict {
    fn yes(reason: &'static str) -> Self {
        Self {
            holds: true,
            reasons: BTreeSet::from([reason]),
        }
    }

    fn no(reason: &'static str) -> Self {
        Self::yes(reason).inverted()
    }

    fn wants_user(&self) -> bool {
        self.reasons.contains(UNAUTHENTICATED)
    }

    /// Inverts the value and keeps the reasons, as Pomerium does.
    fn inverted(self) -> Self {
        Self {
            holds: !self.holds,
            ..self
        }
    }

    /// The verdicts that decided lend their reasons: those that hold if one does, else all.
    fn any(verdicts: impl Iterator<Item = Self> + Clone) -> Self {
        let holds = verdicts.clone().any(|verdict| verdict.holds);
        let deciding = verdicts.filter(|verdict| verdict.holds == holds);
        Self {
            holds,
            reasons: deciding.flat_map(|verdict| verdict.reasons).collect(),
        }
    }

    /// The verdicts that decided lend their reasons: those that fail if one does, else all.
    fn all(verdicts: impl Iterator<Item = Self> + Clone) -> Self {
        let any_failed = Self::any(verdicts.map(Self::inverted));
        any_failed.inverted()
    }
}

impl Block {
    fn judge(&self, subject: Subject<'_>) -> Verdict {
        let verdicts = self.criteria.iter().map(|one| one.judge(subject));
        match self.operator {
            Operator::And => Verdict::all(verdicts),
            Operator::Or => Verdict::any(verdicts),
            Operator::Not => Verdict::all(verdicts.map(Verdict::inverted)),
            Operator::Nor => Verdict::any(verdicts.map(Verdict::inverted)),
        }
    }
}

impl Criterion {
    fn judge(&self, subject: Subject<'_>) -> Verdict {
        match self {
            Self::Accept => Verdict::yes("accept"),
            Self::AuthenticatedUser => of_user(subject, ("user-ok", "user-unauthorized"), |_| true),
            Self::Email(matcher) => of_user(subject, ("email-ok", "email-unauthorized"), |email| {
                matcher.matches(email)
            }),
            Self::Domain(matcher) => {
                of_user(subject, ("domain-ok", "domain-unauthorized"), |email| {
                    email
                        .split_once('@')
                        .is_some_and(|(_, domain)| matcher.matches(domain))
                })
            }
            Self::McpTool(matcher) => of_tool(subject.call, matcher),
        }
    }
}

fn of_user(
    subject: Subject<'_>,
    (yes, no): (&'static str, &'static str),
    holds: impl Fn(&str) -> bool,
) -> Verdict {
    match subject.user {
        Some(user) if holds(user.email()) => Verdict::yes(yes),
        Some(_) => Verdict::no(no),
        None => Verdict::no(UNAUTHENTICATED),
    }
}

/// Whatever is no readable request at all passes as if no tool had been called.
fn of_tool(call: Option<Asked<'_>>, matcher: &StringMatcher) -> Verdict {
    match call {
        Some(Asked {
            method: "tools/call",
            tool,
        }) => {
            if tool.is_some_and(|tool| matcher.matches(tool)) {
                Verdict::yes("mcp-tool-match")
            } else {
                Verdict::no("mcp-tool-no-match")
            }
        }
        Some(_) | None => Verdict::no("mcp-not-a-tool-call"),
    }
}

impl StringMatcher {
    fn matches(&self, text: &str) -> bool {
        self.0.iter().all(|test| match test {
            StringTest::Is(other) => text == other,
            StringTest::StartsWith(start) => text.starts_with(start),
            StringTest::EndsWith(end) => text.ends_with(end),
            StringTest::Contains(part) => text.contains(part),
            StringTest::In(list) => list.iter().any(|other| other == text),
            StringTest::NotIn(list) => list.iter().all(|other| other != text),
        })
    }
}

#[cfg(test)]
mod tests;
