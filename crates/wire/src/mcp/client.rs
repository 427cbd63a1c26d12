//! The wire as rmcp's HTTP client.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::Sse;

use super::{
    events::events,
    post::Post,
    wire::{ACCEPT_STREAM, JSON, Message, Wire, WireError, insert_session},
};
use crate::http::Outgoing;

/// A standing stream that ends earlier than this, without an event, was empty.
const EMPTY_STREAM: Duration = Duration::from_secs(10);

/// Empty standing streams in a row after which the server is taken to have none: rmcp would ask
/// for ever, once a second.
const EMPTY_STREAMS: u32 = 3;

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

type Events = BoxStream<'static, Result<Sse, SseError>>;
type Headers = HashMap<HeaderName, HeaderValue>;
type Failed = StreamableHttpError<WireError>;

/// What rmcp calls. The authorization it passes is never used: tokens are the wire's.
#[derive(Clone)]
pub(super) struct Client(pub(super) Arc<Wire>);

impl StreamableHttpClient for Client {
    type Error = WireError;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let url = self.0.link.server.url.clone();
        let posted = self
            .0
            .post(Post {
                url,
                message,
                session,
                headers,
            })
            .await;
        posted.map_err(StreamableHttpError::Client)
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        self.0.delete(&session, headers).await;
        Ok(())
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failed> {
        self.0.get(session, last_event_id, headers).await
    }
}

impl Wire {
    /// Opens a stream that answers no request: the session's standing one, or the rest of an
    /// answer that was cut.
    async fn get(
        self: &Arc<Self>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failed> {
        let standing = last_event_id.is_none();
        if standing && self.empty_streams.load(Ordering::Relaxed) >= EMPTY_STREAMS {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let mut headers: HeaderMap = headers.into_iter().collect();
        headers.insert(header::ACCEPT, ACCEPT_STREAM);
        insert_session(&mut headers, session.as_deref());
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert(LAST_EVENT, id);
        }
        let url = self.link.server.url.clone();
        let request = Message {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
        };
        let answer = self.send(request, None).await;
        self.settled.cancel();
        let answer =
            answer.map_err(|error| StreamableHttpError::Client(WireError(error.to_string())))?;
        let incoming = &answer.incoming;
        let status = incoming.status;
        // The token's state is not judged here: a denied GET looks like a stale token.
        if status.is_success() && incoming.is_type("text/event-stream") {
            let stream = events(self, answer, None);
            return Ok(if standing {
                self.watch_empty(stream)
            } else {
                stream
            });
        }
        if status == StatusCode::UNAUTHORIZED || status.is_server_error() {
            let message = format!("no stream ({status})");
            return Err(StreamableHttpError::Client(WireError(message)));
        }
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }

    /// Counts standing streams that end at once with nothing on them.
    fn watch_empty(self: &Arc<Self>, stream: Events) -> Events {
        let (wire, opened) = (self.clone(), Instant::now());
        self.empty_streams.fetch_add(1, Ordering::Relaxed);
        let lasted = move || opened.elapsed() > EMPTY_STREAM;
        let seen = self.clone();
        let stream = stream.inspect(move |_| seen.empty_streams.store(0, Ordering::Relaxed));
        let end = futures_util::stream::poll_fn(move |_| {
            if lasted() {
                wire.empty_streams.store(0, Ordering::Relaxed);
            }
            std::task::Poll::Ready(None)
        });
        stream.chain(end).boxed()
    }

    async fn delete(&self, session: &str, headers: Headers) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        let mut headers: HeaderMap = headers.into_iter().collect();
        headers.insert(header::ACCEPT, JSON);
        insert_session(&mut headers, Some(session));
        let outgoing = Outgoing {
            method: Method::DELETE,
            url: self.link.server.url.clone(),
            headers,
            body: Bytes::new(),
            credential: self.link.credentials.credential(),
            context: self.context(None),
        };
        // A server that keeps the session will drop it by itself.
        if let Err(error) = self.link.http.send(&self.link.lane, outgoing).await {
            tracing::debug!(server = self.link.server.name, %error, "session not deleted");
        }
    }
}
