//! Answers that every page gives: errors in words, and headers that let nothing in.

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use chat::failure::Failure;

use super::{assets, render};
use crate::error::Problem;

/// Scripts, styles and everything else from here only; no inline code, no frame around the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'",
);

/// What a page may ask the browser for: nothing.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
);

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    version: &'static str,
    title: &'static str,
    failure: &'a Failure,
    sign_in: bool,
}

/// The problem as a page.
pub(crate) fn problem(problem: &Problem) -> Response {
    let sign_in = problem.status == StatusCode::UNAUTHORIZED;
    let title = match problem.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNAUTHORIZED => "Sign in again",
        StatusCode::SERVICE_UNAVAILABLE => "Not now",
        _ => "That did not work",
    };
    let page = render(&ProblemPage {
        version: assets::version(),
        title,
        failure: &problem.failure,
        sign_in,
    });
    (problem.status, Html(page)).into_response()
}

/// Whether the request is a browser's for a page.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    accept.is_some_and(|accept| String::from_utf8_lossy(accept.as_bytes()).contains("text/html"))
}

/// The answer to a URL that is none.
pub(crate) async fn not_found(request: Request) -> Response {
    let failed = Problem::not_found("page");
    if wants_html(request.headers()) && !request.uri().path().starts_with("/api/") {
        problem(&failed)
    } else {
        failed.into_response()
    }
}

/// Sets on every answer what keeps it from being misused.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert("permissions-policy", PERMISSIONS);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
