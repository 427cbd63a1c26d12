//! What joins the two sides of async-openai: the body it is handed and the chunks it hands back.
//!
//! async-openai reads ahead into an unbounded channel. So the body it gets is metered: an event
//! leaves only while what was handed over and not consumed stays within [`HANDED_BYTES`]. Every
//! event that the shaper lets through yields exactly one item on the other side, so the charges
//! are settled in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;

use super::shaper::{Shaper, Unreadable};

/// Bytes of events that were handed to async-openai and not consumed. A larger event passes alone.
pub(super) const HANDED_BYTES: usize = 256 * 1024;

/// The least an event is charged, bytes: what its parsed chunk takes in the channel.
const EVENT_CHARGE: usize = 128;

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

/// One answer's meter, and the word on how its body ended.
#[derive(Debug)]
pub(super) struct Link {
    credit: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Charges of the events that were handed over, oldest first.
    charges: VecDeque<usize>,
    end: Option<BodyEnd>,
}

impl Link {
    pub(super) fn new() -> Arc<Self> {
        let credit = Semaphore::new(HANDED_BYTES);
        Arc::new(Self {
            credit,
            state: Mutex::default(),
        })
    }

    /// The consumer has taken an item: the event it came from no longer counts.
    pub(super) fn settle(&self) {
        let charge = self.state().charges.pop_front();
        self.credit.add_permits(charge.unwrap_or_default());
    }

    /// How the body ended; none while it has not, or when its reader was dropped.
    pub(super) fn body_end(&self) -> Option<BodyEnd> {
        self.state().end.clone()
    }

    /// Waits until an event of this size may be handed over.
    async fn charge(&self, bytes: usize) {
        let charge = bytes.clamp(EVENT_CHARGE, HANDED_BYTES);
        let permits = u32::try_from(charge).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(permit) = self.credit.acquire_many(permits).await {
            permit.forget();
            self.state().charges.push_back(charge);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of `body`, shaped and metered. It never fails: how it ended is told by the link.
pub(super) fn metered<S, E>(
    body: S,
    link: Arc<Link>,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send,
{
    let reader = Reader {
        body: Box::pin(body),
        shaper: Shaper::default(),
        events: VecDeque::new(),
    };
    stream::unfold((reader, link), async |(mut reader, link)| {
        let event = reader.next(&link).await?;
        link.charge(event.len()).await;
        Some((Ok(event), (reader, link)))
    })
}

struct Reader<S> {
    body: std::pin::Pin<Box<S>>,
    shaper: Shaper,
    /// Events of the bytes last read: not more than those bytes.
    events: VecDeque<Bytes>,
}

impl<S, E> Reader<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::error::Error,
{
    async fn next(&mut self, link: &Link) -> Option<Bytes> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(end) = link.body_end() {
                if end == BodyEnd::Done {
                    self.read_out().await;
                }
                return None;
            }
            let end = self.read().await;
            link.state().end = end;
        }
    }

    /// Reads what follows `[DONE]`, which is the end of the body: a connection whose answer was
    /// read to its end serves the next request, and the exchange is complete.
    async fn read_out(&mut self) {
        let rest = async {
            for _ in 0..AFTER_DONE_FRAMES {
                if !matches!(self.body.next().await, Some(Ok(_))) {
                    break;
                }
            }
        };
        // An endpoint that keeps it open loses the connection.
        let _late = tokio::time::timeout(AFTER_DONE, rest).await;
    }

    /// Reads once; says how the body ended if it did.
    async fn read(&mut self) -> Option<BodyEnd> {
        match self.body.next().await {
            Some(Ok(bytes)) => match self.shaper.push(&bytes, &mut self.events) {
                Ok(()) => self.shaper.is_done().then_some(BodyEnd::Done),
                Err(unreadable) => Some(BodyEnd::Unreadable(unreadable)),
            },
            Some(Err(error)) => Some(BodyEnd::Cut(innermost(&error))),
            None => Some(match self.shaper.finish(&mut self.events) {
                Ok(()) if self.shaper.is_done() => BodyEnd::Done,
                Ok(()) => BodyEnd::Silent,
                Err(unreadable) => BodyEnd::Unreadable(unreadable),
            }),
        }
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
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn no_more_than_the_credit_is_handed_over() {
        let link = Link::new();
        let event = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(1000));
        let size = event.len();
        let body = stream::iter(vec![Ok::<_, Infallible>(Bytes::from(event)); 2000]);
        let handed = Arc::new(AtomicUsize::new(0));
        let mut events = Box::pin(metered(body, Arc::clone(&link)).inspect(|event| {
            handed.fetch_add(event.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
        }));

        // Reading ahead stops by itself at the credit…
        let mut go_on = || {
            tokio::task::unconstrained(events.next())
                .now_or_never()
                .is_some()
        };
        while go_on() {}
        let ahead = handed.load(Ordering::Relaxed);
        assert!(ahead <= HANDED_BYTES, "{ahead}");
        assert!(ahead > HANDED_BYTES - 2 * size, "{ahead}");

        // …and goes on by as much as was consumed.
        link.settle();
        assert!(go_on());
        assert!(!go_on());
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_unless_it_is_kept_open() {
        let last = [Bytes::from("data: {}\n\ndata: [DONE]\n\n"), Bytes::new()];
        let body = stream::iter(last.clone().map(Ok::<_, Infallible>));
        let over = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&over);
        let end = stream::once(async move {
            seen.store(1, Ordering::Relaxed);
            Ok(Bytes::new())
        });
        let link = Link::new();
        let events = metered(body.chain(end), Arc::clone(&link));
        assert_eq!(events.count().await, 1);
        assert_eq!(over.load(Ordering::Relaxed), 1);

        let open = stream::iter(last.map(Ok::<_, Infallible>)).chain(stream::pending());
        let link = Link::new();
        assert_eq!(metered(open, Arc::clone(&link)).count().await, 1);
        assert_eq!(link.body_end(), Some(BodyEnd::Done));
    }

    #[tokio::test]
    async fn an_event_larger_than_the_credit_passes_alone() {
        let link = Link::new();
        let event = Bytes::from(format!("data: {{{}}}\n\n", " ".repeat(HANDED_BYTES)));
        let body = stream::iter(vec![Ok::<_, Infallible>(event); 2]);
        let mut events = Box::pin(metered(body, Arc::clone(&link)));
        assert!(events.next().await.is_some());
        assert!(events.next().now_or_never().is_none());
        link.settle();
        assert!(events.next().await.is_some());
        link.settle();
        assert!(events.next().await.is_none());
        assert_eq!(link.body_end(), Some(BodyEnd::Silent));
    }
}
