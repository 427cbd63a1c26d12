//! Server-sent events as a page or a program reads them.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use sse_stream::SseStream;

use crate::PATIENCE;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its `event:`; `message` when it has none.
    pub event: String,
    /// Its `id:`.
    pub id: Option<String>,
    /// Its `data:`.
    pub data: String,
    /// Its `retry:`.
    pub retry: Option<Duration>,
}

/// An open stream of events. Dropping it closes the connection.
pub struct Events {
    frames: Pin<Box<dyn Stream<Item = Result<sse_stream::Sse, sse_stream::Error>> + Send>>,
    /// How the stream ended, once it has.
    pub ended: Option<Ended>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As HTTP wants it.
    Properly,
    /// The connection was lost.
    Broken(String),
}

impl Frame {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data)
            .unwrap_or_else(|error| panic!("no JSON: {error}: {:?}", self.data))
    }
}

impl Events {
    /// The events of an answer that was begun.
    pub fn of(response: reqwest::Response) -> Self {
        Self {
            frames: Box::pin(SseStream::from_bytes_stream(response.bytes_stream())),
            ended: None,
        }
    }

    /// The next event; none when the stream has ended. Fails after [`PATIENCE`] of silence.
    pub async fn next(&mut self) -> Option<Frame> {
        let next = self.next_within(PATIENCE).await;
        next.unwrap_or_else(|| panic!("the stream is silent for {PATIENCE:?}"))
    }

    /// The next event within `limit`: `Some(None)` when the stream has ended, `None` when it was
    /// silent.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Option<Frame>> {
        if self.ended.is_some() {
            return Some(None);
        }
        let sse = match tokio::time::timeout(limit, self.frames.next()).await.ok()? {
            Some(Ok(sse)) => sse,
            Some(Err(error)) => {
                self.ended = Some(Ended::Broken(format!("{error:?}")));
                return Some(None);
            }
            None => {
                self.ended = Some(Ended::Properly);
                return Some(None);
            }
        };
        Some(Some(Frame {
            event: sse.event.unwrap_or_else(|| "message".to_owned()),
            id: sse.id,
            data: sse.data.unwrap_or_default(),
            retry: sse.retry.map(Duration::from_millis),
        }))
    }

    /// Everything up to the first event that `wanted` holds for, that one included. Fails when the
    /// stream ends before.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            let found = wanted(&frame);
            seen.push(frame);
            if found {
                return seen;
            }
        }
        panic!("the stream ended ({:?}) after {seen:#?}", self.ended)
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            seen.push(frame);
        }
        seen
    }
}
