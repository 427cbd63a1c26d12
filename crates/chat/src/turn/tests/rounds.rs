use super::*;

const STOP: RoundEnd = RoundEnd::Stop;

#[test]
fn a_turn_loads_its_catalogs_and_asks_the_model() {
    let mut turn = Turn::new(TurnLimits::default());
    assert_eq!(turn.on(Input::Start(started())), [Effect::LoadCatalog]);
    assert_eq!(turn.on(Input::Start(started())), [], "and begins once");

    let mut conversation = Conversation { turn, log: vec![] };
    is(
        &conversation.on(Input::CatalogReady(toolbox())),
        "record catalog.ready, round.started 1.1 auto
         send round 1 auto",
    );
    let Some(Event::RoundStarted { catalogs, .. }) = conversation.log.last() else {
        panic!("{:?}", conversation.log)
    };
    assert_eq!(catalogs.len(), 3);
}

#[test]
fn nothing_happens_before_the_start() {
    let mut turn = Turn::new(TurnLimits::default());
    let early = [
        Input::CatalogReady(toolbox()),
        answer(1, STOP, "Hello."),
        accepted(1),
        Input::Cancel(CancelBy::User),
        Input::Timer(TimerId::CancelGrace),
    ];
    for input in early {
        assert_eq!(turn.on(input), []);
    }
}

#[test]
fn an_answer_without_calls_ends_the_turn() {
    for end in [STOP, RoundEnd::Calls] {
        let mut conversation = Conversation::asking();
        let told = conversation.on(answer(1, end, "42"));
        is(
            &told,
            &format!(
                "record round.finished 1 {}, turn.finished answered",
                word(&end)
            ),
        );
        assert!(conversation.turn.is_finished());
    }
}

#[test]
fn calls_decide_whatever_reason_the_endpoint_gives_for_the_end() {
    let mut conversation = Conversation::asking();
    let (round, usage, message) = (RoundId(1), None, message_for(1, &["alpha__free"]));
    is(
        &conversation.on(Input::RoundEnded {
            round,
            end: STOP,
            usage,
            message,
        }),
        r#"record round.finished 1 stop, call.requested 1, call.started 1.1
           start call 1: alpha.free {"n":1}"#,
    );
}

#[test]
fn an_answer_that_says_nothing_is_noticed() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(answer(1, STOP, "")),
        "record round.finished 1 stop, notice, turn.finished answered",
    );
}

#[test]
fn an_answer_cut_by_the_token_limit_stands_and_its_calls_are_dropped() {
    let mut conversation = Conversation::asking();
    let (round, usage, message) = (RoundId(1), None, message_for(1, &["alpha__free"]));
    is(
        &conversation.on(Input::RoundEnded {
            round,
            end: RoundEnd::Length,
            usage,
            message,
        }),
        "record round.finished 1 length, notice, turn.finished limit",
    );
    assert!(conversation.notices()[0].contains("were not run"));
    let recorded = conversation.log.iter().find_map(|event| match event {
        Event::RoundFinished { message, .. } => Some(message),
        _ => None,
    });
    assert_eq!(
        recorded.unwrap().calls,
        [],
        "a call without an outcome could not be sent again"
    );
}

#[test]
fn a_filtered_answer_ends_the_turn_with_a_notice() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(answer(1, RoundEnd::Filtered, "Well,")),
        "record round.finished 1 filtered, notice, turn.finished answered",
    );
}

#[test]
fn a_passing_fault_is_tried_twice_more_each_time_later() {
    let mut conversation = Conversation::asking();
    let fault = || fails(1, Retry::After(None), Partial::Nothing);
    let retry = || Input::Timer(TimerId::Retry(RoundId(1)));
    is(
        &conversation.all([fault(), retry(), fault(), retry(), fault()]),
        "record round.retrying 1 500ms
         set timer Retry(RoundId(1)) 500ms
         record round.started 1.2 auto
         send round 1 auto
         record round.retrying 1 1000ms
         set timer Retry(RoundId(1)) 1s
         record round.started 1.3 auto
         send round 1 auto
         record turn.finished failed",
    );
    let Some(Event::TurnFinished { failure: told, .. }) = conversation.log.last() else {
        unreachable!()
    };
    assert_eq!(*told, Some(failure(Layer::Model)));
}

#[test]
fn each_round_has_its_own_retries() {
    let mut conversation = Conversation::asking();
    let fault = |round| fails(round, Retry::After(None), Partial::Nothing);
    let retry = |round| Input::Timer(TimerId::Retry(RoundId(round)));
    conversation.all([fault(1), retry(1), fault(1), retry(1)]);
    conversation.all([calls_for(1, &["alpha__free"]), ended(1, Outcome::Ok)]);
    is(
        &conversation.on(fault(2)),
        "record round.retrying 2 500ms
         set timer Retry(RoundId(2)) 500ms",
    );
}

#[test]
fn the_endpoint_says_how_long_to_wait_within_reason() {
    for (asked, told) in [(0, "0ns"), (7_000, "7s"), (86_400_000, "20s")] {
        let mut conversation = Conversation::asking();
        let effects = conversation.on(fails(1, Retry::After(Some(asked)), Partial::Nothing));
        assert!(
            effects.ends_with(&format!("set timer Retry(RoundId(1)) {told}")),
            "{effects}"
        );
    }
}

#[test]
fn a_cut_stream_is_discarded_and_sent_again_once() {
    let mut conversation = Conversation::asking();
    let cut = || fails(1, Retry::After(None), Partial::Shown);
    is(
        &conversation.all([cut(), Input::Timer(TimerId::Retry(RoundId(1))), cut()]),
        "record round.discarded 1, round.retrying 1 500ms
         set timer Retry(RoundId(1)) 500ms
         record round.started 1.2 auto
         send round 1 auto
         record turn.finished failed",
    );
}

#[test]
fn a_fault_that_will_not_pass_or_an_abort_of_our_own_ends_the_turn() {
    for retry in [Retry::Never, Retry::Aborted] {
        let mut conversation = Conversation::asking();
        is(
            &conversation.on(fails(1, retry, Partial::Nothing)),
            "record turn.finished failed",
        );
    }
}

#[test]
fn the_last_round_may_not_call() {
    let mut conversation = Conversation::asking_within(TurnLimits {
        rounds: 2,
        calls: 128,
        ..TurnLimits::default()
    });
    conversation.on(calls_for(1, &["alpha__free"]));
    is(
        &conversation.all([ended(1, Outcome::Ok), answer(2, STOP, "So far.")]),
        "record call.finished 1 ok, round.started 2.1 none
         send round 2 none
         record round.finished 2 stop, turn.finished limit",
    );
}

#[test]
fn a_model_that_calls_in_its_last_round_gets_nothing_run() {
    let mut conversation = Conversation::asking_within(TurnLimits {
        rounds: 1,
        calls: 128,
        ..TurnLimits::default()
    });
    is(
        &conversation.on(calls_for(1, &["alpha__free", "beta__asked"])),
        "record round.finished 1 calls, call.requested 1, call.finished 1 limit, \
         call.requested 2, call.finished 2 limit, turn.finished limit",
    );
}

#[test]
fn the_round_after_the_last_call_may_not_call() {
    let mut conversation = Conversation::asking_within(TurnLimits {
        rounds: 32,
        calls: 2,
        ..TurnLimits::default()
    });
    is(
        &conversation.on(calls_for(1, &["alpha__free", "alpha__free", "alpha__free"])),
        r#"record round.finished 1 calls, call.requested 1, call.requested 2, call.requested 3, call.finished 3 limit, call.started 1.1, call.started 2.1
           start call 1: alpha.free {"n":1}
           start call 2: alpha.free {"n":1}"#,
    );
    assert!(
        conversation
            .finished(3)
            .result
            .shown
            .starts_with("Not run: this turn")
    );
    is(
        &conversation.all([ended(1, Outcome::Ok), ended(2, Outcome::Ok)]),
        "record call.finished 1 ok
         record call.finished 2 ok, round.started 2.1 none
         send round 2 none",
    );
}

#[test]
fn a_changed_catalog_counts_from_the_next_round() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    let (same, fewer) = (toolbox(), offering(&["alpha"]));
    is(
        &conversation.all([Input::CatalogReady(fewer), Input::CatalogReady(same)]),
        "",
    );
    is(
        &conversation.on(ended(1, Outcome::Ok)),
        "record call.finished 1 ok, round.started 2.1 auto
         send round 2 auto",
    );
    is(
        &conversation.on(Input::CatalogReady(offering(&["alpha"]))),
        "",
    );
    let offered = conversation.turn.on(calls_for(2, &["beta__free"]));
    assert!(
        offered
            .iter()
            .any(|effect| matches!(effect, Effect::StartCall { .. }))
    );
    is(
        &conversation.on(ended(2, Outcome::Ok)),
        "record call.finished 2 ok, catalog.ready, round.started 3.1 auto
         send round 3 auto",
    );
}

#[test]
fn a_round_is_sent_again_with_what_it_was_offered() {
    let mut conversation = Conversation::asking();
    conversation.on(fails(1, Retry::After(None), Partial::Nothing));
    conversation.on(Input::CatalogReady(offering(&[])));
    let effects = conversation
        .turn
        .on(Input::Timer(TimerId::Retry(RoundId(1))));
    let Some(Effect::SendRound { toolbox: sent, .. }) = effects.last() else {
        panic!("{effects:?}")
    };
    assert_eq!(*sent, toolbox());
}

#[test]
fn what_is_late_or_foreign_changes_nothing() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    let stale = [
        answer(1, STOP, "Again."),
        answer(2, STOP, "Too early."),
        fails(1, Retry::Never, Partial::Nothing),
        Input::Timer(TimerId::Retry(RoundId(1))),
        Input::Timer(TimerId::CancelGrace),
        timer_parked(1),
        accepted(7),
        ended(7, Outcome::Ok),
        refused(7, Refusal::Denied),
        unparked(ParkReason::StaleToken, None),
    ];
    is(&conversation.all(stale), "");
}

#[test]
fn after_the_end_nothing_follows() {
    let mut conversation = Conversation::asking();
    conversation.on(answer(1, STOP, "42"));
    let late = [
        answer(1, STOP, "43"),
        accepted(1),
        approve(1),
        Input::CatalogReady(toolbox()),
        Input::Cancel(CancelBy::User),
        Input::LogLost,
    ];
    is(&conversation.all(late), "");
}
