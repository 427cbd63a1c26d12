//! The body of an answer that has its connection for itself (HTTP/1.1), read by who wants it.
//!
//! Left unread it holds up nobody else: the kernel's buffers fill up, and the other side waits. So
//! it needs no task that reads ahead, which for the small pieces of a model's answer would cost as
//! much as everything else that is done with them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::HttpError;
use crate::tap::{End, Recording};

/// A body on its way in, as a stream of its frames. Dropping it ends the reading.
pub(super) struct Direct<S> {
    frames: Pin<Box<S>>,
    recording: Recording,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl<S> Direct<S> {
    pub(super) fn new(frames: S, recording: Recording, shutdown: CancellationToken) -> Self {
        Self {
            frames: Box::pin(frames),
            recording,
            shutdown: Box::pin(shutdown.cancelled_owned()),
            over: false,
        }
    }

    fn fail(&mut self, error: HttpError) -> HttpError {
        self.over = true;
        self.recording.end(End::Failed(error.to_string()));
        error
    }
}

impl<S, E> Stream for Direct<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            if self.shutdown.as_mut().poll(cx).is_ready() {
                let error = self.fail(HttpError::Shutdown);
                return Poll::Ready(Some(Err(error)));
            }
            match std::task::ready!(self.frames.as_mut().poll_next(cx)) {
                Some(Ok(frame)) if frame.is_empty() => {}
                Some(Ok(frame)) => {
                    self.recording.received(&frame);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    let error = self.fail(HttpError::broken(error));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.over = true;
                    self.recording.end(End::Complete);
                }
            }
        }
    }
}
