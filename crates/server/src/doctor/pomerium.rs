//! Pomerium: whether it is there, is who it should be, and knows Toolgate's route.

use std::time::Duration;

use chat::failure::Failure;
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use url::Url;
use wire::pomerium::{JWKS, Pomerium, ROUTES, Route, wants_certificate};

use super::{
    login::Login,
    origin,
    report::{Check, Group, Report, Verdict},
    way::{Answer, Way},
};
use crate::{clock, config::Config, identity::usable_keys};

/// How far the clocks may be apart before it is told, seconds: assertions live 300 s, and 60 s of
/// difference are forgiven.
const SKEW_SECONDS: i64 = 30;

/// How long the stream of `--long` must live: past Pomerium's 30 s.
const LONG: Duration = Duration::from_secs(34);

/// A visit to Pomerium.
pub(super) struct Visit<'a> {
    pub(super) way: &'a Way,
    pub(super) config: &'a Config,
    pub(super) public_url: &'a Url,
    pub(super) login: &'a Result<Login, Check>,
    /// Whether to wait until a long answer is cut or is not.
    pub(super) long: bool,
}

impl Visit<'_> {
    /// Checks Pomerium, and returns the MCP servers that it lists.
    pub(super) async fn check(&self, report: &mut Report) -> Vec<Route> {
        let pomerium = Pomerium::new(self.way.http.clone(), self.public_url.clone());
        let keys = match self.way.get(self.at(JWKS)).await {
            Ok(answer) => answer,
            Err(problem) => {
                report.add(&self.unreachable(&problem));
                return Vec::new();
            }
        };
        report.add(&self.reached(&keys));
        report.add(&self.keys(&keys));
        report.extend(skew(&keys, clock::now()));
        if let Some(check) = self.listing_without_token().await {
            report.add(&check);
        }
        let login = match self.login {
            Ok(login) => login,
            Err(check) => {
                report.add(check);
                return Vec::new();
            }
        };
        let signed_in = self.session(login).await;
        let here = signed_in.verdict == Verdict::Ok;
        report.add(&signed_in);
        let routes = match pomerium.routes(login.token()).await {
            Ok(routes) => routes,
            Err(error) => {
                let failure = error.failure();
                let what = format!("MCP servers: {}", failure.message);
                let check = Check::fail(Group::Pomerium, "pomerium.servers", what);
                report.add(&check.mend(self.advice(failure.status, &failure.advice)));
                return Vec::new();
            }
        };
        report.add(&listed(&routes));
        if self.long && here {
            report.add(&self.long_answer(login).await);
        }
        routes
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(path);
        url
    }

    fn unreachable(&self, problem: &str) -> Check {
        let place = origin(self.public_url);
        let host = self.public_url.host_str().unwrap_or_default();
        let what = format!("{place} cannot be reached: {problem}");
        let address = match &self.config.pomerium_addr {
            Some(address) => format!("TOOLGATE_POMERIUM_ADDR={address}"),
            None => "TOOLGATE_POMERIUM_ADDR (not set)".to_owned(),
        };
        let has = |word: &str| problem.to_ascii_lowercase().contains(word);
        let mend = if has("unknownissuer") || has("unknown issuer") || has("self-signed") {
            "set TOOLGATE_CA_FILE to a PEM file with the authority that signed Pomerium's \
             certificate"
                .to_owned()
        } else if has("notvalidforname") || has("not valid for name") {
            format!(
                "give Pomerium a certificate for {host} (`certificate_file`, or `autocert`), or \
                 correct {address}"
            )
        } else if has("expired") {
            "renew Pomerium's certificate (`certificate_file`)".to_owned()
        } else if has("lookup") || has("name or service") || has("dns") {
            format!("make {host} lead to Pomerium here, or set TOOLGATE_POMERIUM_ADDR=HOST:443")
        } else if has("not sent") {
            "set TOOLGATE_PUBLIC_URL to an https:// address".to_owned()
        } else if has("invalidcontenttype") || has("corrupt message") {
            format!("correct {address}: what answers there does not speak TLS")
        } else {
            format!("start Pomerium, or correct {address}")
        };
        Check::fail(Group::Pomerium, "pomerium.reach", what).mend(mend)
    }

    fn reached(&self, answer: &Answer) -> Check {
        let place = origin(self.public_url);
        let by = match &self.config.pomerium_addr {
            Some(address) => format!(" at {address}"),
            None => String::new(),
        };
        let sure = if self.public_url.scheme() == "https" || self.config.pomerium_addr.is_some() {
            ", its certificate is good"
        } else {
            ", on this machine and without TLS"
        };
        let took = answer.took.as_millis();
        let what = format!("{place} reached{by}{sure} ({took} ms)");
        Check::ok(Group::Pomerium, "pomerium.reach", what)
    }

    fn keys(&self, answer: &Answer) -> Check {
        let id = "pomerium.keys";
        let fail = |what: String, mend: String| Check::fail(Group::Pomerium, id, what).mend(mend);
        if answer.status != StatusCode::OK || answer.json().get("keys").is_none() {
            let what = format!("{JWKS}: no key set, but {}", answer.status);
            let place = origin(self.public_url);
            let mend = format!("make {place} lead to Pomerium's proxy (TOOLGATE_POMERIUM_ADDR)");
            return fail(what, mend);
        }
        let usable = usable_keys(&answer.json()).len();
        if usable == 0 {
            let what = format!("{JWKS}: no key that assertions can be verified with");
            let mend = "set `signing_key` (EC P-256 or RSA) or `shared_secret` in Pomerium's \
                        configuration";
            return fail(what, mend.to_owned());
        }
        let what = format!("{usable} key(s) to verify assertions with");
        Check::ok(Group::Pomerium, id, what)
    }

    /// What the list of MCP servers answers to nobody: whether the `mcp` flag is on.
    async fn listing_without_token(&self) -> Option<Check> {
        let id = "pomerium.mcp";
        let fail = |what: String| Check::fail(Group::Pomerium, id, what);
        let answer = match self.way.get(self.at(ROUTES)).await {
            Ok(answer) => answer,
            Err(problem) => return Some(fail(format!("{ROUTES}: {problem}"))),
        };
        let status = answer.status;
        if let Some(failure) = wants_certificate(status) {
            return Some(fail(format!("{ROUTES}: {}", failure.message)).mend(failure.advice));
        }
        Some(match status {
            StatusCode::UNAUTHORIZED if answer.json().get("error").is_some() => {
                let what = "MCP is on, and asks for a token";
                Check::ok(Group::Pomerium, id, what)
            }
            StatusCode::NOT_FOUND => fail(format!("{ROUTES} is not there (404)")).mend(
                "set `runtime_flags: {mcp: true}` in Pomerium's configuration (version 0.33 or \
                 newer)",
            ),
            StatusCode::SERVICE_UNAVAILABLE => {
                let what = format!("{ROUTES} fails ({status})");
                fail(what).mend("look at Pomerium's log: its databroker cannot be reached")
            }
            _ => {
                let what = format!("{ROUTES} answers {status}, where Pomerium says 401");
                let place = origin(self.public_url);
                fail(what).mend(format!("make {place} lead to Pomerium's proxy"))
            }
        })
    }

    /// Toolgate itself, through Pomerium.
    async fn session(&self, login: &Login) -> Check {
        let id = "pomerium.route";
        let (headers, credential) = login.beside_authorization();
        let asking = self
            .way
            .get_with(self.at("/api/session"), headers, credential);
        let answer = match asking.await {
            Ok(answer) => answer,
            Err(problem) => {
                let what = format!("Toolgate's route: {problem}");
                return Check::fail(Group::Pomerium, id, what).mend(self.advice(None, ""));
            }
        };
        let body = answer.json();
        let seen = Seen::of(answer.status, &body);
        let id_told = answer.request_id.as_deref().unwrap_or("unknown");
        let fail = |what: String| Check::fail(Group::Pomerium, id, what);
        match seen {
            Seen::SignedIn { name, token: true } => {
                let what = format!("Toolgate answers behind its route, to {name}, with a token");
                Check::ok(Group::Pomerium, id, what)
            }
            Seen::SignedIn { name, token: false } => {
                let what = format!("Toolgate's route tells it who asks ({name}), and no token");
                fail(what).mend("set `mcp: {client: {}}` on Toolgate's route in Pomerium")
            }
            Seen::NoAssertion => {
                let what = "Toolgate answers behind its route, but is not told who asks";
                fail(what.to_owned())
                    .mend("set `pass_identity_headers: true` on Toolgate's route in Pomerium")
            }
            Seen::BadAssertion(detail) => {
                let what = format!("Toolgate refuses Pomerium's assertion: {detail}");
                let place = origin(self.public_url);
                fail(what).mend(format!(
                    "set TOOLGATE_PUBLIC_URL of that Toolgate to {place}, and its clock by NTP"
                ))
            }
            Seen::NotSignedIn => {
                fail("the login has ended".to_owned()).mend(self.advice(Some(401), ""))
            }
            Seen::WantsCertificate(Failure {
                message, advice, ..
            }) => fail(format!("{message} (request {id_told})")).mend(advice),
            Seen::Denied => {
                let what = format!("Pomerium's policy does not let you in (request {id_told})");
                fail(what).mend("let yourself in by the `policy` of Toolgate's route")
            }
            Seen::Down => {
                let what = format!("Pomerium cannot reach Toolgate ({})", answer.status);
                let mend = "start Toolgate, and set `to` of its route to TOOLGATE_LISTEN as \
                            Pomerium reaches it";
                fail(what).mend(mend)
            }
            Seen::Stranger => {
                let what = format!(
                    "something else answers behind the route ({})",
                    answer.status
                );
                let mend = "set `to` of Toolgate's route to where this Toolgate listens \
                            (TOOLGATE_LISTEN)";
                fail(what).mend(mend)
            }
        }
    }

    /// Whether a stream lives past the 30 s that a route without `timeout: 0s` has.
    async fn long_answer(&self, login: &Login) -> Check {
        let id = "pomerium.long";
        let fail = |what: String| {
            let mend = "set `timeout: 0s` and `idle_timeout: 0s` on Toolgate's route in Pomerium";
            Check::fail(Group::Pomerium, id, what).mend(mend)
        };
        let started = tokio::time::Instant::now();
        let (mut headers, credential) = login.beside_authorization();
        let stream = HeaderValue::from_static("text/event-stream");
        headers.insert(header::ACCEPT, stream);
        let opening = self.way.begin(self.at("/api/events"), headers, credential);
        let opened = opening.await;
        let mut stream = match opened {
            Ok(answer) if answer.status == StatusCode::OK => answer.body,
            Ok(answer) => return fail(format!("no event stream, but {}", answer.status)),
            Err(error) => return fail(format!("no event stream: {error}")),
        };
        let reading = async { while let Some(Ok(_)) = stream.next().await {} };
        let cut = tokio::time::timeout_at(started + LONG, reading)
            .await
            .is_ok();
        if cut {
            let seconds = started.elapsed().as_secs_f32();
            return fail(format!(
                "answers through Pomerium are cut after {seconds:.0} s"
            ));
        }
        let what = format!("an answer of {} s arrives whole", LONG.as_secs());
        Check::ok(Group::Pomerium, id, what)
    }

    fn advice(&self, status: Option<u16>, advice: &str) -> String {
        if status == Some(401) {
            format!("run `toolgate login {}`", origin(self.public_url))
        } else if advice.is_empty() {
            "look at Pomerium's log, then run `toolgate doctor` again".to_owned()
        } else {
            advice.to_owned()
        }
    }
}

/// What answered behind the route.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    SignedIn { name: String, token: bool },
    NoAssertion,
    BadAssertion(String),
    NotSignedIn,
    Denied,
    WantsCertificate(Failure),
    Down,
    Stranger,
}

impl Seen {
    fn of(status: StatusCode, body: &Value) -> Self {
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        // Pomerium's own word has `error`, Toolgate's has `code`.
        let code = text("code");
        if let Some(failure) = wants_certificate(status) {
            return Self::WantsCertificate(failure);
        }
        match (status, code.as_deref()) {
            (StatusCode::OK, _) => match (text("name"), body.get("token_seconds")) {
                (Some(name), Some(left)) => Self::SignedIn {
                    name,
                    token: !left.is_null(),
                },
                _ => Self::Stranger,
            },
            (_, Some("no_assertion")) => Self::NoAssertion,
            (_, Some("bad_assertion" | "no_keys")) => {
                Self::BadAssertion(text("detail").unwrap_or_default())
            }
            (StatusCode::UNAUTHORIZED, _) => Self::NotSignedIn,
            (StatusCode::FORBIDDEN, _) => Self::Denied,
            (
                StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT,
                _,
            ) => Self::Down,
            _ if status.is_redirection() => Self::NotSignedIn,
            _ => Self::Stranger,
        }
    }
}

fn listed(routes: &[Route]) -> Check {
    let id = "pomerium.servers";
    if routes.is_empty() {
        let what = "Pomerium lists no MCP server: there is no tool to use";
        let mend = "set `mcp: {server: {max_request_bytes: 1048576}}` on an MCP server's route";
        return Check::warn(Group::Pomerium, id, what).mend(mend);
    }
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    let what = format!("{} MCP server(s): {}", routes.len(), names.join(", "));
    Check::ok(Group::Pomerium, id, what)
}

/// How far Pomerium's clock is from ours (milliseconds since 1970).
fn skew(answer: &Answer, now: i64) -> Option<Check> {
    let id = "pomerium.clock";
    let date = answer.headers.get(header::DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let theirs = i64::try_from(since.as_secs()).ok()?;
    let ahead = theirs - now.div_euclid(1000);
    if ahead.abs() <= SKEW_SECONDS {
        return Some(Check::ok(Group::Pomerium, id, "clocks agree"));
    }
    let word = if ahead > 0 { "ahead of" } else { "behind" };
    let seconds = ahead.abs();
    let what = format!(
        "Pomerium's clock is {seconds} s {word} this machine's: assertions are refused above 60 s"
    );
    Some(Check::warn(Group::Pomerium, id, what).mend("set both clocks by NTP"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_answer_behind_the_route_is_told_apart() {
        let pomeriums = json!({"error": "Unauthenticated", "request_id": "r"});
        for (status, body, seen) in [
            (
                401,
                json!({"code": "no_assertion", "layer": "toolgate"}),
                Seen::NoAssertion,
            ),
            (
                401,
                json!({"code": "bad_assertion", "detail": "d"}),
                Seen::BadAssertion("d".to_owned()),
            ),
            (401, pomeriums, Seen::NotSignedIn),
            (302, Value::Null, Seen::NotSignedIn),
            (403, Value::Null, Seen::Denied),
            (502, Value::Null, Seen::Down),
            (503, Value::Null, Seen::Down),
            (404, Value::Null, Seen::Stranger),
            (200, json!({"name": "grafana"}), Seen::Stranger),
            (200, Value::Null, Seen::Stranger),
            (
                200,
                json!({"name": "Ana", "token_seconds": null}),
                Seen::SignedIn {
                    name: "Ana".to_owned(),
                    token: false,
                },
            ),
            (
                200,
                json!({"name": "Ana", "token_seconds": 299}),
                Seen::SignedIn {
                    name: "Ana".to_owned(),
                    token: true,
                },
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Seen::of(status, &body), seen, "{status} {body}");
        }
    }

    #[test]
    fn a_missing_certificate_is_told_apart_from_a_stranger() {
        for status in [450, 495, 496] {
            let status = StatusCode::from_u16(status).unwrap();
            let seen = Seen::of(status, &json!({"error": "device not authorized"}));
            assert!(matches!(seen, Seen::WantsCertificate(_)), "{seen:?}");
        }
    }

    #[test]
    fn clocks_may_be_half_a_minute_apart() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::DATE,
            "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap(),
        );
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
            request_id: None,
            took: Duration::ZERO,
        };
        let theirs = 784_111_777_000;
        for (ours, verdict) in [
            (theirs, Verdict::Ok),
            (theirs - 30_000, Verdict::Ok),
            (theirs - 31_000, Verdict::Warn),
            (theirs + 90_000, Verdict::Warn),
        ] {
            assert_eq!(skew(&answer, ours).unwrap().verdict, verdict, "{ours}");
        }
    }
}
