//! `timeout` and `idle_timeout` of a route: an answer that takes too long is cut off, with a 504
//! before its first byte and without an end after it. Time that runs out while the client reads
//! nothing is noticed when it reads on.

use std::future::pending;
use std::pin::pin;

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answer::{Body, BodyError};
use super::config::Cuts;

/// Why an answer is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    /// The whole took too long.
    #[error("response_timeout")]
    Total,
    /// Nothing moved for too long.
    #[error("stream_idle_timeout")]
    Idle {
        /// Whether the request had arrived whole.
        asked: Asked,
    },
}

/// Whether a request has arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it.
    Whole,
    /// More was to come.
    InPart,
}

/// Watches an exchange and ends it when it takes too long.
pub(super) struct Pacer {
    cuts: Cuts,
    request: watch::Receiver<Progress>,
    /// When the answer last moved, or the exchange began.
    moved: Instant,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// When it last moved.
    moved: Instant,
    /// When it was complete, from when on the answer is awaited.
    ended: Option<Instant>,
}

impl Pacer {
    /// Watches a request body on its way and whatever follows. `None` when nothing is to be cut.
    pub(super) fn watch(cuts: Cuts, body: Body) -> (Option<Self>, Body) {
        if cuts.total.or(cuts.idle).is_none() {
            return (None, body);
        }
        let now = Instant::now();
        let (tell, request) = watch::channel(Progress {
            moved: now,
            ended: body.is_end_stream().then_some(now),
        });
        let pacer = Self {
            cuts,
            request,
            moved: now,
        };
        if body.is_end_stream() {
            return (Some(pacer), body);
        }
        let teller = Teller(tell);
        let frames = BodyStream::new(body).map(move |frame| {
            teller.moved();
            frame
        });
        (Some(pacer), StreamBody::new(frames).boxed_unsync())
    }

    /// Waits for the beginning of the answer, or for whatever else the exchange waits for.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Cut> {
        let mut work = pin!(work);
        loop {
            let (deadline, cut) = self.deadline();
            tokio::select! {
                // In this order, so that an answer that never stops is cut off too.
                biased;
                () = until(deadline) => return Err(cut),
                done = &mut work => {
                    self.moved = Instant::now();
                    return Ok(done);
                }
                () = changed(&mut self.request) => {}
            }
        }
    }

    /// Watches the answer's body to its end.
    pub(super) fn pace(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let frames = stream::unfold(Some((self, body)), |pacing| async {
            let (mut pacer, mut body) = pacing?;
            match pacer.within(body.frame()).await {
                Ok(frame) => Some((frame?, Some((pacer, body)))),
                Err(cut) => Some((Err::<Frame<_>, BodyError>(cut.into()), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The moment when the exchange is over unless something moves, and why.
    fn deadline(&self) -> (Option<Instant>, Cut) {
        let request = *self.request.borrow();
        let total = self.cuts.total.zip(request.ended);
        let total = total.and_then(|(length, from)| from.checked_add(length));
        let moved = self.moved.max(request.moved);
        let idle = self.cuts.idle.and_then(|length| moved.checked_add(length));
        let asked = match request.ended {
            Some(_) => Asked::Whole,
            None => Asked::InPart,
        };
        match (total, idle) {
            (Some(total), Some(idle)) if idle < total => (Some(idle), Cut::Idle { asked }),
            (Some(total), _) => (Some(total), Cut::Total),
            (None, idle) => (idle, Cut::Idle { asked }),
        }
    }
}

impl Cut {
    /// What is answered when nothing was answered yet.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Total
            | Self::Idle {
                asked: Asked::Whole,
            } => StatusCode::GATEWAY_TIMEOUT,
            Self::Idle {
                asked: Asked::InPart,
            } => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Tells how far a request has come; it has ended when this is dropped.
struct Teller(watch::Sender<Progress>);

impl Teller {
    fn moved(&self) {
        self.0
            .send_modify(|progress| progress.moved = Instant::now());
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let now = Instant::now();
        self.0.send_modify(|progress| progress.ended = Some(now));
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits for news of the request; for ever, once there can be none.
async fn changed(request: &mut watch::Receiver<Progress>) {
    if request.changed().await.is_err() {
        pending::<()>().await;
    }
}
