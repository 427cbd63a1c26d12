//! What every request passes: who it is from, and that its own page sent it.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use secrecy::SecretString;

use crate::{
    app::{App, AppState},
    error::Problem,
    identity::{ASSERTION, Authority, Flaw, Person, Unverified, Verifier},
    page, standalone,
    tokens::Session,
};

/// Where a browser says a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who a request is from, and the session it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The verified person.
    pub(crate) person: Person,
    /// Their session, with the token that came with the request.
    pub(crate) session: Arc<Session>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Unverified::Missing.into())
    }
}

/// Refuses a request whose assertion does not verify, and keeps the token of one that does.
pub(crate) async fn identify(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let found = match &app.authority {
        Authority::Local => standalone::person(&request).map(|person| (person, None)),
        Authority::Pomerium(verifier) => verified(verifier, request.headers()).await,
    };
    match found {
        Ok((person, token)) => {
            let sessions = &app.context.sessions;
            let session = sessions.receive(&person.subject, &person.sid, token);
            let caller = Caller { person, session };
            let watch = match &app.authority {
                Authority::Local => None,
                Authority::Pomerium(_) => Some(app.streams.cuts.watch(&caller.session, began)),
            };
            request.extensions_mut().insert(caller);
            let response = next.run(request).await;
            match watch {
                Some(watch) => watch.answered(response),
                None => response,
            }
        }
        Err(problem) => refused(&app, &request, problem),
    }
}

/// The answer to somebody who is not known. Their connection is closed: it has one of the places
/// that those who are known need.
fn refused(app: &App, request: &Request, problem: Problem) -> Response {
    let mut response = if is_api_of_openai(request) {
        problem.for_program(&app.public_url).openai()
    } else if page::wants_html(request.headers()) {
        page::problem(&problem)
    } else {
        problem.into_response()
    };
    // HTTP/2 knows no such header (RFC 9113, section 8.2.2).
    if request.version() < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whether the request is a program's that speaks OpenAI's API, and expects its errors.
fn is_api_of_openai(request: &Request) -> bool {
    let path = request.uri().path();
    path == "/v1" || path.starts_with("/v1/")
}

/// Whom the assertion names, and the token that came with it.
async fn verified(
    verifier: &Verifier,
    headers: &HeaderMap,
) -> Result<(Person, Option<SecretString>), Problem> {
    let assertion = headers.get(ASSERTION).ok_or(Unverified::Missing)?;
    let text = assertion
        .to_str()
        .map_err(|_| Unverified::Invalid(Flaw::Malformed("it is no JWT")))?;
    Ok((verifier.verify(text).await?, bearer(headers)))
}

/// The External Token: Pomerium overwrites whatever the client had sent here.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.into())
}

/// Refuses what another site made a browser send.
///
/// A request that changes something must be JSON, which no form can send without the browser
/// asking first, and if the browser says where it comes from, that must be here.
pub(crate) async fn same_origin(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let from_here = is_from_here(&app, request.headers());
    if safe || (from_here && is_json(request.headers())) {
        next.run(request).await
    } else if !is_api_of_openai(&request) {
        Problem::cross_site().into_response()
    } else if from_here {
        Problem::not_json().openai()
    } else {
        Problem::cross_site().openai()
    }
}

/// Whether every value of a header passes: one that comes twice must not hide behind the other.
fn all(headers: &HeaderMap, name: HeaderName, passes: impl Fn(&str) -> bool) -> bool {
    let mut values = headers.get_all(name).iter();
    values.all(|value| value.to_str().is_ok_and(&passes))
}

/// Whether nothing says that the request comes from elsewhere.
pub(crate) fn is_from_here(app: &App, headers: &HeaderMap) -> bool {
    let is_origin = |from: &str| match &app.authority {
        Authority::Pomerium(_) => from == app.public_url.origin().ascii_serialization(),
        Authority::Local => standalone::is_origin(headers, from),
    };
    all(headers, header::ORIGIN, is_origin)
        && all(headers, SEC_FETCH_SITE, |site| {
            matches!(site, "same-origin" | "none")
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let is_json = |value: &str| {
        let media = value.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("application/json")
    };
    headers.contains_key(header::CONTENT_TYPE) && all(headers, header::CONTENT_TYPE, is_json)
}
