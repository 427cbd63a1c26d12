use super::*;

const USER: Input = Input::Cancel(CancelBy::User);

#[test]
fn stopping_while_the_model_speaks_ends_the_request_and_then_the_turn() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(USER),
        "record turn.cancelling user
         abort round 1
         set timer CancelGrace 3s",
    );
    is(
        &conversation.on(fails(1, Retry::Aborted, Partial::Shown)),
        "record turn.finished cancelled
         clear timer CancelGrace",
    );
}

#[test]
fn stopping_cancels_what_is_with_nobody_at_once_and_waits_for_the_rest() {
    let calls = [
        "alpha__free",
        "alpha__free",
        "alpha__free",
        "alpha__free",
        "alpha__free",
        "beta__asked",
    ];
    let mut conversation = Conversation::calling(&calls);
    conversation.on(refused(1, Refusal::NeedsConnect));
    conversation.all([ended(2, Outcome::Ok), ended(3, Outcome::Ok)]);
    is(
        &conversation.on(USER),
        "record turn.cancelling user, call.finished 1 cancelled, call.finished 6 cancelled
         clear timer Question(QuestionId(1))
         clear timer Parked(CallId(1))
         cancel call 4
         cancel call 5
         set timer CancelGrace 3s",
    );
    assert!(
        conversation
            .finished(6)
            .result
            .shown
            .starts_with("Not run:")
    );
    is(
        &conversation.all([ended(4, Outcome::Cancelled), ended(5, Outcome::Ok)]),
        "record call.finished 4 cancelled
         record call.finished 5 ok, turn.finished cancelled
         clear timer CancelGrace",
    );
}

#[test]
fn a_call_that_does_not_end_in_the_grace_is_unknown() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    conversation.all([accepted(1), USER]);
    is(
        &conversation.on(Input::Timer(TimerId::CancelGrace)),
        "record call.finished 1 unknown, turn.finished cancelled",
    );
}

#[test]
fn a_model_request_that_does_not_end_in_the_grace_is_given_up() {
    let mut conversation = Conversation::asking();
    conversation.on(USER);
    is(
        &conversation.on(Input::Timer(TimerId::CancelGrace)),
        "record turn.finished cancelled",
    );
}

#[test]
fn stopping_twice_is_stopping_once() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    conversation.on(USER);
    is(
        &conversation.all([USER, Input::Cancel(CancelBy::Recovery)]),
        "",
    );
}

#[test]
fn a_turn_that_waits_only_for_a_person_stops_at_once() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    is(
        &conversation.on(Input::Cancel(CancelBy::Recovery)),
        "record turn.cancelling recovery, call.finished 1 cancelled, turn.finished interrupted
         clear timer Question(QuestionId(1))",
    );
}

#[test]
fn stopping_before_the_catalogs_are_there_stops_at_once() {
    let mut turn = Turn::new(TurnLimits::default());
    turn.on(Input::Start(started()));
    let mut conversation = Conversation { turn, log: vec![] };
    is(
        &conversation.on(USER),
        "record turn.cancelling user, turn.finished cancelled",
    );
}

#[test]
fn stopping_while_a_round_waits_to_be_sent_again_stops_at_once() {
    let mut conversation = Conversation::asking();
    conversation.on(fails(1, Retry::After(None), Partial::Nothing));
    is(
        &conversation.on(USER),
        "record turn.cancelling user, turn.finished cancelled
         clear timer Retry(RoundId(1))",
    );
}

#[test]
fn an_answer_that_beats_the_abort_is_kept_and_its_calls_are_cancelled() {
    let mut conversation = Conversation::asking();
    conversation.on(USER);
    is(
        &conversation.on(calls_for(1, &["alpha__free", "beta__asked", "nonsense"])),
        "record round.finished 1 calls, call.requested 1, call.requested 2, \
         question.asked 1 of 2, call.requested 3, call.finished 3 unknown_function, \
         call.finished 1 cancelled, call.finished 2 cancelled, turn.finished cancelled
         clear timer CancelGrace",
    );
}

#[test]
fn a_refused_call_of_a_stopping_turn_did_not_run() {
    for refusal in [Refusal::StaleToken, Refusal::SessionGone, Refusal::Denied] {
        let mut conversation = Conversation::calling(&["alpha__free"]);
        conversation.on(USER);
        is(
            &conversation.on(refused(1, refusal)),
            "record call.finished 1 cancelled, turn.finished cancelled
             clear timer CancelGrace",
        );
        assert!(
            conversation
                .finished(1)
                .result
                .shown
                .starts_with("Not run:")
        );
    }
}

#[test]
fn a_stopping_turn_begins_nothing() {
    let mut conversation = Conversation::calling(&["alpha__free"; 6]);
    conversation.on(USER);
    let told = conversation.all([
        Input::CatalogReady(offering(&[])),
        ended(1, Outcome::Ok),
        unparked(ParkReason::StaleToken, None),
    ]);
    is(&told, "record call.finished 1 ok");
}

#[test]
fn a_lost_log_lets_go_of_everything_without_a_word() {
    let mut conversation =
        Conversation::calling(&["alpha__free", "beta__free", "gamma__free", "gamma__asked"]);
    conversation.on(refused(3, Refusal::StaleToken));
    is(
        &conversation.on(Input::LogLost),
        "cancel call 1
         cancel call 2
         clear timer Question(QuestionId(1))
         clear timer Parked(CallId(3))",
    );
    assert!(conversation.turn.is_finished());
    let late = [
        ended(1, Outcome::Ok),
        accepted(2),
        approve(1),
        USER,
        Input::LogLost,
    ];
    is(&conversation.all(late), "");

    is(&Conversation::asking().on(Input::LogLost), "abort round 1");
}
