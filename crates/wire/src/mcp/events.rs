//! A server's event stream, each message through the inbox.

use std::sync::Arc;

use bytes::Bytes;
use chat::{
    failure::{Failure, Layer},
    limits::RESULT_KEPT_BYTES,
};
use futures_util::{StreamExt, stream::BoxStream};
use rmcp::transport::streamable_http_client::SseError;
use serde_json::Value;
use sse_stream::{Sse, SseStream};
use thiserror::Error;

use super::{
    inbox::Slot,
    trouble::{Kind, Trouble, excerpt},
    wire::Wire,
};
use crate::http::{HttpError, Incoming};

/// The events of a stream; `slot` is the request that it answers. Ends with the wire.
pub(super) fn events(
    wire: &Arc<Wire>,
    incoming: Incoming,
    slot: Option<Slot>,
) -> BoxStream<'static, Result<Sse, SseError>> {
    let request_id = incoming.request_id();
    let ended = wire.ended.clone().cancelled_owned();
    let (wire, mut meter) = (wire.clone(), EventMeter::default());
    let (limiting, limited) = (wire.clone(), slot.clone());
    let bytes = incoming.body.map(move |chunk| {
        let chunk = chunk?;
        meter.count(&chunk).inspect_err(|_| {
            limiting.report(limited.as_ref(), too_large());
        })?;
        Ok::<Bytes, StreamError>(chunk)
    });
    SseStream::from_bytes_stream(bytes)
        .map(move |event| {
            Ok(through_inbox(
                &wire,
                slot.as_ref(),
                event?,
                request_id.as_deref(),
            ))
        })
        .take_until(ended)
        .boxed()
}

/// What rmcp is to see of an event; its id and retry time always.
fn through_inbox(wire: &Wire, slot: Option<&Slot>, event: Sse, request_id: Option<&str>) -> Sse {
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    let Some(data) = event
        .data
        .as_deref()
        .filter(|data| is_message && !data.trim().is_empty())
    else {
        return event;
    };
    let data = if let Ok(message) = serde_json::from_str::<Value>(data) {
        wire.inbox
            .receive(message, request_id)
            .map(|message| message.to_string())
    } else {
        if let Some(slot) = slot {
            let words = excerpt(data.as_bytes());
            let trouble = Trouble::protocol(format!("the answer is not MCP: {words}"));
            let id = request_id.map(ToOwned::to_owned);
            wire.report(Some(slot), trouble.with_request_id(id));
        }
        None
    };
    Sse { data, ..event }
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
    let advice = "Ask for less, for example with a filter or a limit.";
    Trouble::new(Kind::Limit, Failure::new(Layer::Server, message, advice))
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
