//! Pomerium's policy language (PPL), as far as a demonstration needs it.
//!
//! A policy is a list of rules; a rule allows or denies when one of its blocks holds. A denial
//! beats an allowance, and no allowance is a denial. Criteria and their meaning are those of
//! Pomerium's `pkg/policy/criteria`; whatever is not known here is refused by name when the
//! configuration is read.

mod read;

pub(super) use read::read;

use super::sessions::DemoUser;

/// What a request is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The signed-in user, if any.
    pub(super) user: Option<DemoUser>,
    /// The name of the tool, when the request is a readable `tools/call`.
    pub(super) tool: Option<&'a str>,
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
    pub(super) fn judge(&self, subject: Subject<'_>) -> Decision {
        let deny = Finding::any(self.deny.iter().map(|block| block.judge(subject)));
        let allow = Finding::any(self.allow.iter().map(|block| block.judge(subject)));
        if deny.wants_user || allow.wants_user {
            Decision::SignIn
        } else if !deny.holds && allow.holds {
            Decision::Allow
        } else {
            Decision::Deny
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

/// A truth value, and whether it is so only because nobody is signed in.
#[derive(Debug, Clone, Copy)]
struct Finding {
    holds: bool,
    wants_user: bool,
}

impl From<bool> for Finding {
    fn from(holds: bool) -> Self {
        Self {
            holds,
            wants_user: false,
        }
    }
}

impl Finding {
    /// Inverts the value and keeps the reason, as Pomerium does.
    const fn inverted(self) -> Self {
        Self {
            holds: !self.holds,
            wants_user: self.wants_user,
        }
    }

    /// The findings that decided lend their reason: those that hold if one does, else all.
    fn any(findings: impl Iterator<Item = Self> + Clone) -> Self {
        let holds = findings.clone().any(|finding| finding.holds);
        let mut deciding = findings.filter(|finding| finding.holds == holds);
        let wants_user = deciding.any(|finding| finding.wants_user);
        Self { holds, wants_user }
    }

    /// The findings that decided lend their reason: those that fail if one does, else all.
    fn all(findings: impl Iterator<Item = Self> + Clone) -> Self {
        let any_failed = Self::any(findings.map(Self::inverted));
        any_failed.inverted()
    }
}

impl Block {
    fn judge(&self, subject: Subject<'_>) -> Finding {
        let findings = self.criteria.iter().map(|one| one.judge(subject));
        match self.operator {
            Operator::And => Finding::all(findings),
            Operator::Or => Finding::any(findings),
            Operator::Not => Finding::all(findings.map(Finding::inverted)),
            Operator::Nor => Finding::any(findings.map(Finding::inverted)),
        }
    }
}

impl Criterion {
    fn judge(&self, subject: Subject<'_>) -> Finding {
        match self {
            Self::Accept => Finding::from(true),
            Self::AuthenticatedUser => of_user(subject, |_| true),
            Self::Email(matcher) => of_user(subject, |email| matcher.matches(email)),
            Self::Domain(matcher) => of_user(subject, |email| {
                email
                    .split_once('@')
                    .is_some_and(|(_, domain)| matcher.matches(domain))
            }),
            Self::McpTool(matcher) => {
                Finding::from(subject.tool.is_some_and(|tool| matcher.matches(tool)))
            }
        }
    }
}

fn of_user(subject: Subject<'_>, holds: impl Fn(&str) -> bool) -> Finding {
    match subject.user {
        Some(user) => Finding::from(holds(user.email())),
        None => Finding {
            holds: false,
            wants_user: true,
        },
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
