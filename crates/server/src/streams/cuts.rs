//! Whether Pomerium cuts Toolgate's own streams: without `timeout: 0s` on Toolgate's route each
//! ends after 30 s, and all that a person sees is a page that keeps coming back.
//!
//! Somebody may close a page at just that moment. So it takes two in a row of one session, and a
//! stream that lives longer proves the opposite. Whoever it happened to is told; when it happened to
//! two people, everybody is.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use chat::ids::{Sid, Subject};
use futures_util::{Stream, StreamExt as _};
use wire::pomerium::ROUTE_CUT;

use crate::tokens::Session;

/// A stream that lived longer was cut by no timeout of 30 s.
const PROVES_NONE: Duration = Duration::from_secs(35);

/// Streams of a session that have to break off in a row.
const IN_A_ROW: u32 = 2;

/// How long it is believed without being seen again.
const BELIEVED: Duration = Duration::from_mins(10);

/// The least time between two lines of the log.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// Sessions whose last stream was cut, and people whose streams are; more are forgotten together.
const SESSIONS: usize = 1024;

/// The people it has to happen to before it is the route's fault and not that of a proxy of theirs.
const PEOPLE: usize = 2;

/// What is known of cuts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// How many streams of a session were cut in a row.
    in_a_row: HashMap<(Subject, Sid), u32>,
    /// When enough were, of each person.
    cut: HashMap<Subject, Instant>,
    said: Option<Instant>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Itself,
    /// It was broken off from the other side.
    Broken,
}

impl Cuts {
    /// Whether Toolgate's route seems to cut what takes longer than 30 s, as far as this person is
    /// to know.
    pub(crate) fn route_is_cut(&self, for_whom: &Subject) -> bool {
        let seen = self.seen();
        let believed = seen.cut.iter().filter(|(_, at)| at.elapsed() < BELIEVED);
        let mut people = 0;
        for (subject, _) in believed {
            people += 1;
            if subject == for_whom || people >= PEOPLE {
                return true;
            }
        }
        false
    }

    /// Watches a request of the session that began at `began`.
    pub(crate) fn watch(&self, session: &Session, began: Instant) -> Watch {
        Watch {
            cuts: self.clone(),
            session: (session.subject.clone(), session.sid.clone()),
            began,
            ended: Ended::Broken,
        }
    }

    /// Takes note of a request that took so long.
    fn note(&self, session: &(Subject, Sid), lived: Duration, ended: Ended) {
        let mut seen = self.seen();
        if lived > PROVES_NONE {
            seen.in_a_row.clear();
            seen.cut.clear();
            return;
        }
        if ended == Ended::Itself || !ROUTE_CUT.contains(&lived) {
            return;
        }
        if seen.in_a_row.len() >= SESSIONS {
            seen.in_a_row.clear();
        }
        let count = seen.in_a_row.entry(session.clone()).or_default();
        *count = count.saturating_add(1);
        if *count < IN_A_ROW {
            return;
        }
        if seen.cut.len() >= SESSIONS {
            seen.cut.clear();
        }
        seen.cut.insert(session.0.clone(), Instant::now());
        if seen.said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            seen.said = Some(Instant::now());
            tracing::warn!(
                "Pomerium cuts Toolgate's answers after 30 s: set `timeout: 0s` and \
                 `idle_timeout: 0s` on Toolgate's route"
            );
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes how a request ended when it is dropped: also before there is an answer.
pub(crate) struct Watch {
    cuts: Cuts,
    session: (Subject, Sid),
    began: Instant,
    ended: Ended,
}

impl Watch {
    /// The answer is there. A stream is watched to its end; anything else is sent at once.
    pub(crate) fn answered(mut self, response: Response) -> Response {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let stream = HeaderValue::from_static("text/event-stream");
        if kind != Some(&stream) {
            self.ended = Ended::Itself;
            return response;
        }
        response.map(|body| {
            let body = body.into_data_stream();
            Body::from_stream(Watched { body, of: self })
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cuts
            .note(&self.session, self.began.elapsed(), self.ended);
    }
}

/// The body of a stream.
struct Watched {
    body: BodyDataStream,
    of: Watch,
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.body.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.of.ended = Ended::Itself;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Sessions;

    const CUT: Duration = Duration::from_millis(30_100);

    fn is_cut(cuts: &Cuts, subject: &str) -> bool {
        cuts.route_is_cut(&Subject::from(subject))
    }

    fn of(subject: &str) -> (Subject, Sid) {
        (Subject::from(subject), Sid::from("s"))
    }

    #[test]
    fn two_streams_of_a_session_that_break_off_at_30_s_are_a_cut() {
        let cuts = Cuts::default();
        for (session, lived, ended) in [
            ("ana", CUT, Ended::Broken),
            ("ben", CUT, Ended::Broken),
            ("ana", Duration::from_secs(12), Ended::Broken),
            ("ana", Duration::from_secs(33), Ended::Broken),
            ("ana", CUT, Ended::Itself),
        ] {
            cuts.note(&of(session), lived, ended);
            assert!(!is_cut(&cuts, "ana"), "{session} {lived:?} {ended:?}");
        }
        cuts.note(&of("ana"), CUT, Ended::Broken);
        assert!(is_cut(&cuts, "ana"));
    }

    #[test]
    fn nobody_is_told_what_happened_to_one_other_person() {
        let cuts = Cuts::default();
        for subject in ["ben", "cem"] {
            assert!(!is_cut(&cuts, "ana"), "before {subject}");
            cuts.note(&of(subject), CUT, Ended::Broken);
            cuts.note(&of(subject), CUT, Ended::Broken);
            assert!(is_cut(&cuts, subject));
        }
        assert!(is_cut(&cuts, "ana"));
    }

    #[test]
    fn a_stream_that_lives_longer_proves_the_opposite() {
        let cuts = Cuts::default();
        cuts.note(&of("ana"), CUT, Ended::Broken);
        cuts.note(&of("ana"), CUT, Ended::Broken);
        cuts.note(&of("ben"), Duration::from_secs(36), Ended::Broken);
        assert!(!is_cut(&cuts, "ana"));
        cuts.note(&of("ana"), CUT, Ended::Broken);
        assert!(!is_cut(&cuts, "ana"), "it begins anew");
    }

    #[test]
    fn sessions_are_counted_up_to_a_bound() {
        let cuts = Cuts::default();
        for n in 0..SESSIONS * 2 {
            cuts.note(&of(&n.to_string()), CUT, Ended::Broken);
        }
        assert!(cuts.seen().in_a_row.len() <= SESSIONS);
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_was_broken_off_and_other_answers_are_not_watched() {
        let cuts = Cuts::default();
        let session = Sessions::default().get(&Subject::from("ana"), &Sid::from("s"));
        let began = Instant::now().checked_sub(CUT).unwrap();
        let answer = |kind: &'static str| {
            let mut answer = Response::new(Body::from("data: x\n\n"));
            let kind = HeaderValue::from_static(kind);
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            cuts.watch(&session, began).answered(answer)
        };
        for _ in 0..2 {
            drop(answer("application/json"));
            let whole = axum::body::to_bytes(answer("text/event-stream").into_body(), 100);
            assert_eq!(whole.await.unwrap(), "data: x\n\n");
        }
        assert!(!is_cut(&cuts, "ana"));
        drop(answer("text/event-stream"));
        // The other was broken off before there was an answer.
        drop(cuts.watch(&session, began));
        assert!(is_cut(&cuts, "ana"));
    }
}
