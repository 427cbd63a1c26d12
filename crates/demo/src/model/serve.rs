//! The HTTP side: connections, routes, and bodies that pause, hang or break.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

use super::{
    Rejection, Shared,
    capture::{DeliveryMark, Received},
    check,
    render::{self, Rendered},
    reply::Frame,
    request::ChatRequest,
};

/// Connections at once: far above what one Toolgate opens.
const MAX_CONNECTIONS: usize = 1024;
/// Bytes of a request: 128 calls with 48 KiB of result each are 6 MiB.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Time for what was written to leave the socket before the connection is cut: hyper drops
/// what it has buffered when a body fails.
const FLUSH: Duration = Duration::from_millis(20);
/// The pause after a failed accept (too many open files), so that it does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Accepts connections until the model is shut down.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, tracker: TaskTracker) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shutdown = shared.shutdown.clone();
    shutdown
        .run_until_cancelled(async {
            // The semaphore is never closed.
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&shared);
                        tracker.spawn(async move {
                            connection(shared, stream).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the scripted model cannot accept");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        })
        .await;
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let shutdown = shared.shutdown.clone();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(&shared, request).await }
    });
    // Events are small; each has to leave at once.
    stream.set_nodelay(true).ok();
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = shutdown.run_until_cancelled(serving).await {
        tracing::debug!(%error, "a connection to the scripted model broke");
    }
}

/// Answers one request. An error closes the connection without a response.
async fn respond(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let rejection = Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "Request too large.");
            return Ok(refuse(&rejection));
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let path = head.uri.path().trim_end_matches('/').to_owned();
    let asked = match authorized(shared, &head.headers) {
        Err(rejection) => Err(rejection),
        Ok(()) => route(shared, &head.method, &path, &body),
    };
    let mark = shared.capture(Received {
        method: head.method,
        path: head.uri.path_and_query().map_or(path, ToString::to_string),
        headers: head.headers,
        body,
        verdict: asked.as_ref().map(|_| ()).map_err(Clone::clone),
    });
    match asked {
        Err(rejection) => {
            mark.complete();
            Ok(refuse(&rejection))
        }
        Ok(Asked::Models) => {
            mark.complete();
            Ok(json_response(
                StatusCode::OK,
                &render::models(&shared.options.models),
            ))
        }
        Ok(Asked::Chat(request)) => chat(shared, &request, mark).await,
    }
}

enum Asked {
    Models,
    Chat(ChatRequest),
}

fn route(shared: &Shared, method: &Method, path: &str, body: &Bytes) -> Result<Asked, Rejection> {
    let wanted = match path {
        "/v1/chat/completions" => Method::POST,
        "/v1/models" => Method::GET,
        _ => {
            let message = format!("Invalid URL ({method} {path})");
            return Err(Rejection::new(StatusCode::NOT_FOUND, message));
        }
    };
    if *method != wanted {
        let message = format!("Not allowed to {method} on {path} (HINT: {wanted} is)");
        return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    if wanted == Method::GET {
        return Ok(Asked::Models);
    }
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    check::chat(&body, &shared.options.models)?;
    Ok(Asked::Chat(ChatRequest::new(body)))
}

fn authorized(shared: &Shared, headers: &http::HeaderMap) -> Result<(), Rejection> {
    let Some(key) = &shared.options.key else {
        return Ok(());
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let message = match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if given == key => return Ok(()),
        // Unlike OpenAI, no part of the key is repeated.
        Some(_) => "Incorrect API key provided.",
        None => "You didn't provide an API key.",
    };
    Err(Rejection::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"))
}

async fn chat(
    shared: &Shared,
    request: &ChatRequest,
    mark: DeliveryMark,
) -> io::Result<Response<Body>> {
    let guard = DropGuard(mark);
    let (status, headers, frames) = match render::reply(shared.reply(request), request, &shared.ids)
    {
        Rendered::Response {
            status,
            headers,
            frames,
        } => (status, headers, frames),
        Rendered::Hang => {
            shared.shutdown.cancelled().await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Rendered::Disconnect => {
            guard.0.complete();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    };
    let mut response = Response::new(body(frames, shared.delay.subscribe(), guard));
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        response.headers_mut().append(
            name,
            HeaderValue::try_from(value).map_err(io::Error::other)?,
        );
    }
    Ok(response)
}

/// A body that goes through the frames, with their pauses, and ends as they say.
fn body(
    frames: Vec<Frame>,
    pace: tokio::sync::watch::Receiver<Duration>,
    guard: DropGuard,
) -> Body {
    let steps = (frames.into_iter(), pace, guard);
    let stream = stream::unfold(steps, |(mut frames, mut pace, guard)| async move {
        loop {
            match frames.next() {
                Some(Frame::Bytes(bytes)) => {
                    let frame = hyper::body::Frame::data(bytes);
                    return Some((Ok(frame), (frames, pace, guard)));
                }
                Some(Frame::Pace) => wait_pace(&mut pace).await,
                Some(Frame::Pause(pause)) => tokio::time::sleep(pause).await,
                Some(Frame::Hang) => std::future::pending().await,
                Some(Frame::Cut) => {
                    tokio::time::sleep(FLUSH).await;
                    guard.0.complete();
                    let cut = Err(io::ErrorKind::ConnectionAborted.into());
                    return Some((cut, (Vec::new().into_iter(), pace, guard)));
                }
                None => {
                    guard.0.complete();
                    return None;
                }
            }
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

/// Waits for one piece's pause; a change of pace starts it anew, so that an answer held by a
/// long one goes on.
async fn wait_pace(pace: &mut tokio::sync::watch::Receiver<Duration>) {
    loop {
        let delay = *pace.borrow_and_update();
        if delay.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => return,
            changed = pace.changed() => if changed.is_err() { return },
        }
    }
}

/// Marks a response as dropped when its body goes away before its end.
struct DropGuard(DeliveryMark);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.dropped();
    }
}

fn refuse(rejection: &Rejection) -> Response<Body> {
    json_response(rejection.status, &rejection.body())
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from(body.to_string()));
    let mut response = Response::new(
        body.map_err(|never: Infallible| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
