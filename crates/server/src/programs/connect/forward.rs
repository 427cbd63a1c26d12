//! One request, from this machine to Toolgate and back.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use wire::http::HttpError;

use super::{
    answer::{Answer, Sent},
    gate::Gate,
    keeper::Keeper,
};
use crate::{
    error::Problem,
    programs::{
        logins::Logins,
        site::{Asked, Site},
    },
};

/// Bytes of a request: more than Toolgate takes.
const REQUEST_BYTES: usize = 32 * 1024 * 1024;

/// What is forwarded: Toolgate's API, and nothing of Pomerium's.
const FORWARDED: [&str; 2] = ["/v1/", "/api/"];

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a caller does not get to say: who it is, where it is, and how the body is packed.
const OURS_TO_SAY: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-pomerium-authorization"),
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("sec-fetch-site"),
    // What comes back is read as it passes.
    header::ACCEPT_ENCODING,
];

/// What the handler needs.
pub(super) struct Forwarder {
    pub(super) site: Site,
    pub(super) logins: Logins,
    pub(super) gate: Gate,
    pub(super) keeper: Keeper,
}

/// Forwards a request. When the caller goes away this is dropped, and Toolgate sees it go.
pub(super) async fn forward(State(forwarder): State<Arc<Forwarder>>, request: Request) -> Response {
    let answered = forwarder.forward(request).await;
    answered.unwrap_or_else(|problem| problem.openai())
}

impl Forwarder {
    async fn forward(&self, request: Request) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        self.gate.admit(&head.headers)?;
        let origin = self.site.origin();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = origin.at(path).map_err(|_| Problem::not_forwarded())?;
        // Looked at after dots in the path were resolved.
        if !FORWARDED.iter().any(|begin| url.path().starts_with(begin)) {
            return Err(Problem::not_forwarded());
        }
        // Read anew each time: a new login counts at once, and so does a logout.
        let login = self.logins.get(origin);
        let login = login
            .map_err(|error| Problem::no_logins(&error))?
            .ok_or_else(|| Problem::signed_out(origin))?;
        let open = self.keeper.open()?;
        let asked = Asked {
            url,
            body: read(body).await?,
            headers: outgoing(&head),
            method: head.method,
        };
        let sent = Sent {
            at: Instant::now(),
            lane: self.site.lane(),
            _open: open,
        };
        match self.site.send(&sent.lane, asked, Some(&login.token)).await {
            Ok(incoming) => Answer { origin, sent }.of(incoming).await,
            Err(error) => Err(no_answer(&self.site, &sent, &error)),
        }
    }
}

fn no_answer(site: &Site, sent: &Sent, error: &HttpError) -> Problem {
    match sent.cut() {
        Some(seconds) if !error.never_sent() => Problem::cut_off(seconds),
        Some(_) | None => Problem::unreachable(site.origin(), error),
    }
}

/// The caller's headers, without what is not theirs to say.
fn outgoing(head: &Parts) -> HeaderMap {
    let mut headers = end_to_end(&head.headers);
    for name in &OURS_TO_SAY {
        headers.remove(name);
    }
    if !headers.contains_key(header::ACCEPT) {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json);
    }
    headers
}

/// The headers that are meant for the other end.
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for named in headers.get_all(header::CONNECTION) {
        let names = named.to_str().unwrap_or_default().split(',');
        for name in names {
            kept.remove(name.trim());
        }
    }
    for name in &HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

/// All of the body: what comes from a program is a document, made before it is sent.
async fn read(body: Body) -> Result<Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::bad_request("The request broke off."))?;
        if whole.len() + piece.len() > REQUEST_BYTES {
            return Err(Problem::too_large_to_forward(REQUEST_BYTES));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_caller_or_the_connection_is_passed_on() {
        let request = Request::builder()
            .header("host", "127.0.0.1:8484")
            .header("authorization", "Bearer sk-theirs")
            .header("cookie", "a=b")
            .header("x-pomerium-authorization", "x")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("content-length", "3")
            .header("accept-encoding", "gzip")
            .header("content-type", "application/json")
            .header("x-stainless-lang", "python")
            .body(())
            .unwrap();
        let headers = outgoing(&request.into_parts().0);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "x-stainless-lang"]);
    }
}
