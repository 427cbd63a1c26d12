//! Pomerium itself: which MCP servers there are, and the keys its assertions are signed with.

use std::{collections::HashSet, ops::Range, sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use chat::{
    failure::{Failure, Layer},
    ids::Subject,
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::{
    http::{Credential, Http, HttpError, Lane, Outgoing},
    tap::{Context, Peer},
};

/// How long Pomerium may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer: thousands of routes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The list of MCP servers (v0.33, `handler_list_routes.go`).
pub const ROUTES: &str = "/.pomerium/mcp/routes";

/// Where accounts are disconnected (v0.33, `handler_connect.go`).
const DISCONNECT: &str = "/.pomerium/mcp/routes/disconnect";

/// Where an account is connected, on the server's host: the path of the server's own URL is
/// dropped.
const CONNECT: &str = "/.pomerium/mcp/connect";

/// The keys that assertions are signed with (RFC 7517).
pub const JWKS: &str = "/.well-known/pomerium/jwks.json";

/// An MCP server behind Pomerium. Whether the user may use it is known only by trying: the list
/// is not filtered by policy, and its `connected` says nothing about servers without OAuth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The route's name, unique; its host when it has none.
    pub name: String,
    /// What it is, in the operator's words.
    pub description: Option<String>,
    /// Where MCP is spoken.
    pub url: Url,
    /// The URL's host.
    pub host: String,
    /// Whether Pomerium keeps an account's token of this user for the server. It says nothing
    /// about whether the server can be used: one that needs no account is never connected, and a
    /// token that has expired still counts (v0.33, `handler_list_routes.go`).
    pub connected: bool,
}

/// How long after its request an answer breaks off that a route's `timeout` cut: 30 s unless the
/// route sets another, and a little for the way.
pub const ROUTE_CUT: Range<Duration> = Duration::from_secs(29)..Duration::from_millis(31_500);

impl Route {
    /// Where the user's browser goes to connect an account; `back` is where it comes back to: an
    /// `https` URL of the server's host or of a client route (v0.33, `handler_connect.go`). None
    /// when the server's URL has no origin.
    pub fn connect_url(&self, back: &Url) -> Option<Url> {
        let mut url = self.url.join(CONNECT).ok()?;
        url.query_pairs_mut()
            .append_pair("redirect_url", back.as_str());
        Some(url)
    }
}

/// What a person is told when Pomerium answers with a status of its own for a device or a client
/// certificate that policy wants (v0.33, `internal/httputil/httputil.go`: 450, 495), or its like
/// (496, of other proxies). None for every other status.
pub fn wants_certificate(status: StatusCode) -> Option<Failure> {
    let code = status.as_u16();
    if !matches!(code, 450 | 495 | 496) {
        return None;
    }
    let message = format!(
        "Pomerium wants a device or client certificate that this session has not shown ({code})"
    );
    let advice = "Sign in again from a device that is registered with Pomerium. A client \
                  certificate is not passed on by Toolgate: where the policy of a route wants \
                  one, ask the operator.";
    Some(Failure::new(Layer::Pomerium, message, advice).with_status(code))
}

/// Why Pomerium did not list its servers.
#[derive(Clone, Debug, Error)]
pub enum RoutesError {
    /// The token is stale: a newer one may work.
    #[error("{}", .0.message)]
    StaleToken(Failure),
    /// Anything else.
    #[error("{}", .0.message)]
    Unavailable(Failure),
}

impl RoutesError {
    /// What a person is told.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::StaleToken(failure) | Self::Unavailable(failure) => failure,
        }
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::StaleToken(failure) | Self::Unavailable(failure) => failure,
        }
    }
}

/// Pomerium, as it is reached by the public URL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pomerium {
    http: Http,
    lane: Arc<Lane>,
    public_url: Url,
    subject: Option<Subject>,
}

impl Pomerium {
    /// `public_url` is the client route's `from`. Its host is Pomerium's from now on.
    pub fn new(http: Http, public_url: Url) -> Self {
        if let Some(host) = public_url.host_str() {
            http.trust_pomerium_host(host);
        }
        let lane = Arc::new(http.lane(&public_url));
        Self {
            http,
            lane,
            public_url,
            subject: None,
        }
    }

    /// The client route's `from`: the origin of the page.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// The same Pomerium; exchanges are recorded as made for this person.
    #[must_use]
    pub fn on_behalf_of(&self, subject: Subject) -> Self {
        Self {
            subject: Some(subject),
            ..self.clone()
        }
    }

    /// The MCP servers, by name. Their hosts are Pomerium's from now on.
    pub async fn routes(&self, token: &SecretString) -> Result<Vec<Route>, RoutesError> {
        let body = self.get(ROUTES, Some(token.clone())).await?;
        self.listed(&body)
    }

    /// Has Pomerium forget the user's account at a server, and gives the MCP servers as they are
    /// then: a server that Pomerium keeps no account for is left as it is. The account's own
    /// service is not told.
    pub async fn disconnect(
        &self,
        token: &SecretString,
        route: &Route,
    ) -> Result<Vec<Route>, RoutesError> {
        let origin = route.url.origin().ascii_serialization();
        let body = serde_json::json!({ "routes": [origin] }).to_string();
        let mut outgoing = self.outgoing(DISCONNECT, Some(token.clone()));
        outgoing.method = Method::POST;
        outgoing.body = Bytes::from(body);
        let json = HeaderValue::from_static("application/json");
        outgoing.headers.insert(header::CONTENT_TYPE, json);
        let body = self.send(outgoing).await?;
        self.listed(&body)
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Route>, RoutesError> {
        let listing: Listing = serde_json::from_slice(body).map_err(|error| {
            let message = format!("Pomerium's list of MCP servers cannot be read: {error}");
            unavailable(message, "Check the version of Pomerium: 0.33 or newer.")
        })?;
        let routes = read(listing);
        for route in &routes {
            self.http.trust_pomerium_host(&route.host);
        }
        Ok(routes)
    }

    /// The keys that assertions are signed with: a JWK set (RFC 7517), whose `keys` are null when
    /// Pomerium has none.
    pub async fn jwks(&self) -> Result<Value, Failure> {
        let body = self
            .get(JWKS, None)
            .await
            .map_err(RoutesError::into_failure)?;
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("Pomerium's keys cannot be read: {error}");
            Failure::new(Layer::Pomerium, message, "Check TOOLGATE_PUBLIC_URL.")
        })
    }

    async fn get(&self, path: &str, token: Option<SecretString>) -> Result<Bytes, RoutesError> {
        self.send(self.outgoing(path, token)).await
    }

    fn outgoing(&self, path: &str, token: Option<SecretString>) -> Outgoing {
        let mut url = self.public_url.clone();
        url.set_path(path);
        url.set_query(None);
        let mut headers = HeaderMap::new();
        // With any other Accept an expired session is a redirect.
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Outgoing {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
            credential: token.map_or(Credential::None, Credential::ExternalToken),
            context: Context {
                peer: Peer::Pomerium,
                subject: self.subject.clone(),
                ..Context::default()
            },
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Bytes, RoutesError> {
        let answering = async {
            let answer = self
                .http
                .send(&self.lane, outgoing)
                .await
                .map_err(unreachable)?;
            let (status, request_id) = (answer.status, answer.request_id());
            let body = answer.body.whole(ANSWER_BYTES).await.map_err(unreachable)?;
            if status == StatusCode::OK {
                return Ok(body);
            }
            Err(refused(status, request_id))
        };
        tokio::time::timeout(DEADLINE, answering)
            .await
            .unwrap_or_else(|_| {
                let message = format!("Pomerium did not answer within {} s", DEADLINE.as_secs());
                Err(unavailable(message, REACH))
            })
    }
}

const REACH: &str = "Check that Pomerium is up, and TOOLGATE_POMERIUM_ADDR.";

fn unavailable(message: impl Into<String>, advice: &str) -> RoutesError {
    RoutesError::Unavailable(Failure::new(Layer::Pomerium, message, advice))
}

#[expect(clippy::needless_pass_by_value, reason = "a step of `map_err`")]
fn unreachable(error: HttpError) -> RoutesError {
    unavailable(format!("Pomerium cannot be reached: {error}"), REACH)
}

fn refused(status: StatusCode, request_id: Option<String>) -> RoutesError {
    if let Some(failure) = wants_certificate(status) {
        return RoutesError::Unavailable(failure.with_request_id(request_id));
    }
    let stale = status == StatusCode::UNAUTHORIZED;
    let (message, advice) = match status {
        StatusCode::UNAUTHORIZED => (
            "Pomerium does not take the session's token (any more)".to_owned(),
            "Come back to the page, or sign in again.",
        ),
        StatusCode::NOT_FOUND => (
            "Pomerium does not know the address (404)".to_owned(),
            "Check that TOOLGATE_PUBLIC_URL is a route with `mcp: {client: {}}`, and that the \
             runtime flag `mcp` is on.",
        ),
        status if status.is_redirection() => (
            format!(
                "Pomerium redirects instead of answering ({})",
                status.as_u16()
            ),
            "Check that TOOLGATE_PUBLIC_URL and TOOLGATE_POMERIUM_ADDR lead to Pomerium's proxy.",
        ),
        status => (
            format!("Pomerium failed ({})", status.as_u16()),
            "Try again in a moment.",
        ),
    };
    let failure = Failure::new(Layer::Pomerium, message, advice)
        .with_status(status.as_u16())
        .with_request_id(request_id);
    if stale {
        RoutesError::StaleToken(failure)
    } else {
        RoutesError::Unavailable(failure)
    }
}

#[derive(Deserialize)]
struct Listing {
    servers: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    name: Option<String>,
    description: Option<String>,
    url: String,
    connected: Option<bool>,
}

/// The routes that can be used, sorted and with unique names: Pomerium lists them in random order.
fn read(listing: Listing) -> Vec<Route> {
    let listed = listing.servers.unwrap_or_default().into_iter();
    let mut routes: Vec<Route> = listed.filter_map(route).collect();
    routes.sort_by(|a, b| (&a.name, a.url.as_str()).cmp(&(&b.name, b.url.as_str())));
    let mut names = HashSet::new();
    for route in &mut routes {
        if names.contains(&route.name) {
            route.name = format!("{} ({})", route.name, route.host);
        }
        let base = route.name.clone();
        for number in 2.. {
            if names.insert(route.name.clone()) {
                break;
            }
            route.name = format!("{base} {number}");
        }
    }
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    routes
}

fn route(listed: Listed) -> Option<Route> {
    // A wildcard host is a pattern, not a place.
    let url = Url::parse(&listed.url)
        .ok()
        .filter(|_| !listed.url.contains('*'))?;
    let host = url
        .host_str()
        .filter(|_| matches!(url.scheme(), "http" | "https"))?
        .to_owned();
    let name = listed.name.filter(|name| !name.trim().is_empty());
    let description = listed.description.filter(|text| !text.is_empty());
    Some(Route {
        name: name.unwrap_or_else(|| host.clone()),
        description,
        url,
        host,
        connected: listed.connected.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::{
        http::HttpOptions,
        tap::{Exchange, Tap},
    };

    fn names(json: &str) -> Vec<String> {
        read(serde_json::from_str(json).unwrap())
            .into_iter()
            .map(|route| route.name)
            .collect()
    }

    #[test]
    fn no_servers_are_no_routes() {
        assert!(names(r#"{"servers":null}"#).is_empty());
        assert!(names(r#"{"servers":[]}"#).is_empty());
        assert!(names("{}").is_empty());
    }

    #[test]
    fn what_is_no_place_is_skipped_and_names_become_unique() {
        let listing = r#"{"servers":[
            {"name":"Zed","url":"https://z.example.com/mcp","connected":false,"needs_oauth":true},
            {"name":"Any","url":"https://*.example.com"},
            {"name":"Mail","url":"mailto:a@example.com"},
            {"name":"Odd","url":"not a url"},
            {"url":"https://bare.example.com","token_expires_at":"2026-01-01T00:00:00Z"},
            {"name":"Database","url":"https://b.example.com","logo_url":"https://x/y.png"},
            {"name":"Database","url":"https://a.example.com"},
            {"name":"Database","url":"https://a.example.com/other"}
        ]}"#;
        assert_eq!(
            names(listing),
            [
                "Database",
                "Database (a.example.com)",
                "Database (b.example.com)",
                "Zed",
                "bare.example.com"
            ]
        );
    }

    #[test]
    fn an_account_is_connected_at_the_origin_of_the_server() {
        let listing = r#"{"servers":[
            {"name":"Notes","url":"https://notes.example.com:8443/mcp/v1?x=1#y","connected":true}
        ]}"#;
        let routes = read(serde_json::from_str(listing).unwrap());
        assert!(routes[0].connected);
        let back = "https://chat.example.com/connected?server=My+notes%26";
        let url = routes[0].connect_url(&back.parse().unwrap()).unwrap();
        assert_eq!(
            url.as_str(),
            "https://notes.example.com:8443/.pomerium/mcp/connect?redirect_url=https%3A%2F%2F\
             chat.example.com%2Fconnected%3Fserver%3DMy%2Bnotes%2526"
        );
    }

    #[test]
    fn only_a_401_is_a_stale_token() {
        let id = Some("req-1".to_owned());
        let stale = refused(StatusCode::UNAUTHORIZED, id.clone());
        assert!(matches!(&stale, RoutesError::StaleToken(_)));
        assert_eq!(stale.failure().request_id, id);
        for status in [302, 404, 500, 503] {
            let error = refused(StatusCode::from_u16(status).unwrap(), None);
            assert!(matches!(&error, RoutesError::Unavailable(_)), "{status}");
            assert!(!error.failure().advice.is_empty());
            assert_eq!(error.failure().status, Some(status));
        }
    }

    #[test]
    fn a_missing_certificate_is_named_and_no_failure_of_pomeriums() {
        for status in [450, 495, 496] {
            let error = refused(StatusCode::from_u16(status).unwrap(), Some("r".to_owned()));
            assert!(matches!(&error, RoutesError::Unavailable(_)), "{status}");
            let failure = error.failure();
            assert!(
                failure.message.contains("device or client certificate"),
                "{failure:?}"
            );
            assert!(failure.advice.contains("registered"), "{failure:?}");
            assert_eq!(failure.status, Some(status));
            assert_eq!(failure.request_id.as_deref(), Some("r"));
        }
        assert_eq!(wants_certificate(StatusCode::FORBIDDEN), None);
    }

    /// Whom each exchange was recorded for.
    #[derive(Default)]
    struct Records(Mutex<Vec<Option<Subject>>>);

    impl Tap for Records {
        fn finished(&self, exchange: &Exchange) {
            let subject = exchange.context.subject.clone();
            self.0.lock().unwrap().push(subject);
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_a_person_is_recorded_for_them() {
        let records = Arc::new(Records::default());
        let http = Http::new(HttpOptions {
            // Nobody is there, and that is recorded too.
            pomerium_addr: Some("127.0.0.1:1".to_owned()),
            ca_pem: None,
            tap: records.clone(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        let public_url = "https://chat.example.com".parse().unwrap();
        let pomerium = Pomerium::new(http.unwrap(), public_url);
        let ana = Subject::from("ana");
        let asked = pomerium.on_behalf_of(ana.clone());
        asked.routes(&"TE".into()).await.unwrap_err();
        pomerium.jwks().await.unwrap_err();
        assert_eq!(*records.0.lock().unwrap(), [Some(ana), None]);
    }
}
