use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    event::{CancelBy, CatalogReady, ParkReason, ServerState, TurnStarted},
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::{ConversationId, Sid},
    message::{ModelCall, RoundEnd, ToolChoice},
    outcome::{Outcome, TurnEnd},
    shape::CallResult,
};

/// A transcript and the log it is the fold of.
struct Told {
    transcript: Transcript,
    log: Vec<Logged>,
}

impl Told {
    fn new() -> Self {
        let mut told = Self {
            transcript: Transcript::default(),
            log: Vec::new(),
        };
        let started = TurnStarted {
            conversation: Some(ConversationId::from("c")),
            parent: None,
            message: "Sales by year?".to_owned(),
            request: None,
            model: "m".to_owned(),
            sid: Sid::from("s"),
        };
        assert_eq!(told.tell(Event::TurnStarted(started)), Touched::Turn);
        told
    }

    fn tell(&mut self, event: Event) -> Touched {
        let seq = self.log.len() as u64 + 1;
        let logged = Logged {
            seq,
            at: i64::try_from(seq).unwrap() * 1000,
            event,
        };
        self.log.push(logged.clone());
        self.transcript.apply(&logged)
    }

    fn round(&self, index: usize) -> &RoundItem {
        let Item::Round(item) = &self.transcript.items[index] else {
            panic!("no round")
        };
        item
    }

    fn call(&self, number: u32) -> &CallItem {
        self.transcript.call(CallId(number)).unwrap()
    }
}

fn started(round: u32, attempt: u32) -> Event {
    Event::RoundStarted {
        round: RoundId(round),
        attempt,
        tool_choice: ToolChoice::Auto,
        catalogs: Vec::new(),
    }
}

fn text(round: u32, offset: usize, text: &str) -> Event {
    Event::TextDelta(Delta {
        round: RoundId(round),
        offset,
        text: text.to_owned(),
    })
}

fn reasoning(round: u32, offset: usize, text: &str) -> Event {
    Event::ReasoningDelta(Delta {
        round: RoundId(round),
        offset,
        text: text.to_owned(),
    })
}

fn finished(round: u32, text: &str, calls: &[&str]) -> Event {
    let calls = calls.iter().map(|id| ModelCall {
        id: (*id).to_owned(),
        name: "s__t".to_owned(),
        arguments: "{}".to_owned(),
        extras: json!({ "signature": id }).as_object().unwrap().clone(),
    });
    Event::RoundFinished {
        round: RoundId(round),
        end: RoundEnd::Stop,
        usage: None,
        message: AssistantMessage {
            text: text.to_owned(),
            calls: calls.collect(),
            ..AssistantMessage::default()
        },
    }
}

fn requested(call: u32, round: u32, model_id: &str) -> Event {
    Event::CallRequested(CallRequested {
        call: CallId(call),
        round: RoundId(round),
        model_id: model_id.to_owned(),
        function: "s__t".to_owned(),
        target: None,
        arguments: "{}".to_owned(),
    })
}

fn ended(call: u32, outcome: Outcome, shown: &str) -> Event {
    Event::CallFinished(CallFinished {
        call: CallId(call),
        outcome,
        result: CallResult::text(shown),
        failure: None,
    })
}

fn progress(call: u32, progress: f64) -> Event {
    Event::CallProgress(Progress {
        call: CallId(call),
        progress,
        total: None,
        message: None,
    })
}

fn turn_finished(end: TurnEnd) -> Event {
    Event::TurnFinished { end, failure: None }
}

/// A call that a person is asked about.
fn asked(call: u32, question: u32) -> Event {
    Event::QuestionAsked {
        question: QuestionId(question),
        call: CallId(call),
    }
}

#[test]
fn how_long_a_call_waited_for_its_owner_is_added_up() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(finished(1, "", &["a"]));
    told.tell(requested(1, 1, "a"));
    told.tell(asked(1, 1));
    assert_eq!(told.call(1).waits_since, Some(5000));
    told.tell(text(1, 0, "meanwhile"));
    told.tell(Event::QuestionAnswered {
        question: QuestionId(1),
        answer: Answer::Approve,
    });
    assert_eq!(
        (told.call(1).waits_since, told.call(1).waited_ms),
        (None, 2000)
    );
    told.tell(Event::CallParked {
        call: CallId(1),
        reason: ParkReason::StaleToken,
    });
    told.tell(Event::CallResumed {
        call: CallId(1),
        sid: None,
    });
    assert_eq!(told.call(1).waited_ms, 3000);
    told.tell(Event::CallParked {
        call: CallId(1),
        reason: ParkReason::NeedsConnect,
    });
    told.tell(ended(1, Outcome::Cancelled, "stopped"));
    assert_eq!(
        (told.call(1).waits_since, told.call(1).waited_ms),
        (None, 4000)
    );
}

#[test]
fn a_round_waits_for_its_owner_after_a_restart_and_for_the_model_on_a_retry() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(Event::RoundDiscarded { round: RoundId(1) });
    told.tell(Event::CatalogReady(CatalogReady {
        catalogs: Vec::new(),
        functions: Vec::new(),
        left_out: Vec::new(),
    }));
    told.tell(started(1, 2));
    assert_eq!(told.round(0).waited_ms, 2000);

    told.tell(Event::RoundDiscarded { round: RoundId(1) });
    told.tell(Event::RoundRetrying {
        round: RoundId(1),
        failure: RoundFailure {
            failure: Failure::new(Layer::Model, "busy", ""),
            retry: Retry::After(None),
        },
        after_ms: 500,
    });
    told.tell(started(1, 3));
    assert_eq!(told.round(0).waited_ms, 2000, "not for a person");
}

#[test]
fn a_turn_with_a_call_reads_in_its_order() {
    let mut told = Told::new();
    assert_eq!(told.tell(started(1, 1)), Touched::Item(0));
    assert_eq!(told.tell(reasoning(1, 0, "Hm.")), Touched::Item(0));
    assert_eq!(told.tell(text(1, 0, "Let me ")), Touched::Item(0));
    assert_eq!(
        told.tell(finished(1, "Let me look.", &["a", "b"])),
        Touched::Item(0)
    );
    assert_eq!(told.tell(requested(1, 1, "a")), Touched::Item(1));
    assert_eq!(told.tell(requested(2, 1, "b")), Touched::Item(2));
    assert_eq!(
        told.tell(Event::CallStarted {
            call: CallId(2),
            attempt: 1
        }),
        Touched::Item(2)
    );
    assert_eq!(told.tell(ended(2, Outcome::Ok, "two")), Touched::Item(2));
    assert_eq!(
        told.tell(Event::CallStarted {
            call: CallId(1),
            attempt: 1
        }),
        Touched::Item(1)
    );
    assert_eq!(told.tell(ended(1, Outcome::Ok, "one")), Touched::Item(1));
    assert_eq!(told.tell(started(2, 1)), Touched::Item(3));
    assert_eq!(told.tell(finished(2, "617,085.", &[])), Touched::Item(3));
    assert!(told.transcript.is_open());
    assert_eq!(told.tell(turn_finished(TurnEnd::Answered)), Touched::Turn);
    assert!(!told.transcript.is_open());

    assert_eq!(told.round(0).text, "Let me look.");
    assert_eq!(told.round(0).calls, [], "every call has its item");
    assert_eq!(told.call(1).extras["signature"], Value::from("a"));
    assert_eq!(told.call(2).extras["signature"], Value::from("b"));
    assert_eq!(
        (told.call(1).shown.as_str(), told.call(2).shown.as_str()),
        ("one", "two")
    );
    assert_eq!(told.call(2).started_at, Some(8000));
    assert_eq!(told.call(2).finished_at, Some(9000));
    assert_eq!(Transcript::fold(&told.log), told.transcript);
    let stored = serde_json::to_string(&told.transcript).unwrap();
    assert_eq!(
        serde_json::from_str::<Transcript>(&stored).unwrap(),
        told.transcript
    );
}

#[test]
fn when_a_round_began_to_reason_and_to_write_is_known() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    let shown = reasoning(1, 0, "Hm");
    told.transcript.preview(&shown);
    assert_eq!(told.round(0).reasoning_at, None, "not in the log yet");
    assert_eq!(told.tell(shown), Touched::Item(0), "that it is in is news");
    told.tell(reasoning(1, 2, "m."));
    told.transcript.preview(&text(1, 0, "The"));
    assert_eq!(told.tell(text(1, 0, "The")), Touched::Item(0));
    assert_eq!(told.tell(text(1, 0, "The")), Touched::Nothing);
    let times = |told: &Told| (told.round(0).reasoning_at, told.round(0).text_at);
    assert_eq!(times(&told), (Some(3000), Some(5000)));
    told.tell(started(1, 2));
    assert_eq!(times(&told), (None, None));
}

#[test]
fn an_event_out_of_its_place_changes_nothing() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(text(1, 0, "Hello"));
    let before = told.transcript.clone();
    for seq in [0, 1, 2, 3, 5, u64::MAX] {
        let event = Event::Notice {
            call: None,
            text: "again".to_owned(),
        };
        assert_eq!(
            told.transcript.apply(&Logged { seq, at: 0, event }),
            Touched::Nothing
        );
    }
    assert_eq!(told.transcript, before);
}

#[test]
fn a_discarded_round_starts_again_in_its_place() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(text(1, 0, "Hal"));
    assert_eq!(
        told.tell(Event::RoundDiscarded { round: RoundId(1) }),
        Touched::Item(0)
    );
    assert_eq!(told.round(0).text, "");
    let failure = RoundFailure {
        failure: Failure::new(Layer::Model, "cut", ""),
        retry: Retry::After(None),
    };
    told.tell(Event::RoundRetrying {
        round: RoundId(1),
        failure,
        after_ms: 500,
    });
    assert_eq!(
        told.tell(text(1, 0, "late")),
        Touched::Nothing,
        "no request is out"
    );
    assert_eq!(told.tell(started(1, 2)), Touched::Item(0));
    told.tell(text(1, 0, "Hello"));
    assert_eq!(
        (told.round(0).text.as_str(), told.round(0).started_at),
        ("Hello", 7000)
    );
    assert_eq!(told.transcript.items.len(), 1);
}

#[test]
fn the_text_of_a_round_that_never_ended_stands() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(text(1, 0, "Half an ans"));
    assert_eq!(
        told.tell(Event::TurnCancelling { by: CancelBy::User }),
        Touched::Turn
    );
    told.tell(turn_finished(TurnEnd::Cancelled));
    assert_eq!(told.round(0).state, RoundState::Broken);
    assert_eq!(told.round(0).text, "Half an ans");
    assert_eq!(told.transcript.cancelling, Some(CancelBy::User));
}

#[test]
fn a_question_is_found_by_its_number_and_answered_once() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(finished(1, "", &["a"]));
    told.tell(requested(1, 1, "a"));
    let question = QuestionId(1);
    told.tell(Event::QuestionAsked {
        question,
        call: CallId(1),
    });
    assert_eq!(told.call(1).state, CallState::Asking { question });
    let answered = || Event::QuestionAnswered {
        question,
        answer: Answer::Approve,
    };
    assert_eq!(told.tell(answered()), Touched::Item(1));
    assert_eq!(told.call(1).state, CallState::Requested);
    assert_eq!(told.call(1).answer, Some(Answer::Approve));
    assert_eq!(told.tell(answered()), Touched::Nothing);
}

#[test]
fn a_call_is_parked_and_goes_on_and_keeps_its_one_outcome() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(finished(1, "", &["a"]));
    told.tell(requested(1, 1, "a"));
    assert_eq!(told.tell(requested(1, 1, "a")), Touched::Nothing);
    told.tell(Event::CallStarted {
        call: CallId(1),
        attempt: 1,
    });
    told.tell(progress(1, 50.0));
    let reason = ParkReason::StaleToken;
    told.tell(Event::CallParked {
        call: CallId(1),
        reason,
    });
    assert_eq!(told.call(1).state, CallState::Parked { reason });
    told.tell(Event::CallResumed {
        call: CallId(1),
        sid: None,
    });
    assert_eq!(told.call(1).state, CallState::Requested);
    told.tell(Event::CallStarted {
        call: CallId(1),
        attempt: 2,
    });
    assert_eq!(told.call(1).progress, None, "a new start is a new progress");
    told.tell(ended(1, Outcome::Ok, "first"));
    assert_eq!(
        told.tell(ended(1, Outcome::Unknown, "second")),
        Touched::Nothing
    );
    assert_eq!(
        told.tell(Event::CallStarted {
            call: CallId(1),
            attempt: 3
        }),
        Touched::Nothing
    );
    assert_eq!(
        told.call(1).state,
        CallState::Finished {
            outcome: Outcome::Ok
        }
    );
    assert_eq!(told.call(1).shown, "first");
}

#[test]
fn servers_keep_their_last_state() {
    let mut told = Told::new();
    let state = |server: &str, state| {
        let server = server.to_owned();
        Event::ServerState(ServerStateChanged {
            server,
            state,
            failure: None,
        })
    };
    told.tell(state("b", ServerState::Connecting));
    told.tell(state("a", ServerState::Forbidden));
    assert_eq!(told.tell(state("b", ServerState::Ready)), Touched::Turn);
    let servers: Vec<_> = told
        .transcript
        .servers
        .iter()
        .map(|s| (s.server.as_str(), s.state))
        .collect();
    assert_eq!(
        servers,
        [("b", ServerState::Ready), ("a", ServerState::Forbidden)]
    );
}

#[test]
fn what_is_previewed_is_not_applied_again() {
    let mut told = Told::new();
    told.tell(started(1, 1));
    told.tell(text(1, 0, "H"));
    assert_eq!(told.transcript.preview(&text(1, 0, "Hé")), Touched::Item(0));
    assert_eq!(
        told.transcript.preview(&text(1, 3, "llo")),
        Touched::Item(0)
    );
    assert_eq!(
        told.tell(text(1, 0, "Héllo")),
        Touched::Nothing,
        "merged, and all there"
    );
    assert_eq!(told.round(0).text, "Héllo");
    assert_eq!(
        told.transcript.preview(&text(1, 7, "gap")),
        Touched::Nothing
    );
    assert_eq!(told.transcript.preview(&text(1, 5, "é")), Touched::Nothing);
    assert_eq!(
        told.transcript.preview(&finished(1, "", &[])),
        Touched::Nothing
    );

    told.tell(finished(1, "Héllo", &["a"]));
    told.tell(requested(1, 1, "a"));
    told.tell(Event::CallStarted {
        call: CallId(1),
        attempt: 1,
    });
    assert_eq!(told.transcript.preview(&progress(1, 1.0)), Touched::Item(1));
    assert_eq!(told.transcript.preview(&progress(1, 2.0)), Touched::Item(1));
    assert_eq!(told.tell(progress(1, 1.0)), Touched::Nothing);
    assert!(told.call(1).progress.as_ref().unwrap().progress > 1.5);
}

#[test]
fn events_about_what_is_not_there_change_nothing() {
    let mut told = Told::new();
    for event in [
        text(1, 0, "x"),
        finished(1, "x", &[]),
        Event::RoundDiscarded { round: RoundId(1) },
        Event::CallStarted {
            call: CallId(1),
            attempt: 1,
        },
        Event::QuestionAsked {
            question: QuestionId(1),
            call: CallId(1),
        },
        progress(1, 1.0),
        ended(1, Outcome::Ok, ""),
    ] {
        assert_eq!(told.tell(event), Touched::Nothing);
    }
    assert_eq!(told.transcript.items, []);
}

proptest! {
    #[test]
    fn deltas_in_any_pieces_and_repeated_give_the_text(
        pieces in proptest::collection::vec("\\PC{0,6}", 1..12),
        repeats in proptest::collection::vec((0_usize..12, 1_usize..6), 0..12),
    ) {
        let whole = pieces.concat();
        let mut told = Told::new();
        told.tell(started(1, 1));
        let mut offset = 0;
        for piece in &pieces {
            told.tell(text(1, offset, piece));
            offset += piece.len();
            for (first, count) in &repeats {
                let first = (*first).min(pieces.len() - 1);
                let start: usize = pieces[..first].iter().map(String::len).sum();
                let merged = pieces[first..].iter().take(*count).cloned().collect::<String>();
                // What was said before, perhaps merged, perhaps with more than was said yet.
                told.tell(text(1, start, &merged));
            }
            prop_assert!(whole.starts_with(&told.round(0).text));
        }
        prop_assert_eq!(&told.round(0).text, &whole);
        prop_assert_eq!(Transcript::fold(&told.log), told.transcript);
    }
}
