//! Answers that every page gives: errors in words, and headers that let nothing in.

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use chat::failure::{Failure, Layer};

use super::{assets, render};
use crate::error::Problem;

/// Scripts, styles and everything else from here only; no inline code, no frame around the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; media-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; \
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
    way: Way,
}

/// What an error leaves a person to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To look for what is not there.
    Search,
    /// To come in again; where that does not help, the failure says who has to do what.
    Again,
    /// To go on with something else.
    On,
}

/// The problem as a page.
pub(crate) fn problem(problem: &Problem) -> Response {
    let (title, way) = match problem.status {
        // What a server does not know no search would find.
        StatusCode::NOT_FOUND if problem.failure.layer != Layer::Toolgate => ("Not found", Way::On),
        StatusCode::NOT_FOUND => ("Not found", Way::Search),
        StatusCode::UNAUTHORIZED => ("Not signed in", Way::Again),
        StatusCode::SERVICE_UNAVAILABLE => ("Not now", Way::Again),
        _ => ("That did not work", Way::On),
    };
    let page = render(&ProblemPage {
        version: assets::version(),
        title,
        failure: &problem.failure,
        way,
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
    // What others sent has a stricter one.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(POLICY);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Unverified;

    async fn html(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_there_says_so_in_words_and_leads_back() {
        let html = html(problem(&Problem::not_found("conversation"))).await;
        for part in [
            "<h1>Not found</h1>",
            "There is no such conversation.",
            "href=\"/\"",
            "role=\"search\"",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }

    #[tokio::test]
    async fn who_cannot_mend_it_by_signing_in_is_not_told_to() {
        let html = html(problem(&Problem::from(Unverified::Missing))).await;
        assert!(html.contains("pass_identity_headers"), "{html}");
        assert!(!html.contains("Sign in again"), "{html}");
        // Nobody is there whose conversations could be searched.
        assert!(!html.contains("role=\"search\""), "{html}");
    }
}
