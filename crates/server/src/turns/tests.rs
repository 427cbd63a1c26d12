use chat::{
    event::{CallRequested, Event, Logged, ParkReason},
    ids::{CallId, RoundId, Sid},
};

use super::*;

/// A turn whose one call is parked for a newer token.
fn parked(conversation: Option<ConversationId>) -> Arc<Running> {
    let open = OpenTurn {
        turn: TurnId::from("t"),
        subject: Subject::from("ana"),
        conversation,
        sid: Sid::from("s"),
        epoch: 1,
        deleted: false,
    };
    let running = Running::without_driver(&open);
    let call = CallId(1);
    let requested = Event::CallRequested(CallRequested {
        call,
        round: RoundId(1),
        model_id: "a".to_owned(),
        function: "f".to_owned(),
        target: None,
        arguments: "{}".to_owned(),
    });
    let reason = ParkReason::StaleToken;
    let started = Event::CallStarted { call, attempt: 1 };
    let parked = Event::CallParked { call, reason };
    let log = [requested, started, parked].into_iter().zip(1..);
    let log: Vec<Logged> = log
        .map(|(event, seq)| Logged { seq, at: 0, event })
        .collect();
    running.live.committed(&log);
    running
}

#[test]
fn a_turn_of_the_api_that_waits_for_a_token_is_work() {
    assert!(!parked(Some(ConversationId::from("c"))).is_working());
    assert!(parked(None).is_working());
}
