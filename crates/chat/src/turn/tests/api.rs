//! Turns of the API: they wait for no person, and end with the connection they belong to.

use super::*;

#[test]
fn a_call_that_would_be_asked_about_needs_an_approval_that_nobody_can_give() {
    let mut turn = Conversation::of(Owner::Connection, TurnLimits::default());
    let told = turn.on(calls_for(1, &["alpha__asked", "alpha__free"]));
    assert!(!told.contains("question.asked"), "{told}");
    let finished = turn.finished(1);
    assert_eq!(finished.outcome, Outcome::ApprovalRequired);
    assert!(finished.result.shown.contains("approve"));
    assert!(told.contains("start call 2"), "the other runs: {told}");
}

#[test]
fn an_account_that_is_missing_ends_the_call_with_where_to_connect_it() {
    let mut turn = Conversation::api(&["alpha__free"]);
    let failure = Failure::new(Layer::Pomerium, "no account", "Open https://a/connect.");
    turn.on(Input::CallRefused {
        call: CallId(1),
        refusal: Refusal::NeedsConnect,
        failure,
    });
    let finished = turn.finished(1);
    assert_eq!(finished.outcome, Outcome::NeedsConnect);
    assert!(finished.result.shown.ends_with("Open https://a/connect."));
    assert_eq!(turn.turn.parked().count(), 0);
}

#[test]
fn a_stale_token_is_waited_out_for_seconds_only() {
    let mut turn = Conversation::api(&["alpha__free"]);
    let effects = turn.turn.on(refused(1, Refusal::StaleToken));
    let timer = effects.iter().find_map(|effect| match effect {
        Effect::SetTimer(TimerId::Parked(_), after) => Some(*after),
        _ => None,
    });
    assert_eq!(timer, Some(limits::PARKED_API));
    turn.take(&effects);

    turn.on(timer_parked(1));
    assert_eq!(turn.finished(1).outcome, Outcome::TokenExpired);
}

#[test]
fn a_newer_token_lets_it_go_on() {
    let mut turn = Conversation::api(&["alpha__free"]);
    turn.on(refused(1, Refusal::StaleToken));
    let told = turn.on(unparked(ParkReason::StaleToken, None));
    assert!(told.contains("start call 1"), "{told}");
}

#[test]
fn after_a_restart_nobody_comes_back() {
    let mut turn = Conversation::api(&["alpha__free", "beta__free"]);
    turn.on(ended(1, Outcome::Ok));
    turn.crash();
    assert_eq!(turn.finished(2).outcome, Outcome::Unknown);
    let last = turn.log.last();
    let interrupted = TurnEnd::Interrupted;
    assert!(
        matches!(last, Some(Event::TurnFinished { end, .. }) if *end == interrupted),
        "{last:?}"
    );
    assert!(turn.turn.is_finished());
}

#[test]
fn when_the_connection_goes_away_the_turn_is_cancelled() {
    let mut turn = Conversation::api(&["alpha__free"]);
    turn.on(Input::Cancel(CancelBy::Connection));
    turn.on(ended(1, Outcome::Cancelled));
    let last = turn.log.last();
    let cancelled = TurnEnd::Cancelled;
    assert!(
        matches!(last, Some(Event::TurnFinished { end, .. }) if *end == cancelled),
        "{last:?}"
    );
}
