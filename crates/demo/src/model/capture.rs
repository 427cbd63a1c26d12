//! What the model was asked, kept for tests to look at.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::check::Rejection;

/// Requests kept: more than any test looks back.
const MAX_REQUESTS: usize = 1000;
/// Bytes of bodies kept, so that a long bench with long transcripts does not fill the memory.
const MAX_BYTES: usize = 128 * 1024 * 1024;

/// One request the model received.
#[derive(Clone, Debug)]
pub struct CapturedRequest {
    /// Its place among all requests to this model, from 1.
    pub number: u64,
    /// The HTTP method.
    pub method: Method,
    /// The path, with the query if there was one.
    pub path: String,
    /// The headers as received, `authorization` included.
    pub headers: HeaderMap,
    /// The body as received.
    pub body: Bytes,
    /// What was wrong with it, if anything: the request that is `Ok` is one that OpenAI accepts,
    /// with exactly one result for each call of its transcript.
    pub verdict: Result<(), Rejection>,
    delivery: DeliveryMark,
}

/// How far the response to a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not all of it was taken yet.
    Running,
    /// The client took all of it, up to the end or the fault that was asked for.
    Complete,
    /// The client went away before the end.
    Dropped,
}

impl CapturedRequest {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `messages` of the body.
    pub fn messages(&self) -> Vec<Value> {
        self.json()
            .get_mut("messages")
            .and_then(Value::as_array_mut)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// How far the response came; changes as time passes.
    pub fn delivery(&self) -> Delivery {
        self.delivery.get()
    }
}

/// The requests received, the oldest dropped first.
#[derive(Debug, Default)]
pub(super) struct Captures {
    kept: VecDeque<CapturedRequest>,
    bytes: usize,
}

/// A request before it has its number.
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) verdict: Result<(), Rejection>,
}

impl Captures {
    pub(super) fn push(&mut self, number: u64, received: Received) -> DeliveryMark {
        let delivery = DeliveryMark::default();
        self.bytes += received.body.len();
        self.kept.push_back(CapturedRequest {
            number,
            method: received.method,
            path: received.path,
            headers: received.headers,
            body: received.body,
            verdict: received.verdict,
            delivery: delivery.clone(),
        });
        while self.kept.len() > MAX_REQUESTS || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.body.len();
        }
        delivery
    }

    pub(super) fn all(&self) -> Vec<CapturedRequest> {
        self.kept.iter().cloned().collect()
    }
}

/// Shared between a captured request and the body that answers it.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryMark(Arc<AtomicU8>);

impl DeliveryMark {
    const RUNNING: u8 = 0;
    const COMPLETE: u8 = 1;
    const DROPPED: u8 = 2;

    pub(super) fn complete(&self) {
        self.0.store(Self::COMPLETE, Ordering::Release);
    }

    /// Marks the response as dropped unless it was complete.
    pub(super) fn dropped(&self) {
        // A failed exchange means that it was complete, which stands.
        self.0
            .compare_exchange(
                Self::RUNNING,
                Self::DROPPED,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .ok();
    }

    fn get(&self) -> Delivery {
        match self.0.load(Ordering::Acquire) {
            Self::RUNNING => Delivery::Running,
            Self::COMPLETE => Delivery::Complete,
            _ => Delivery::Dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: usize) -> Received {
        Received {
            method: Method::POST,
            path: "/".into(),
            headers: HeaderMap::new(),
            body: Bytes::from(vec![0; bytes]),
            verdict: Ok(()),
        }
    }

    #[test]
    fn keeps_the_newest_requests_and_no_more_bytes_than_allowed() {
        let mut captures = Captures::default();
        for number in 1..=(MAX_REQUESTS as u64 + 5) {
            captures.push(number, received(1));
        }
        assert_eq!(captures.all().len(), MAX_REQUESTS);
        assert_eq!(captures.all()[0].number, 6);

        captures.push(2000, received(MAX_BYTES));
        let numbers: Vec<u64> = captures
            .all()
            .iter()
            .map(|request| request.number)
            .collect();
        assert_eq!(numbers, [2000]);
    }

    #[test]
    fn a_complete_response_is_not_marked_dropped_afterwards() {
        let mark = DeliveryMark::default();
        assert_eq!(mark.get(), Delivery::Running);
        mark.complete();
        mark.dropped();
        assert_eq!(mark.get(), Delivery::Complete);
        let mark = DeliveryMark::default();
        mark.dropped();
        assert_eq!(mark.get(), Delivery::Dropped);
    }
}
