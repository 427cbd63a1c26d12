//! The events of an answer, in the order in which its body brings them.
//!
//! The round that wants them reads the body itself, one frame at a time, so what it has not taken
//! stays where it is: with the connection. Nothing here reads ahead.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use tokio::time::{Instant, timeout_at};

use super::shaper::{Shaper, Unreadable};

/// How long the end of a body may take after `[DONE]`: as a rule it comes with it.
const AFTER_DONE: Duration = Duration::from_millis(50);

/// Frames of a body that are read after `[DONE]`, whatever is in them.
const AFTER_DONE_FRAMES: usize = 4;

/// How an answer's body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// The endpoint said it was done.
    Done,
    /// The body ended, and the endpoint never said it was done.
    Silent,
    /// The connection broke.
    Cut(String),
    /// We stopped reading.
    Unreadable(Unreadable),
}

/// An answer that is being read.
pub(super) struct Events {
    body: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    shaper: Shaper,
    /// Until when the rest of the body is waited for, and how many frames of it are read; none
    /// while the endpoint has not said that it is done.
    rest: Option<(Instant, usize)>,
}

impl Events {
    pub(super) fn new(
        body: impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + 'static,
    ) -> Self {
        Self {
            body: body.boxed(),
            shaper: Shaper::default(),
            rest: None,
        }
    }

    /// Reads once, hands over what events are complete by that, and says how the body ended if it
    /// did. It may be dropped while it waits and called again: nothing is lost.
    pub(super) async fn read(&mut self, take: &mut impl FnMut(&str)) -> Option<BodyEnd> {
        if self.rest.is_some() {
            return self.read_out().await;
        }
        match self.body.next().await {
            Some(Ok(bytes)) => {
                let shaped = self.shaper.push(&bytes, take);
                if self.shaper.is_done() {
                    self.rest = Some((Instant::now() + AFTER_DONE, AFTER_DONE_FRAMES));
                }
                shaped.err().map(BodyEnd::Unreadable)
            }
            Some(Err(error)) => Some(BodyEnd::Cut(innermost(&error))),
            None => Some(match self.shaper.finish(take) {
                Ok(()) if self.shaper.is_done() => BodyEnd::Done,
                Ok(()) => BodyEnd::Silent,
                Err(unreadable) => BodyEnd::Unreadable(unreadable),
            }),
        }
    }

    /// Reads what follows `[DONE]`, which is the end of the body: a connection whose answer was
    /// read to its end serves the next request, and the exchange is complete. An endpoint that
    /// keeps it open loses the connection.
    async fn read_out(&mut self) -> Option<BodyEnd> {
        if let Some((until, frames)) = &mut self.rest
            && *frames > 0
            && let Ok(Some(Ok(_))) = timeout_at(*until, self.body.next()).await
        {
            *frames -= 1;
            return None;
        }
        Some(BodyEnd::Done)
    }
}

/// The cause at the bottom: the layers above it only say that there was one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use futures_util::stream;

    use super::*;

    async fn read(mut events: Events) -> (Vec<String>, BodyEnd) {
        let mut taken = Vec::new();
        loop {
            let end = events
                .read(&mut |event: &str| taken.push(event.to_owned()))
                .await;
            if let Some(end) = end {
                return (taken, end);
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_unless_it_is_kept_open() {
        let last = ["data: {}\n\ndata: [DONE]\n\n", ""];
        let last = || stream::iter(last.map(|frame| Ok(Bytes::from(frame))));
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let end = stream::once(async move {
            seen.store(true, Ordering::Relaxed);
            Ok(Bytes::new())
        });
        let whole = Events::new(last().chain(end));
        assert_eq!(read(whole).await, (vec!["{}".to_owned()], BodyEnd::Done));
        assert!(over.load(Ordering::Relaxed));

        let open = Events::new(last().chain(stream::pending()));
        assert_eq!(read(open).await, (vec!["{}".to_owned()], BodyEnd::Done));
    }

    #[tokio::test]
    async fn nothing_is_lost_when_the_reading_is_given_up() {
        let frames = [
            "data: {\"a\"",
            ":1}\n\ndata: {\"b\":2}\n\n",
            "data: [DONE]\n\n",
        ];
        let frames = stream::iter(frames.map(|frame| Ok(Bytes::from(frame))));
        // Each frame comes only when it is asked for a second time.
        let body = frames.then(async |frame| {
            tokio::task::yield_now().await;
            frame
        });
        let mut events = Events::new(body);
        let mut taken = Vec::new();
        let mut take = |event: &str| taken.push(event.to_owned());
        let end = loop {
            tokio::select! {
                biased;
                end = events.read(&mut take) => if let Some(end) = end { break end },
                () = std::future::ready(()) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(end, BodyEnd::Done);
        assert_eq!(taken, ["{\"a\":1}", "{\"b\":2}"]);
    }
}
