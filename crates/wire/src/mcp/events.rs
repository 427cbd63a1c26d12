//! A server's event stream, each message through the inbox.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use chat::{
    failure::{Failure, Layer},
    limits::RESULT_KEPT_BYTES,
};
use futures_util::{StreamExt, stream::BoxStream};
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::{Sse, SseStream};
use thiserror::Error;

use super::{
    echo::Secret,
    inbox::Slot,
    json,
    trouble::{ASK_FOR_LESS, Kind, Trouble},
    wire::{Answer, Wire},
};
use crate::http::{HttpError, Sent};

/// The events of a stream; `slot` is the request that it answers. Ends with the wire.
pub(super) fn events(
    wire: &Arc<Wire>,
    answer: Answer,
    slot: Option<Slot>,
) -> BoxStream<'static, Result<Sse, SseError>> {
    let ended = wire.ended.clone().cancelled_owned();
    let Answer { incoming, secret } = answer;
    let reader = Arc::new(Reader {
        wire: wire.clone(),
        request_id: incoming.request_id(),
        secret,
        slot,
    });
    let (limiting, mut meter) = (reader.clone(), EventMeter::default());
    let sent = incoming.sent;
    let bytes = incoming.body.map(move |chunk| {
        let chunk = chunk.inspect_err(|error| limiting.broken(error, sent))?;
        meter.count(&chunk).inspect_err(|_| {
            limiting.wire.report(limiting.slot.as_ref(), too_large());
        })?;
        Ok::<Bytes, StreamError>(chunk)
    });
    SseStream::from_bytes_stream(bytes)
        .then(move |event| {
            let reader = reader.clone();
            async move { Ok(reader.read(event?).await) }
        })
        .take_until(ended)
        .boxed()
}

/// Reads the events of one stream.
struct Reader {
    wire: Arc<Wire>,
    slot: Option<Slot>,
    request_id: Option<String>,
    /// What the request carried.
    secret: Option<Secret>,
}

impl Reader {
    /// The stream broke off. A request that it answers may go on on another one: so what is known
    /// of the reason is kept until it does not.
    fn broken(&self, error: &HttpError, sent: Sent) {
        if !self.wire.is_cut(error, sent) {
            return;
        }
        if let Some(slot) = &self.slot {
            slot.cut();
        }
        if !self.wire.said_cut.swap(true, Ordering::Relaxed) {
            let server = &self.wire.link.server.name;
            tracing::warn!(
                server,
                "Pomerium cuts this server's streams after 30 s: set `timeout: 0s` on its route"
            );
        }
    }

    async fn read(self: Arc<Self>, event: Sse) -> Sse {
        let bytes = event.data.as_deref().unwrap_or_default().len();
        let reader = self.clone();
        let read = self
            .wire
            .reading(bytes, move || reader.through_inbox(event))
            .await;
        read.unwrap_or_else(|trouble| {
            self.wire.report(self.slot.as_ref(), trouble);
            Sse::default()
        })
    }

    /// What rmcp is to see of an event; its id and retry time always.
    fn through_inbox(&self, event: Sse) -> Sse {
        let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
        let Some(data) = event
            .data
            .as_deref()
            .filter(|data| is_message && !data.trim().is_empty())
        else {
            return event;
        };
        let echo = self.wire.echo(self.secret.as_ref());
        let data = match json::parse(data.as_bytes()) {
            Ok(mut message) => {
                echo.redact(&mut message);
                let inbox = &self.wire.inbox;
                let seen = inbox.receive(message, self.request_id.as_deref());
                seen.map(|message| message.to_string())
            }
            Err(trouble) => {
                if self.slot.is_some() {
                    let trouble = trouble.with_request_id(self.request_id.clone());
                    let trouble = echo.redact_trouble(trouble);
                    self.wire.report(self.slot.as_ref(), trouble);
                }
                None
            }
        };
        Sse { data, ..event }
    }
}

/// Why a stream of events broke.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("an event is larger than {RESULT_KEPT_BYTES} bytes")]
    EventTooLarge,
}

fn too_large() -> Trouble {
    let message = format!("the answer is larger than {RESULT_KEPT_BYTES} bytes");
    let failure = Failure::new(Layer::Server, message, ASK_FOR_LESS);
    Trouble::new(Kind::Limit, failure)
}

/// Counts the bytes of the event that is arriving: one without an end would be kept for ever.
#[derive(Default)]
struct EventMeter {
    bytes: usize,
    after_newline: bool,
}

impl EventMeter {
    fn count(&mut self, chunk: &[u8]) -> Result<(), StreamError> {
        for byte in chunk {
            self.bytes += 1;
            match byte {
                b'\n' if self.after_newline => self.bytes = 0,
                b'\n' => self.after_newline = true,
                b'\r' => {}
                _ => self.after_newline = false,
            }
            if self.bytes > RESULT_KEPT_BYTES {
                return Err(StreamError::EventTooLarge);
            }
        }
        Ok(())
    }
}
