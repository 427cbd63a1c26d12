//! The body of an answer: read as it arrives, whatever its reader does.
//!
//! HTTP/2 streams of one connection share its window: a body that nobody reads stalls the others.
//! So a task takes each body off the wire into a bounded buffer, and resets the stream when its
//! reader lags past the bound for more than a second.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Bounds, HttpError};
use crate::tap::{End, Recording};

/// How long a stream may be left unread because its buffer is full, all such waits together: so
/// that a reader which is alive but busy (parsing a large result) is not taken for a dead one.
///
/// The plain rule would be to reset the stream at the bound. This departs from it by one second in
/// which an unread flood can take the connection's window from the other streams. The second does
/// not begin anew with each frame, only once the reader has caught up with everything.
const LAG_GRACE: Duration = Duration::from_secs(1);

/// What one buffered frame costs beside its bytes, so that a flood of tiny frames is bounded too.
const FRAME_OVERHEAD: usize = 64;

/// A body on its way in, as a stream of its frames. Dropping it ends the reading.
#[derive(Debug)]
pub struct Body {
    // Bounded by `buffered`, in bytes.
    frames: mpsc::UnboundedReceiver<Result<Bytes, HttpError>>,
    buffered: Arc<Buffered>,
    _reading: DropGuard,
}

impl Body {
    /// The rest of the body, at most `limit` bytes of it.
    pub async fn whole(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let mut whole = BytesMut::new();
        while let Some(frame) = self.next().await {
            let frame = frame?;
            if whole.len() + frame.len() > limit {
                return Err(HttpError::TooLarge { limit });
            }
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    }

    /// Starts to read `frames` into a buffer of `limit` bytes.
    pub(super) fn read<S, E>(frames: S, limit: usize, recording: Recording, bounds: Bounds) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        let buffered = Arc::new(Buffered::default());
        let reading = bounds.shutdown.child_token();
        let reader = Reader {
            sender,
            buffered: buffered.clone(),
            limit,
            recording,
        };
        let tasks = bounds.tasks.clone();
        tasks.spawn(reader.run(frames, reading.clone(), bounds));
        Self {
            frames: receiver,
            buffered,
            _reading: reading.drop_guard(),
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.frames.poll_recv(cx);
        if let Poll::Ready(Some(Ok(frame))) = &next {
            self.buffered.taken(frame);
        }
        next
    }
}

/// How much waits for the reader.
#[derive(Debug, Default)]
struct Buffered {
    bytes: AtomicUsize,
    room: Notify,
}

impl Buffered {
    fn put(&self, frame: &Bytes) {
        self.bytes
            .fetch_add(frame.len() + FRAME_OVERHEAD, Ordering::Relaxed);
    }

    fn taken(&self, frame: &Bytes) {
        self.bytes
            .fetch_sub(frame.len() + FRAME_OVERHEAD, Ordering::Relaxed);
        self.room.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// Whether no more than `limit` waits.
    fn is_within(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) <= limit
    }

    /// Waits until no more than `limit` waits.
    async fn within(&self, limit: usize) {
        while !self.is_within(limit) {
            self.room.notified().await;
        }
    }
}

struct Reader {
    sender: mpsc::UnboundedSender<Result<Bytes, HttpError>>,
    buffered: Arc<Buffered>,
    limit: usize,
    recording: Recording,
}

impl Reader {
    /// Reads to the end. `bounds` lives as long: it holds the stream's place in its lane.
    async fn run<S, E>(mut self, frames: S, reading: CancellationToken, bounds: Bounds)
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut frames = std::pin::pin!(frames);
        let mut cancelled = std::pin::pin!(reading.cancelled());
        let mut grace = LAG_GRACE;
        loop {
            let next = tokio::select! {
                biased;
                () = cancelled.as_mut() => {
                    if bounds.shutdown.is_cancelled() {
                        self.fail(HttpError::Shutdown);
                    }
                    return;
                }
                next = frames.next() => next,
            };
            match next {
                Some(Ok(frame)) if frame.is_empty() => {}
                Some(Ok(frame)) => {
                    self.recording.received(&frame);
                    if self.buffered.is_empty() {
                        grace = LAG_GRACE;
                    }
                    self.buffered.put(&frame);
                    if self.sender.send(Ok(frame)).is_err() {
                        return;
                    }
                    if self.buffered.is_within(self.limit) {
                        continue;
                    }
                    let full = Instant::now();
                    let room = self.buffered.within(self.limit);
                    if tokio::time::timeout(grace, room).await.is_err() {
                        let limit = self.limit;
                        return self.fail(HttpError::Lagged { limit });
                    }
                    grace = grace.saturating_sub(full.elapsed());
                }
                Some(Err(error)) => return self.fail(HttpError::broken(error)),
                None => return self.recording.end(End::Complete),
            }
        }
    }

    fn fail(mut self, error: HttpError) {
        self.recording.end(End::Failed(error.to_string()));
        // Nobody listens any more: then nobody needs to know.
        self.sender.send(Err(error)).ok();
    }
}
