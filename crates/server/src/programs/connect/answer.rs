//! An answer on its way back: passed on as it arrives, and put in words where it is Pomerium's.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use wire::{
    http::{HttpError, Incoming, Lane},
    pomerium::{ROUTE_CUT, wants_certificate},
};

use super::{forward::end_to_end, keeper::Open};
use crate::{
    error::Problem,
    programs::{origin::Origin, site::has_ended},
};

/// Bytes of an error that is looked at.
const ERROR_BYTES: usize = 1024 * 1024;

/// Bytes of an unfinished line that are held back: many times a chunk of a model's.
const LINE_BYTES: usize = 256 * 1024;

/// What is between Pomerium and its browsers, or about a body that is not passed on as it was.
const NOT_OURS: [HeaderName; 3] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("alt-svc"),
];

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    /// Held as long as the answer is read.
    pub(super) lane: Arc<Lane>,
    /// So is this.
    pub(super) _open: Open,
}

impl Sent {
    /// After how many seconds Pomerium cut it off, if what happened now is that.
    pub(super) fn cut(&self) -> Option<u64> {
        let after = self.at.elapsed();
        ROUTE_CUT.contains(&after).then_some(after.as_secs())
    }
}

/// What an answer belongs to.
pub(super) struct Answer<'a> {
    pub(super) origin: &'a Origin,
    pub(super) sent: Sent,
}

impl Answer<'_> {
    /// The response for the caller.
    pub(super) async fn of(self, incoming: Incoming) -> Result<Response, Problem> {
        let Self { origin, sent } = self;
        let request_id = incoming.request_id();
        let is_events = incoming.is_type("text/event-stream");
        let is_problem = incoming.is_type("application/problem+json");
        let Incoming {
            status,
            headers,
            body,
            ..
        } = incoming;
        if has_ended(status) || status.is_client_error() || status.is_server_error() {
            let whole = body.whole(ERROR_BYTES).await;
            let whole = whole.map_err(|error| broken(&sent, &error))?;
            if !is_problem && !is_openai(&whole) {
                return Err(match status.as_u16() {
                    _ if has_ended(status) => Problem::signed_out(origin),
                    504 => Problem::cut_off(sent.at.elapsed().as_secs()),
                    _ => refused(status, request_id),
                });
            }
            return Ok(respond(status, &headers, Body::from(whole)));
        }
        let body = if is_events {
            Body::from_stream(events(body, sent))
        } else {
            Body::from_stream(body.map(move |piece| {
                let _held = &sent;
                piece
            }))
        };
        Ok(respond(status, &headers, body))
    }
}

/// Pomerium answered in Toolgate's place.
fn refused(status: StatusCode, request_id: Option<String>) -> Problem {
    let problem = Problem::of_pomerium(status, request_id);
    let Some(failure) = wants_certificate(status) else {
        return problem;
    };
    let failure = failure.with_request_id(problem.failure.request_id.clone());
    Problem {
        failure: Box::new(failure),
        ..problem
    }
}

fn respond(status: StatusCode, headers: &HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let mut kept = end_to_end(headers);
    for name in &NOT_OURS {
        kept.remove(name);
    }
    *response.headers_mut() = kept;
    response
}

fn broken(sent: &Sent, error: &HttpError) -> Problem {
    sent.cut()
        .map_or_else(|| Problem::broken_off(error), Problem::cut_off)
}

/// Whether it is an error as OpenAI's SDKs know it, and so Toolgate's.
fn is_openai(body: &[u8]) -> bool {
    let body = serde_json::from_slice::<serde_json::Value>(body).ok();
    let error = body.as_ref().and_then(|body| body.get("error"));
    error.is_some_and(|error| {
        error
            .get("message")
            .is_some_and(serde_json::Value::is_string)
    })
}

/// The events of a stream, line by line; one that breaks off ends with an event that says why.
fn events(
    body: wire::http::Body,
    sent: Sent,
) -> impl Stream<Item = Result<Bytes, HttpError>> + Send {
    let begin = (body, sent, Lines::default());
    futures_util::stream::unfold(Some(begin), |state| async {
        let (mut body, sent, mut lines) = state?;
        match body.next().await {
            Some(Ok(piece)) => {
                let whole = lines.whole(&piece);
                Some((Ok(whole), Some((body, sent, lines))))
            }
            Some(Err(error)) => {
                let problem = broken(&sent, &error);
                Some((Ok(last_event(&problem)), None))
            }
            None => Some((Ok(lines.rest()), None)),
        }
    })
}

/// Ends the event before, whose last line is whole, and says what happened.
fn last_event(problem: &Problem) -> Bytes {
    let json = serde_json::to_string(&problem.openai_body()).unwrap_or_default();
    format!("\n\ndata: {json}\n\n").into()
}

/// Holds back a line until it is whole, so that what is added after a break is a line of its own.
#[derive(Default)]
struct Lines {
    begun: BytesMut,
}

impl Lines {
    fn whole(&mut self, piece: &[u8]) -> Bytes {
        self.begun.extend_from_slice(piece);
        match self.begun.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => self.begun.split_to(end + 1).freeze(),
            None if self.begun.len() > LINE_BYTES => self.rest(),
            None => Bytes::new(),
        }
    }

    fn rest(&mut self) -> Bytes {
        self.begun.split().freeze()
    }
}

#[cfg(test)]
mod tests;
