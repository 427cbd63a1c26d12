//! Audit lines: one JSON object for each request that the policy judged, as Pomerium's authorize
//! service logs it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::gate::{Visit, authority};
use super::json_rpc::Call;
use super::policy::{Judgement, Verdict};
use super::sessions::{DemoUser, Session};
use super::vault::unix;

/// Where audit lines go: called with one line, without its line feed, for each judged request.
/// It is called before the request goes on, so it must not block for long.
#[derive(Clone)]
pub struct AuditSink(Arc<dyn Fn(&str) + Send + Sync>);

impl AuditSink {
    /// A sink that does this with each line.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }
}

impl fmt::Debug for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSink")
    }
}

/// What an audit line can say (`authorize_log_fields`), by Pomerium's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuditField(&'static str);

/// Fields of Pomerium's that are never known here: nobody is impersonated, nothing is Envoy's.
const ALWAYS_ABSENT: [&str; 14] = [
    "body",
    "check-request-id",
    "cluster-stat-name",
    "envoy-route-checksum",
    "envoy-route-id",
    "id-token",
    "id-token-claims",
    "impersonate-email",
    "impersonate-session-id",
    "impersonate-user-id",
    "removed-groups-count",
    "route-checksum",
    "route-id",
    "service-account-id",
];

const PRESENT: [&str; 12] = [
    "email",
    "host",
    "ip",
    "mcp-method",
    "mcp-tool",
    "mcp-tool-parameters",
    "method",
    "path",
    "query",
    "request-id",
    "session-id",
    "user",
];

impl AuditField {
    /// Pomerium's default, without what is never known here. The `mcp-*` fields are not in it.
    pub(super) const DEFAULT: [Self; 8] = [
        Self("request-id"),
        Self("method"),
        Self("path"),
        Self("host"),
        Self("ip"),
        Self("session-id"),
        Self("user"),
        Self("email"),
    ];

    /// The field of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        PRESENT
            .into_iter()
            .chain(ALWAYS_ABSENT)
            .find(|known| *known == name)
            .map(Self)
    }
}

/// What was judged, and how.
pub(super) struct Check<'a> {
    /// The request.
    pub(super) visit: &'a Visit<'a>,
    /// Whose it is.
    pub(super) session: Option<&'a Session>,
    /// What an MCP request asks for, if its body was read.
    pub(super) call: Option<&'a Call>,
    /// What the policy said.
    pub(super) judgement: &'a Judgement,
}

/// Writes audit lines.
pub(super) struct Audit {
    fields: Vec<AuditField>,
    sink: Option<AuditSink>,
}

impl Audit {
    /// Lines of these fields; without a sink, none are made.
    pub(super) const fn new(fields: Vec<AuditField>, sink: Option<AuditSink>) -> Self {
        Self { fields, sink }
    }

    /// Writes the line of one judged request.
    pub(super) fn log(&self, check: &Check<'_>) {
        if let Some(AuditSink(sink)) = &self.sink {
            sink(&self.line(check, SystemTime::now()));
        }
    }

    fn line(&self, check: &Check<'_>, now: SystemTime) -> String {
        let mut line = Line::default();
        line.put("level", "info");
        line.put("server-name", "all");
        line.put("service", "authorize");
        for AuditField(name) in &self.fields {
            if let Some(value) = check.field(name) {
                line.put(name, value);
            }
        }
        let Judgement { allow, deny, .. } = check.judgement;
        line.put_verdict("allow", allow);
        line.put_verdict("deny", deny);
        line.put("time", rfc3339(now));
        line.put("message", "authorize check");
        line.finish()
    }
}

impl Check<'_> {
    /// `None` leaves the field out; a user or session that is missing is an empty text.
    fn field(&self, name: &str) -> Option<Value> {
        let Visit {
            id, parts, peer, ..
        } = self.visit;
        let user = self.session.map(|session| session.user);
        let text = |text: Option<&str>| Some(Value::from(text.unwrap_or_default()));
        match name {
            "email" => text(user.map(DemoUser::email)),
            "host" => text(Some(authority(parts))),
            "ip" => text(Some(&peer.address.ip().to_string())),
            "mcp-method" => self.call.map(|call| json!(call.method)),
            "mcp-tool" => self.call?.tool.as_ref().map(|tool| json!(tool.name)),
            "mcp-tool-parameters" => self
                .call?
                .tool
                .as_ref()?
                .arguments
                .clone()
                .map(Value::Object),
            "method" => text(Some(parts.method.as_str())),
            "path" => text(Some(self.visit.path())),
            "query" => text(Some(self.visit.query())),
            "request-id" => text(Some(&id.to_string())),
            "session-id" => self.session.map(|session| json!(session.sid.to_string())),
            "user" => text(user.map(DemoUser::subject)),
            _ => None,
        }
    }
}

/// A JSON object whose members keep the order in which they were put.
#[derive(Default)]
struct Line(String);

impl Line {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let start = if self.0.is_empty() { '{' } else { ',' };
        self.0.push(start);
        self.0.push_str(&Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(&value.into().to_string());
    }

    fn put_verdict(&mut self, name: &str, verdict: &Verdict) {
        self.put(name, verdict.holds);
        let reasons: Vec<&str> = verdict.reasons.iter().copied().collect();
        self.put(&format!("{name}-why-{}", verdict.holds), reasons);
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A time as RFC 3339 writes it, in UTC to the second, as Pomerium's log has it.
fn rfc3339(time: SystemTime) -> String {
    let seconds = i64::try_from(unix(time)).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds);
    // What is outside of its years is 1970.
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hours, minutes, seconds) = moment.to_hms();
    let date = moment.date();
    format!("{date}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_written_as_the_log_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn only_pomeriums_own_fields_have_names() {
        assert_eq!(AuditField::named("mcp-tool"), Some(AuditField("mcp-tool")));
        assert_eq!(AuditField::named("route-id"), Some(AuditField("route-id")));
        assert_eq!(AuditField::named("password"), None);
    }
}
