//! The wire of one MCP session: every request with the newest token, every answer judged, every
//! message through the inbox.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use chat::failure::Layer;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Link,
    echo::{Echo, Secret},
    inbox::{Inbox, Purpose, Reply, Slot},
    trouble::{Kind, Trouble},
};
use crate::{
    http::{Credential, HttpError, Incoming, Outgoing, Sent},
    pomerium::ROUTE_CUT,
    tap::{Context, Peer},
};

pub(super) const ACCEPT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Answers larger than this are read away from the threads that serve everybody, bytes: reading
/// one takes about a millisecond.
const READ_ASIDE_BYTES: usize = 256 * 1024;

/// What rmcp is told of trouble; what we need of it is in the slot or with the wire.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub(super) struct WireError(pub(super) String);

/// The wire of one MCP session.
pub(super) struct Wire {
    pub(super) link: Arc<Link>,
    pub(super) inbox: Inbox,
    /// Ends what is in flight, when nobody will read it any more.
    pub(super) ended: CancellationToken,
    /// Whether the server gave the session an id.
    session: AtomicBool,
    /// Whether the server says that it does not know that id.
    pub(super) gone: AtomicBool,
    pub(super) settled: CancellationToken,
    pub(super) empty_streams: AtomicU32,
    /// Whether it was said that a route cuts the server's streams.
    pub(super) said_cut: AtomicBool,
    /// What last happened to a request that has no slot: the handshake's.
    trouble: Mutex<Option<Trouble>>,
}

impl Wire {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self {
            ended: CancellationToken::new(),
            link,
            inbox: Inbox::default(),
            session: AtomicBool::default(),
            gone: AtomicBool::default(),
            settled: CancellationToken::new(),
            empty_streams: AtomicU32::default(),
            said_cut: AtomicBool::default(),
            trouble: Mutex::default(),
        })
    }

    pub(super) fn has_session(&self) -> bool {
        self.session.load(Ordering::Relaxed)
    }

    pub(super) fn mark_session(&self) {
        self.session.store(true, Ordering::Relaxed);
    }

    /// What a request without an answer means.
    pub(super) fn trouble_of(&self, error: &HttpError) -> Trouble {
        Trouble::of_error(error, self.leads_to())
    }

    /// What an answer without an end means.
    pub(super) fn trouble_in(&self, error: &HttpError, sent: Sent) -> Trouble {
        let trouble = self.trouble_of(error);
        if self.is_cut(error, sent) {
            trouble.cut_by_route()
        } else {
            trouble
        }
    }

    /// Whether the timeout of a route of Pomerium's ended the answer.
    pub(super) fn is_cut(&self, error: &HttpError, sent: Sent) -> bool {
        matches!(error, HttpError::Broken(_))
            && self.leads_to() == Layer::Pomerium
            && ROUTE_CUT.contains(&sent.at.elapsed())
    }

    /// Whose house requests lead to: Pomerium's or the server's own.
    pub(super) fn leads_to(&self) -> Layer {
        let link = &self.link;
        if link.http.is_pomeriums(&link.server.url) {
            Layer::Pomerium
        } else {
            Layer::Server
        }
    }

    pub(super) fn take_trouble(&self) -> Option<Trouble> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Remembers trouble where it is looked for.
    pub(super) fn report(&self, slot: Option<&Slot>, trouble: Trouble) -> WireError {
        if trouble.kind == Kind::SessionGone {
            self.gone.store(true, Ordering::Relaxed);
        }
        let error = WireError(trouble.failure.message.clone());
        if let Some(slot) = slot {
            self.inbox.forget(slot);
            slot.reply(Reply::Trouble(trouble));
        } else {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
        error
    }

    /// Sends with the newest token; and once more if a newer one came while a stale one was sent.
    pub(super) async fn send(
        &self,
        message: Message,
        slot: Option<&Slot>,
    ) -> Result<Answer, HttpError> {
        let credential = self.link.credentials.credential();
        let sent = self.send_once(message.clone(), slot, credential.clone());
        let answer = sent.await?;
        if answer.incoming.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let newer = self.link.credentials.credential();
        if newer.is_like(&credential) {
            return Ok(answer);
        }
        self.send_once(message, slot, newer).await
    }

    async fn send_once(
        &self,
        message: Message,
        slot: Option<&Slot>,
        credential: Credential,
    ) -> Result<Answer, HttpError> {
        let link = &self.link;
        let secret = link.secrets.learn(&credential);
        let outgoing = Outgoing {
            method: message.method,
            url: message.url,
            headers: message.headers,
            body: message.body,
            credential,
            context: self.context(slot),
        };
        if slot.is_some_and(|slot| slot.sent().is_err()) {
            return Err(HttpError::Shutdown);
        }
        tokio::select! {
            () = self.ended.cancelled() => Err(HttpError::Shutdown),
            answer = link.http.send(&link.lane, outgoing) => {
                let mut incoming = answer?;
                self.echo(secret.as_ref()).redact_headers(&mut incoming.headers);
                Ok(Answer { incoming, secret })
            }
        }
    }

    /// What must not be handed on of an answer to a request that carried `secret`. A stream may
    /// bring newer ones too.
    pub(super) fn echo(&self, secret: Option<&Secret>) -> Echo {
        let link = &self.link;
        link.secrets.learn(&link.credentials.credential());
        link.secrets.echo(secret)
    }

    /// Reads `bytes` of an answer; where that takes long, aside.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        bytes: usize,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        if bytes <= READ_ASIDE_BYTES {
            return Ok(read());
        }
        let room = self.link.http.room_to_parse(bytes).await;
        let reading = self.link.tasks.spawn_blocking(move || {
            let read = read();
            drop(room);
            read
        });
        let reading = reading.await;
        reading.map_err(|_| Trouble::lost("Toolgate failed to read the answer"))
    }

    pub(super) fn context(&self, slot: Option<&Slot>) -> Context {
        let mut context = Context {
            peer: Peer::Mcp,
            subject: self.link.credentials.subject(),
            server: Some(self.link.server.name.clone()),
            ..Context::default()
        };
        match slot.map(Slot::purpose) {
            Some(Purpose::Call(call) | Purpose::Read(call)) => {
                context.turn = Some(call.turn.clone());
                context.call = Some(call.call);
            }
            Some(Purpose::List) | None => {}
        }
        context
    }
}

/// An HTTP answer of the server.
pub(super) struct Answer {
    pub(super) incoming: Incoming,
    /// What the request carried.
    pub(super) secret: Option<Secret>,
}

/// An HTTP request to the server, without credentials.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) fn insert_session(headers: &mut HeaderMap, session: Option<&str>) {
    if let Some(id) = session.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(SESSION, id);
    }
}
