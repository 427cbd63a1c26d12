use super::*;

const BACK: fn() -> Input = || Input::CatalogReady(toolbox());

#[test]
fn a_turn_that_never_had_its_catalogs_loads_them() {
    let mut conversation = Conversation {
        turn: Turn::new(TurnLimits::default()),
        log: vec![],
    };
    is(&conversation.crash(), "");
    conversation.log.push(Event::TurnStarted(started()));
    is(&conversation.crash(), "load catalog");
    is(
        &conversation.on(BACK()),
        "record catalog.ready, round.started 1.1 auto
         send round 1 auto",
    );
}

#[test]
fn an_open_round_is_discarded_and_sent_again() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.crash(),
        "record round.discarded 1
         load catalog",
    );
    is(
        &conversation.on(answer(1, RoundEnd::Stop, "From before.")),
        "",
    );
    is(
        &conversation.on(BACK()),
        "record round.started 1.2 auto
         send round 1 auto",
    );
}

#[test]
fn a_round_sent_again_after_a_crash_is_offered_what_there_is_now() {
    let mut conversation = Conversation::asking();
    conversation.crash();
    is(
        &conversation.on(Input::CatalogReady(offering(&["alpha"]))),
        "record catalog.ready, round.started 1.2 auto
         send round 1 auto",
    );
}

#[test]
fn a_crash_does_not_use_up_a_retry() {
    let mut conversation = Conversation::asking();
    conversation.crash();
    conversation.on(BACK());
    is(
        &conversation.on(fails(1, Retry::After(None), Partial::Shown)),
        "record round.discarded 1, round.retrying 1 500ms
         set timer Retry(RoundId(1)) 500ms",
    );
    is(&conversation.crash(), "load catalog");
    is(
        &conversation.all([BACK(), fails(1, Retry::After(None), Partial::Shown)]),
        "record round.started 1.3 auto
         send round 1 auto
         record turn.finished failed",
    );
}

#[test]
fn a_started_call_is_unknown_and_never_started_again() {
    let mut conversation = Conversation::calling(&["alpha__free", "beta__free"]);
    conversation.on(ended(2, Outcome::Ok));
    is(
        &conversation.crash(),
        "record call.finished 1 unknown
         load catalog",
    );
    is(
        &conversation.on(BACK()),
        "record round.started 2.1 auto
         send round 2 auto",
    );
}

#[test]
fn a_call_that_was_only_asked_for_starts_when_the_owner_is_back() {
    let mut conversation = Conversation::calling(&["alpha__free"; 5]);
    is(
        &conversation.crash(),
        "record call.finished 1 unknown, call.finished 2 unknown, call.finished 3 unknown, \
         call.finished 4 unknown
         load catalog",
    );
    is(
        &conversation.on(BACK()),
        r#"record call.started 5.1
           start call 5: alpha.free {"n":1}"#,
    );
}

#[test]
fn a_question_keeps_waiting() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    is(
        &conversation.crash(),
        "set timer Question(QuestionId(1)) 86400s
         load catalog",
    );
    is(
        &conversation.on(approve(1)),
        "record question.answered 1
         clear timer Question(QuestionId(1))",
    );
    is(
        &conversation.on(BACK()),
        r#"record call.started 1.1
           start call 1: alpha.asked {"n":1}"#,
    );
}

#[test]
fn questions_are_numbered_on() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    conversation.crash();
    conversation.all([BACK(), deny(1, "")]);
    conversation.on(calls_for(2, &["beta__asked"]));
    assert_eq!(
        conversation.turn.open_questions().collect::<Vec<_>>(),
        [(QuestionId(2), CallId(2))]
    );
}

#[test]
fn a_parked_call_keeps_waiting_for_as_long_as_any() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    conversation.on(refused(1, Refusal::StaleToken));
    is(
        &conversation.crash(),
        "set timer Parked(CallId(1)) 1800s
         load catalog",
    );
    is(
        &conversation.all([unparked(ParkReason::StaleToken, None), BACK()]),
        r#"record call.resumed 1
           clear timer Parked(CallId(1))
           record call.started 1.2
           start call 1: alpha.free {"n":1}"#,
    );
    conversation.on(refused(1, Refusal::StaleToken));
    conversation.crash();
    conversation.on(timer_parked(1));
    assert_eq!(conversation.finished(1).outcome, Outcome::TokenExpired);
    assert_eq!(
        conversation.finished(1).failure.as_ref().unwrap().layer,
        Layer::Pomerium
    );
}

#[test]
fn parkings_and_restarts_are_counted_over_a_crash() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    for _ in 0..2 {
        conversation.on(refused(1, Refusal::StaleToken));
        conversation.crash();
        conversation.all([BACK(), unparked(ParkReason::StaleToken, None)]);
    }
    conversation.on(refused(1, Refusal::StaleToken));
    assert_eq!(conversation.finished(1).outcome, Outcome::TokenExpired);
}

#[test]
fn a_turn_that_was_stopping_ends() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    conversation.on(Input::Cancel(CancelBy::User));
    is(
        &conversation.crash(),
        "record call.finished 1 unknown, turn.finished cancelled",
    );

    let mut speaking = Conversation::asking();
    speaking.on(Input::Cancel(CancelBy::User));
    is(&speaking.crash(), "record turn.finished cancelled");
}

#[test]
fn a_turn_nobody_came_back_to_is_interrupted_without_having_begun_anything() {
    let mut conversation = Conversation::calling(&["alpha__free"; 5]);
    conversation.crash();
    is(
        &conversation.on(Input::Cancel(CancelBy::Recovery)),
        "record turn.cancelling recovery, call.finished 5 cancelled, turn.finished interrupted",
    );
}

#[test]
fn a_finished_turn_stays_finished() {
    let mut conversation = Conversation::asking();
    conversation.on(answer(1, RoundEnd::Stop, "42"));
    is(&conversation.crash(), "");
    assert!(conversation.turn.is_finished());
    is(&conversation.on(BACK()), "");
}

#[test]
fn what_the_driver_writes_around_the_engine_is_ignored() {
    let mut conversation = Conversation::calling(&["alpha__free"; 5]);
    let before = conversation.turn.state.clone();
    let delta = crate::event::Delta {
        round: RoundId(1),
        offset: 0,
        text: "So".into(),
    };
    conversation.log.push(Event::TextDelta(delta.clone()));
    conversation.log.push(Event::ReasoningDelta(delta));
    conversation.log.push(Event::Notice {
        call: None,
        text: "Hm.".into(),
    });
    let mut state = State::default();
    for event in &conversation.log {
        state.apply(event);
    }
    assert_eq!(state, before);
}
