//! Towards the upstreams: what a request loses and gains on the way, and what becomes of failures.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};

use super::Error;
use super::answer::{Answer, Body, REQUEST_ID};
use super::assertion::ASSERTION_HEADER;
use super::config::{Identity, Kind, Route, UpstreamHost};
use super::credentials::{COOKIE_NAME, PROGRAM_TOKEN_HEADER, cookies};
use super::gate::{Gate, Visit, authority};
use super::listen::{Scheme, Tracked};
use super::sessions::Session;
use super::upstream_auth::bearer;

/// How long a connection may take to open, as Envoy's cluster default in Pomerium.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept: less than servers usually do, so that a request seldom
/// meets a connection that its server has just closed.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Unused connections kept for each upstream.
const POOL_SIZE: usize = 32;

/// A client's word about who it is; passed on only where identity is passed, and worth nothing.
const ASSERTION_FOR: HeaderName = HeaderName::from_static("x-pomerium-jwt-assertion-for");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const ENVOY_INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// The client for every upstream.
pub(super) struct Upstream {
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// A client whose connections end with `tasks`.
    pub(super) fn new(tasks: Tracked) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(tasks)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .build(connector);
        Self { client }
    }

    /// A request for the route's upstream. A path in `to` takes the place of the first `/`, as
    /// Envoy's `prefix_rewrite` does: `/x` becomes `/mcpx`.
    pub(super) fn request(
        route: &Route,
        parts: &Parts,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Request<Body>, Error> {
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let prefix = route.to.path();
        let rest = path.strip_prefix('/').unwrap_or(path);
        let uri = Uri::builder()
            .scheme(route.to.scheme())
            .authority(route.to.authority())
            .path_and_query(format!("{prefix}{rest}"))
            .build()?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends a request; the answer's body streams. A failure is told in Envoy's words.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Answer, String> {
        let answer = self.client.request(request).await;
        let (mut parts, body) = answer.map_err(|error| details(&error))?.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        parts.version = Version::default();
        let body = body.map_err(Into::into).boxed_unsync();
        Ok(Answer::from_parts(parts, body))
    }
}

impl Gate {
    /// The headers of a request as its upstream gets them.
    pub(super) fn upstream_headers(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: Option<&Session>,
    ) -> Result<HeaderMap, Error> {
        let mut headers = visit.parts.headers.clone();
        remove_hop_by_hop(&mut headers);
        remove_pomerium_cookie(&mut headers);
        remove_program_token(&mut headers);
        add_forwarding(&mut headers, visit, route)?;

        headers.remove(ASSERTION_HEADER);
        match route.identity {
            Identity::Passed => {
                let assertion = self.signer.assert(session, &route.host)?;
                headers.insert(ASSERTION_HEADER, HeaderValue::try_from(assertion)?);
            }
            Identity::Withheld => {
                headers.remove(ASSERTION_FOR);
            }
        }
        // Where nobody is signed in, what the client says passes.
        match (&route.kind, session) {
            (Kind::Plain, _) | (_, None) => {}
            (Kind::Server(_), Some(_)) => {
                headers.remove(AUTHORIZATION);
            }
            (Kind::Client, Some(session)) => {
                let te = self.issue_te(session)?;
                headers.insert(AUTHORIZATION, bearer(&te)?);
            }
        }
        Ok(headers)
    }
}

fn add_forwarding(headers: &mut HeaderMap, visit: &Visit<'_>, route: &Route) -> Result<(), Error> {
    headers.insert(REQUEST_ID, HeaderValue::try_from(visit.id.to_string())?);
    if !headers.contains_key(FORWARDED_FOR) {
        headers.insert(ENVOY_INTERNAL, HeaderValue::from_static("true"));
    }
    let address = visit.peer.address.ip().to_string();
    append(headers, FORWARDED_FOR, &address)?;
    let scheme = match visit.peer.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));

    let asked_for = authority(visit.parts);
    let host = match route.upstream_host {
        UpstreamHost::Preserved => asked_for,
        UpstreamHost::OfUpstream => {
            append(headers, FORWARDED_HOST, asked_for)?;
            route.to.authority()
        }
    };
    headers.insert(HOST, HeaderValue::try_from(host)?);
    Ok(())
}

/// Adds to a list that the client may have begun.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Error> {
    let mut list: Vec<&str> = headers
        .get_all(&name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    list.push(value);
    let list = HeaderValue::try_from(list.join(","))?;
    headers.insert(name, list);
    Ok(())
}

/// Takes a program's token out, but for the form `Bearer Pomerium-…`, which Pomerium passes on
/// where it puts nothing in its place.
fn remove_program_token(headers: &mut HeaderMap) {
    headers.remove(PROGRAM_TOKEN_HEADER);
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if authorization.is_some_and(|value| value.starts_with(b"Pomerium ")) {
        headers.remove(AUTHORIZATION);
    }
}

/// Takes Pomerium's cookie out. The header stays, empty when nothing else was in it.
fn remove_pomerium_cookie(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let rest: Vec<String> = cookies(headers)
        .filter(|(name, _)| *name != COOKIE_NAME)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    match HeaderValue::try_from(rest.join("; ")) {
        Ok(rest) => headers.insert(COOKIE, rest),
        Err(_) => headers.remove(COOKIE),
    };
}

/// RFC 9110 section 7.6.1, and what `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// Envoy's response code details for a request that got no answer.
fn details(error: &legacy::Error) -> String {
    let mut source = error.source();
    let mut cause = None;
    while let Some(next) = source {
        cause = next.downcast_ref::<io::Error>().or(cause);
        source = next.source();
    }
    let reason = if error.is_connect() {
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => "connection_timeout".to_owned(),
            Some(io::ErrorKind::ConnectionRefused) => {
                "remote_connection_failure|delayed_connect_error:_Connection_refused".to_owned()
            }
            Some(_) | None => "remote_connection_failure|delayed_connect_error".to_owned(),
        }
    } else {
        "connection_termination".to_owned()
    };
    format!("upstream_reset_before_response_started{{{reason}}}")
}
