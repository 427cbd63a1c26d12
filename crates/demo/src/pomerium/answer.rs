//! The stand-in's own answers, as Pomerium words them.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HeaderName, InvalidHeaderValue, LOCATION, REFERRER_POLICY, SERVER,
    STRICT_TRANSPORT_SECURITY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use uuid::Uuid;

use super::accept::{Wanted, wanted};
use super::listen::Scheme;
use super::page;

/// Why a body broke off.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Any body that passes through here.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// The answer to a request.
pub(super) type Answer = Response<Body>;

/// What an answer has to know about its request.
pub(super) struct Asked<'a> {
    /// The id of this request, in every answer and every log line.
    pub(super) id: Uuid,
    /// The request's headers.
    pub(super) headers: &'a HeaderMap,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const UTF8_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Marks a page that Pomerium put in the place of the upstream's answer.
const INTERCEPTED: HeaderName = HeaderName::from_static("x-pomerium-intercepted-response");

/// The policy on every page and answer of Pomerium's own handlers.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self' 'unsafe-inline' data:; img-src * data:; \
     script-src 'self' 'unsafe-inline'; font-src data:; connect-src 'self'",
);

/// A body that is known whole.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// Plain text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    filled(status, TEXT, text)
}

/// Plain text of Pomerium's own handlers.
pub(super) fn plain(text: String) -> Answer {
    own_handler(filled(StatusCode::OK, UTF8_TEXT, text))
}

/// An error of Pomerium's own handlers, as Go's `http.Error` writes it: one line of text.
pub(super) fn handler_error(status: StatusCode, line: &'static str) -> Answer {
    let mut answer = own_handler(filled(status, UTF8_TEXT, line));
    let nosniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// A handler of Pomerium's own failed.
pub(super) fn internal_error() -> Answer {
    let line = "internal server error\n";
    handler_error(StatusCode::INTERNAL_SERVER_ERROR, line)
}

/// What stands in the place of an upstream's answer that wants a token.
pub(super) fn no_store(status: StatusCode) -> Answer {
    let mut answer = empty(status);
    let none = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, none);
    answer
}

/// Where an MCP client finds out how to get a token for this resource (RFC 9728 section 5.1).
pub(super) fn challenge(host: &str, path: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let path = if path == "/" { "" } else { path };
    HeaderValue::try_from(format!(
        r#"Bearer resource_metadata="https://{host}/.well-known/oauth-protected-resource{path}""#
    ))
}

/// JSON that is ready.
pub(super) fn json(bytes: impl Into<Bytes>) -> Answer {
    filled(StatusCode::OK, JSON, bytes)
}

/// A page.
pub(super) fn page(status: StatusCode, html: String) -> Answer {
    own_handler(filled(status, HTML, html))
}

/// Somewhere else, without a page.
pub(super) fn redirect(status: StatusCode, location: &str) -> Answer {
    let mut answer = empty(status);
    set_location(&mut answer, location);
    answer
}

/// Adds what Pomerium's own handlers add.
pub(super) fn own_handler(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("Same-origin"));
    answer
}

/// Nobody is signed in and a page is wanted: off to the sign-in page.
pub(super) fn sign_in(location: &str) -> Answer {
    let mut answer = intercepted(
        StatusCode::FOUND,
        "Sign in",
        "You are being sent to sign in.",
    );
    set_location(&mut answer, location);
    answer
}

/// A refusal in the form that the request prefers.
pub(super) fn refusal(asked: &Asked<'_>, status: StatusCode, reason: &str) -> Answer {
    match wanted(asked.headers) {
        Wanted::Json => {
            let body = json!({"error": reason, "request_id": asked.id.to_string()});
            filled(status, JSON, body.to_string())
        }
        Wanted::Page | Wanted::Text => {
            let said = format!("Request {}", asked.id);
            intercepted(status, reason, &said)
        }
    }
}

/// A refusal on a route of an MCP server: never a redirect, and readable across origins.
pub(super) fn server_refusal(asked: &Asked<'_>, host: &str, path: &str) -> Answer {
    let mut answer = refusal(asked, StatusCode::UNAUTHORIZED, "Unauthorized");
    if let Ok(challenge) = challenge(host, path) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    cross_origin(answer.headers_mut());
    answer
}

/// Policy refuses a readable JSON-RPC request: a protocol error in a good answer. The `id` is
/// the request's own, left out when it had none.
pub(super) fn denied_call(asked: &Asked<'_>, id: Option<&str>) -> Answer {
    let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
    let request = asked.id;
    let body = format!(
        r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32602,"message":"access denied, please see the authorization log for the request {request} for details","data":{{"request_id":"{request}"}}}}}}"#
    );
    let mut answer = filled(StatusCode::OK, JSON, body);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    cross_origin(headers);
    answer
}

/// An error of the proxy itself, with the words of its access log.
pub(super) fn proxy_error(asked: &Asked<'_>, status: StatusCode, details: &str) -> Answer {
    match wanted(asked.headers) {
        Wanted::Json => {
            let body = format!(
                "{{\n  \"requestId\": \"{}\",\n  \"status\": \"{}\",\n  \"statusText\": {}\n}}",
                asked.id,
                status.as_u16(),
                serde_json::Value::from(details)
            );
            let json = HeaderValue::from_static("application/json; charset=UTF-8");
            filled(status, json, body)
        }
        Wanted::Page | Wanted::Text => {
            let html = page::error(status, details, &format!("Request {}", asked.id));
            filled(status, HTML, html)
        }
    }
}

/// A request that the proxy does not even read: the connection ends with the answer.
pub(super) fn unreadable(version: Version, said: &'static str) -> Answer {
    let answer = if said.is_empty() {
        empty(StatusCode::BAD_REQUEST)
    } else {
        text(StatusCode::BAD_REQUEST, said)
    };
    last(answer, version)
}

/// A request body that the proxy cannot hold: the connection ends with the answer.
pub(super) fn payload_too_large(version: Version) -> Answer {
    let said = "Payload Too Large";
    last(text(StatusCode::PAYLOAD_TOO_LARGE, said), version)
}

/// Adds the headers of every answer. Strict transport security only over TLS: over the plain
/// listener a browser would ignore it, and on `localhost` it would break other programs.
pub(super) fn finish(answer: &mut Answer, id: Uuid, scheme: Scheme) {
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(SERVER, HeaderValue::from_static("envoy"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    let block = HeaderValue::from_static("1; mode=block");
    headers.insert(X_XSS_PROTECTION, block);
    match scheme {
        Scheme::Http => {}
        Scheme::Https => {
            let year = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");
            headers.insert(STRICT_TRANSPORT_SECURITY, year);
        }
    }
}

/// The request's id, in answers and towards upstreams.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn intercepted(status: StatusCode, title: &str, said: &str) -> Answer {
    let mut answer = filled(status, HTML, page::error(status, title, said));
    let yes = HeaderValue::from_static("true");
    answer.headers_mut().insert(INTERCEPTED, yes);
    answer
}

fn filled(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// The last answer of an HTTP/1.1 connection.
fn last(mut answer: Answer, version: Version) -> Answer {
    if version <= Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

fn set_location(answer: &mut Answer, location: &str) {
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
}

fn cross_origin(headers: &mut HeaderMap) {
    for (name, value) in [
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Accept, MCP-Protocol-Version, MCP-Session-Id, \
             Last-Event-ID",
        ),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "WWW-Authenticate, MCP-Session-Id",
        ),
        (
            VARY,
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
