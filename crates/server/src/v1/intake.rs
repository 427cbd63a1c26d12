//! The bodies of requests: bounded each, together, and in time.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    http::StatusCode,
};
use chat::ids::Subject;
use dashmap::DashMap;
use futures_util::StreamExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::error::Problem;

/// Bytes of a request: a long conversation with some pictures in it.
pub(super) const BODY_BYTES: usize = 20 * 1024 * 1024;

/// Bytes of all requests that are being read or parsed: a dozen of the largest. Those whose turn has
/// begun are bounded by how many turns may run.
const ROOM_BYTES: usize = 256 * 1024 * 1024;

/// Requests of one person that are being read or parsed: with the largest they take less than half
/// of the room.
const PLACES: usize = 6;

/// How long a request may take to come: the largest does over 3 Mbit/s.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one that is refused is still read, and thrown away: whoever is answered while they send
/// sees a broken connection instead of the answer.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes of it that are thrown away.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// What all requests share while they are read.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// A place for each byte.
    room: Arc<Semaphore>,
    /// How many requests of each person are being read.
    places: Arc<DashMap<Subject, usize>>,
    patience: Duration,
    grace: Duration,
}

/// A body that was read. It takes its room until it is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// What was made of it needs the room as well: kept until that belongs to a turn.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM_BYTES)),
            places: Arc::default(),
            patience: PATIENCE,
            grace: GRACE,
        }
    }
}

/// A person's request among those of theirs that are being read, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Subject,
    places: Arc<DashMap<Subject, usize>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut taken) = self.places.get_mut(&self.of) {
            *taken = taken.saturating_sub(1);
        }
        self.places.remove_if(&self.of, |_, taken| *taken == 0);
    }
}

impl Intake {
    /// A place for one more request of this person.
    ///
    /// # Errors
    /// 429 when all of theirs are taken: nobody may fill the room of all.
    pub(super) fn place(&self, subject: &Subject) -> Result<Place, Problem> {
        let mut taken = self.places.entry(subject.clone()).or_default();
        if *taken >= PLACES {
            return Err(no_place());
        }
        *taken += 1;
        Ok(Place {
            of: subject.clone(),
            places: Arc::clone(&self.places),
        })
    }

    /// Reads the body of a request that was `admitted`, and throws that of any other away.
    ///
    /// # Errors
    /// Why it was not admitted; 408 when it takes too long, 413 when it is too large, 429 when there
    /// is no room for it beside the others.
    pub(super) async fn read(
        &self,
        body: Body,
        admitted: Result<(), Problem>,
    ) -> Result<Received, Problem> {
        let mut pieces = body.into_data_stream();
        let refused = match admitted {
            Ok(()) => match timeout(self.patience, self.fill(&mut pieces)).await {
                Ok(Ok(received)) => return Ok(received),
                Ok(Err(problem)) => problem,
                Err(_) => return Err(too_slow(self.patience)),
            },
            Err(problem) => problem,
        };
        let _still_sending = timeout(self.grace, discard(&mut pieces)).await;
        Err(refused)
    }

    async fn fill(&self, pieces: &mut BodyDataStream) -> Result<Received, Problem> {
        let mut received = Received {
            bytes: Vec::new(),
            room: None,
        };
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::bad_request("The request broke off."))?;
            if received.bytes.len() + piece.len() > BODY_BYTES {
                return Err(too_large(&format!("{} MiB", BODY_BYTES >> 20)));
            }
            let room = u32::try_from(piece.len())
                .ok()
                .and_then(|bytes| Arc::clone(&self.room).try_acquire_many_owned(bytes).ok())
                .ok_or_else(no_room)?;
            match &mut received.room {
                Some(taken) => taken.merge(room),
                None => received.room = Some(room),
            }
            received.bytes.extend_from_slice(&piece);
        }
        Ok(received)
    }
}

async fn discard(pieces: &mut BodyDataStream) {
    let mut length = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        length += piece.len();
        if length > DISCARDED_BYTES {
            return;
        }
    }
}

/// 413: the request is larger than `limit`.
pub(super) fn too_large(limit: &str) -> Problem {
    let message = format!("The request is larger than {limit}, which is all that is taken.");
    Problem {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "too_large",
        ..Problem::bad_request(message)
    }
}

fn too_slow(patience: Duration) -> Problem {
    let message = format!(
        "The request was not there after {} s, which is all that is waited.",
        patience.as_secs()
    );
    Problem {
        status: StatusCode::REQUEST_TIMEOUT,
        code: "request_timeout",
        ..Problem::bad_request(message)
    }
}

fn no_place() -> Problem {
    let message = format!("Toolgate is reading {PLACES} requests of yours, which is all it may.");
    Problem {
        code: "too_many_requests",
        ..Problem::too_many_turns(message)
    }
}

fn no_room() -> Problem {
    let message = "Toolgate is reading as many requests as it can hold. Try again in a moment.";
    Problem {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "too_many_requests",
        ..Problem::bad_request(message)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn intake(room: usize) -> Intake {
        Intake {
            room: Arc::new(Semaphore::new(room)),
            places: Arc::default(),
            patience: Duration::from_millis(50),
            grace: Duration::from_millis(50),
        }
    }

    async fn status(intake: &Intake, body: Body, admitted: Result<(), Problem>) -> u16 {
        let refused = intake
            .read(body, admitted)
            .await
            .expect_err("it is refused");
        refused.status.as_u16()
    }

    fn pieces(piece: &'static str, count: usize) -> Body {
        let pieces = std::iter::repeat_n(Ok::<_, Infallible>(piece), count);
        Body::from_stream(stream::iter(pieces))
    }

    fn without_end() -> Body {
        let first = stream::iter([Ok::<_, Infallible>("{")]);
        Body::from_stream(first.chain(stream::pending()))
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let intake = intake(10);
        assert_eq!(status(&intake, without_end(), Ok(())).await, 408);
        let full = Err(Problem::too_many_turns("Four run."));
        assert_eq!(status(&intake, without_end(), full).await, 429);
        assert_eq!(intake.room.available_permits(), 10);
    }

    #[tokio::test]
    async fn who_is_not_admitted_takes_no_room_and_has_sent_all_when_they_are_told() {
        let intake = intake(0);
        let (sent, mut all) = tokio::sync::oneshot::channel();
        let last = stream::once(async {
            sent.send(()).unwrap();
            Ok::<_, Infallible>("{}")
        });
        let draining = Err(Problem::shutting_down());
        let body = Body::from_stream(last);
        assert_eq!(status(&intake, body, draining).await, 503);
        assert_eq!(all.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn bodies_have_so_much_room_together() {
        let intake = intake(10);
        assert_eq!(status(&intake, pieces("four", 3), Ok(())).await, 429);
        let first = intake.read(pieces("four", 2), Ok(())).await.unwrap();
        assert_eq!(first.bytes, b"fourfour");
        assert_eq!(status(&intake, pieces("four", 1), Ok(())).await, 429);
        let Received { bytes, room } = first;
        drop(bytes);
        assert_eq!(status(&intake, pieces("four", 1), Ok(())).await, 429);
        drop(room);
        assert!(intake.read(pieces("four", 2), Ok(())).await.is_ok());
        assert_eq!(intake.room.available_permits(), 10);
    }

    #[test]
    fn each_person_has_so_many_places() {
        let intake = Intake::default();
        let (ana, ben) = (Subject::from("ana"), Subject::from("ben"));
        let mut hers: Vec<_> = (0..PLACES).map(|_| intake.place(&ana).unwrap()).collect();
        assert_eq!(intake.place(&ana).unwrap_err().status, 429);
        assert!(intake.place(&ben).is_ok());
        hers.pop();
        assert!(intake.place(&ana).is_ok());
        drop(hers);
        assert!(intake.places.is_empty());
    }

    #[tokio::test]
    async fn one_body_has_so_much() {
        let intake = Intake::default();
        let mebibyte: &'static str = "x".repeat(1 << 20).leak();
        let most = pieces(mebibyte, BODY_BYTES >> 20);
        assert!(intake.read(most, Ok(())).await.is_ok());
        let more = pieces(mebibyte, (BODY_BYTES >> 20) + 1);
        assert_eq!(status(&intake, more, Ok(())).await, 413);
    }
}
