//! Posting messages, and what their answers mean.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use chat::{
    failure::{Failure, Layer},
    limits::RESULT_KEPT_BYTES,
};
use rmcp::{
    model::{ClientJsonRpcMessage, GetExtensions, GetMeta},
    transport::streamable_http_client::StreamableHttpPostResponse,
};
use serde_json::Value;
use url::Url;

use super::{
    echo::Echo,
    events::events,
    inbox::Slot,
    json,
    trouble::{Kind, Rejection, Trouble, excerpt},
    wire::{ACCEPT_STREAM, Answer, JSON, Message, SESSION, Wire, WireError, insert_session},
};
use crate::http::Sent;

/// Bytes of a refusal that are read: it is judged, not shown.
const REFUSAL_BYTES: usize = 64 * 1024;

/// How long a refusal's body may take; what came by then is enough.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the session's first requests wait for its standing stream. A server that sends a
/// message on that stream before it is up loses it.
const SETTLE: Duration = Duration::from_millis(300);

const ACCEPT_POST: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
/// A JSON-RPC message to post.
pub(super) struct Post {
    pub(super) url: Url,
    pub(super) message: ClientJsonRpcMessage,
    pub(super) session: Option<Arc<str>>,
    pub(super) headers: HashMap<HeaderName, HeaderValue>,
}

impl Wire {
    /// Sends a message and judges the answer. What it means for a request of ours goes into its
    /// slot too.
    pub(super) async fn post(
        self: &Arc<Self>,
        post: Post,
    ) -> Result<StreamableHttpPostResponse, WireError> {
        let slot = slot_of(&post.message).cloned();
        let sent = self.try_post(post, slot.as_ref()).await;
        sent.map_err(|trouble| self.report(slot.as_ref(), trouble))
    }

    async fn try_post(
        self: &Arc<Self>,
        post: Post,
        slot: Option<&Slot>,
    ) -> Result<StreamableHttpPostResponse, Trouble> {
        let used_session = post.session.clone();
        let id = request_id_of(&post.message);
        let is_request = id.is_some();
        if used_session.is_some() && is_request {
            // Past the limit the request goes anyway.
            tokio::time::timeout(SETTLE, self.settled.cancelled())
                .await
                .ok();
        }
        let answer = self.send_message(post, slot).await?;
        let request_id = answer.incoming.request_id();
        let session = answer
            .incoming
            .headers
            .get(SESSION)
            .and_then(|id| id.to_str().ok());
        let session = session.map(ToOwned::to_owned);
        if session.is_some() {
            self.mark_session();
        }

        if !answer.incoming.status.is_success() {
            let refusal = self.refusal(answer).await;
            let judged = refusal.judge(self.leads_to(), used_session.as_deref());
            return match refusal.rpc_error(id.as_ref()) {
                // The server's own words say more than the status, but for these.
                Some(error) if !matches!(judged.kind, Kind::SessionGone | Kind::StaleToken) => {
                    self.deliver(error, request_id.as_deref(), session)
                }
                _ => Err(judged),
            };
        }
        if answer.incoming.is_type("text/event-stream") {
            if let Some(slot) = slot {
                slot.accepted();
            }
            return Ok(StreamableHttpPostResponse::Sse(
                events(self, answer, slot.cloned()),
                session,
            ));
        }
        let Answer { incoming, secret } = answer;
        let status = incoming.status;
        let is_json = incoming.is_type("application/json");
        let sent = incoming.sent;
        let body = incoming.body.whole(RESULT_KEPT_BYTES).await;
        let body = body.map_err(|error| {
            let trouble = self.trouble_in(&error, sent);
            trouble.with_request_id(request_id.clone())
        })?;
        let (bytes, echo) = (body.len(), self.echo(secret.as_ref()));
        if !is_request || (body.is_empty() && status == StatusCode::ACCEPTED) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if !is_json {
            let message = format!("the answer is not MCP: {}", excerpt(&body));
            let trouble = echo.redact_trouble(Trouble::protocol(message));
            return Err(trouble.with_request_id(request_id));
        }
        let wire = self.clone();
        let read = move || match json::parse(&body) {
            Ok(mut message) => {
                echo.redact(&mut message);
                wire.deliver(message, request_id.as_deref(), session)
            }
            Err(trouble) => Err(echo.redact_trouble(trouble).with_request_id(request_id)),
        };
        self.reading(bytes, read).await?
    }

    /// A message that came as a body of its own.
    fn deliver(
        &self,
        message: Value,
        request_id: Option<&str>,
        session: Option<String>,
    ) -> Result<StreamableHttpPostResponse, Trouble> {
        let error = message.get("error");
        let denied = error.and_then(|error| Trouble::of_rpc_error(error, self.leads_to()));
        if let Some(trouble) = denied {
            let id = trouble.failure.request_id.clone();
            return Err(trouble.with_request_id(id.or_else(|| request_id.map(ToOwned::to_owned))));
        }
        let Some(message) = self.inbox.receive(message, request_id) else {
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        let answer = serde_json::from_value(message).map_err(|error| {
            Trouble::protocol(format!("the answer is not MCP: {error}"))
                .with_request_id(request_id.map(ToOwned::to_owned))
        })?;
        Ok(StreamableHttpPostResponse::Json(answer, session))
    }

    /// Sends a JSON-RPC message, once it is known to be small enough.
    async fn send_message(&self, post: Post, slot: Option<&Slot>) -> Result<Answer, Trouble> {
        let body = serde_json::to_vec(&post.message)
            .map_err(|error| Trouble::protocol(format!("the request is no JSON: {error}")))?;
        let limit = self.link.max_request_bytes;
        if body.len() > limit {
            return Err(too_large(body.len(), limit));
        }
        let mut headers: HeaderMap = post.headers.into_iter().collect();
        headers.insert(header::ACCEPT, ACCEPT_POST);
        headers.insert(header::CONTENT_TYPE, JSON);
        insert_session(&mut headers, post.session.as_deref());
        if let (Some(slot), ClientJsonRpcMessage::Request(request)) = (slot, &post.message) {
            let token = request.request.get_meta().get_progress_token();
            self.inbox.expect(&request.id, token.as_ref(), slot);
        }
        let request = Message {
            method: Method::POST,
            url: post.url,
            headers,
            body: body.into(),
        };
        self.send(request, slot)
            .await
            .map_err(|error| self.trouble_of(&error))
    }

    /// Posts a message of an HTTP+SSE session: its answer comes on the session's stream.
    pub(super) async fn post_aside(
        self: Arc<Self>,
        url: Url,
        message: ClientJsonRpcMessage,
    ) -> Result<(), WireError> {
        let slot = slot_of(&message).cloned();
        let post = Post {
            url,
            message,
            session: None,
            headers: HashMap::new(),
        };
        let sent = async {
            let answer = self.send_message(post, slot.as_ref()).await?;
            // Read to its end: then the connection can be used again.
            let answer = self.refusal(answer).await;
            // The URL names the session.
            if answer.status.is_success() {
                Ok(())
            } else {
                Err(answer.judge(self.leads_to(), Some("")))
            }
        };
        match sent.await {
            Ok(()) => {
                if let Some(slot) = &slot {
                    slot.accepted();
                }
                Ok(())
            }
            Err(trouble) => Err(self.report(slot.as_ref(), trouble)),
        }
    }

    /// Opens the stream of an HTTP+SSE session.
    pub(super) async fn open_stream(&self) -> Result<Answer, Trouble> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, ACCEPT_STREAM);
        let url = self.link.server.url.clone();
        let request = Message {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
        };
        let sent = self.send(request, None).await;
        let answer = sent.map_err(|error| self.trouble_of(&error))?;
        let incoming = &answer.incoming;
        if incoming.status.is_success() && incoming.is_type("text/event-stream") {
            return Ok(answer);
        }
        let refusal = self.refusal(answer).await;
        if refusal.status.is_success() {
            let message = format!("the answer is not MCP: {}", excerpt(&refusal.body));
            return Err(refusal.echo.redact_trouble(Trouble::protocol(message)));
        }
        Err(refusal.judge(self.leads_to(), None))
    }

    async fn refusal(&self, answer: Answer) -> Refusal {
        let Answer { incoming, secret } = answer;
        let sent = incoming.sent;
        let body = tokio::time::timeout(REFUSAL_TIMEOUT, incoming.body.whole(REFUSAL_BYTES)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        Refusal {
            status: incoming.status,
            headers: incoming.headers,
            body,
            sent,
            echo: self.echo(secret.as_ref()),
        }
    }
}

/// The slot of a request of ours.
fn slot_of(message: &ClientJsonRpcMessage) -> Option<&Slot> {
    match message {
        ClientJsonRpcMessage::Request(request) => request.request.extensions().get(),
        ClientJsonRpcMessage::Response(_)
        | ClientJsonRpcMessage::Notification(_)
        | ClientJsonRpcMessage::Error(_) => None,
    }
}

fn request_id_of(message: &ClientJsonRpcMessage) -> Option<Value> {
    match message {
        ClientJsonRpcMessage::Request(request) => Some(request.id.clone().into_json_value()),
        ClientJsonRpcMessage::Response(_)
        | ClientJsonRpcMessage::Notification(_)
        | ClientJsonRpcMessage::Error(_) => None,
    }
}

fn too_large(size: usize, limit: usize) -> Trouble {
    let message = format!(
        "the request has {size} bytes, more than the {limit} of TOOLGATE_MCP_MAX_REQUEST_BYTES"
    );
    let advice = "Send less; or ask the operator to raise that limit, and max_request_bytes of \
                  the Pomerium routes with it.";
    Trouble::new(
        Kind::TooLarge,
        Failure::new(Layer::Toolgate, message, advice),
    )
}

/// An answer that is read only for what it means.
struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    sent: Sent,
    /// What must not be handed on of it.
    echo: Echo,
}

impl Refusal {
    fn judge(&self, led_to: Layer, session: Option<&str>) -> Trouble {
        let (status, headers, body) = (self.status, &self.headers, &self.body);
        let rejection = Rejection {
            status,
            headers,
            body,
            in_session: session.is_some(),
            sent: self.sent,
            led_to,
        };
        self.echo.redact_trouble(rejection.judge())
    }

    /// The JSON-RPC error it carries, as an answer to the request `id`: middleware cannot always
    /// say which request it refuses.
    fn rpc_error(&self, id: Option<&Value>) -> Option<Value> {
        let mut message: Value = serde_json::from_slice(&self.body).ok()?;
        message.get("error")?.get("code")?.as_i64()?;
        self.echo.redact(&mut message);
        message
            .as_object_mut()?
            .insert("id".to_owned(), id?.clone());
        Some(message)
    }
}
