use super::*;

#[test]
fn calls_run_side_by_side_and_the_next_round_follows_the_last() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(calls_for(1, &["alpha__free", "beta__free"])),
        r#"record round.finished 1 calls, call.requested 1, call.requested 2, call.started 1.1, call.started 2.1
           start call 1: alpha.free {"n":1}
           start call 2: beta.free {"n":1}"#,
    );
    is(
        &conversation.all([accepted(1), accepted(2), ended(2, Outcome::ToolError)]),
        "record call.finished 2 tool_error",
    );
    is(
        &conversation.on(ended(1, Outcome::Ok)),
        "record call.finished 1 ok, round.started 2.1 auto
         send round 2 auto",
    );
    assert_eq!(conversation.finished(1).result.shown, "from the server");
}

#[test]
fn an_unknown_function_has_an_outcome_that_helps_the_model() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(calls_for(1, &["delta__free", "nonsense"])),
        "record round.finished 1 calls, call.requested 1, call.finished 1 unknown_function, \
         call.requested 2, call.finished 2 unknown_function, round.started 2.1 auto
         send round 2 auto",
    );
    let shown = &conversation.finished(1).result.shown;
    assert!(
        shown.ends_with("Did you mean alpha__free or beta__free or gamma__free?"),
        "{shown}"
    );
    assert!(!conversation.finished(2).result.shown.contains("mean"));
}

#[test]
fn arguments_that_do_not_fit_are_told_and_not_sent() {
    let mut conversation = Conversation::asking();
    let told = conversation.on(calls_for(
        1,
        &["alpha__free!", "beta__asked{", "beta__free"],
    ));
    is(
        &told,
        r#"record round.finished 1 calls, call.requested 1, call.finished 1 invalid_arguments, call.requested 2, call.finished 2 invalid_arguments, call.requested 3, call.started 3.1
           start call 3: beta.free {"n":1}"#,
    );
    let shown = &conversation.finished(1).result.shown;
    assert!(
        shown.starts_with("Not run:") && shown.contains("/n"),
        "{shown}"
    );
    assert!(conversation.finished(2).result.shown.contains("not JSON"));
}

#[test]
fn at_most_four_run_at_a_server_and_the_rest_follow_in_order() {
    let mut conversation = Conversation::calling(&["alpha__free"; 6]);
    let running = |conversation: &Conversation| {
        conversation
            .turn
            .calls_in(CallState::is_running)
            .iter()
            .map(|id| id.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(running(&conversation), [1, 2, 3, 4]);
    is(
        &conversation.on(ended(2, Outcome::Ok)),
        r#"record call.finished 2 ok, call.started 5.1
           start call 5: alpha.free {"n":1}"#,
    );
    assert_eq!(running(&conversation), [1, 3, 4, 5]);
}

#[test]
fn at_most_eight_run_in_all() {
    let calls = ["alpha__free", "beta__free", "gamma__free"].repeat(4);
    let mut conversation = Conversation::calling(&calls);
    let count = |conversation: &Conversation| conversation.turn.calls_in(CallState::is_running);
    assert_eq!(count(&conversation).len(), 8);
    conversation.on(ended(1, Outcome::Ok));
    assert_eq!(count(&conversation).len(), 8);
}

#[test]
fn more_calls_than_a_round_may_have_are_refused() {
    let mut conversation = Conversation::calling(&["alpha__free"; 34]);
    assert_eq!(conversation.finished(33).outcome, Outcome::Limit);
    assert!(
        conversation
            .finished(34)
            .result
            .shown
            .contains("fewer at once")
    );
    for call in 1..=32 {
        conversation.on(ended(call, Outcome::Ok));
    }
    assert_eq!(
        told_event(conversation.log.last().unwrap()),
        "round.started 2.1 auto"
    );
}

#[test]
fn a_person_is_asked_and_says_yes() {
    let mut conversation = Conversation::asking();
    is(
        &conversation.on(calls_for(1, &["alpha__asked"])),
        "record round.finished 1 calls, call.requested 1, question.asked 1 of 1
         set timer Question(QuestionId(1)) 86400s",
    );
    assert_eq!(
        conversation.turn.open_questions().collect::<Vec<_>>(),
        [(QuestionId(1), CallId(1))]
    );
    is(
        &conversation.on(approve(1)),
        r#"record question.answered 1, call.started 1.1
           clear timer Question(QuestionId(1))
           start call 1: alpha.asked {"n":1}"#,
    );
    assert_eq!(conversation.turn.open_questions().count(), 0);
}

#[test]
fn a_person_is_asked_and_says_no() {
    let mut conversation = Conversation::calling(&["alpha__asked", "beta__asked"]);
    is(
        &conversation.all([deny(2, "too dear"), deny(1, " ")]),
        "record question.answered 2, call.finished 2 denied_by_user
         clear timer Question(QuestionId(2))
         record question.answered 1, call.finished 1 denied_by_user, round.started 2.1 auto
         clear timer Question(QuestionId(1))
         send round 2 auto",
    );
    assert!(
        conversation
            .finished(2)
            .result
            .shown
            .ends_with("The user's reason: too dear")
    );
    assert!(!conversation.finished(1).result.shown.contains("reason"));
}

#[test]
fn a_long_reason_is_cut_before_it_is_recorded() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    conversation.on(deny(1, &"ü".repeat(100_000)));
    let recorded = conversation.log.iter().find_map(|event| match event {
        Event::QuestionAnswered {
            answer: Answer::Deny { reason },
            ..
        } => Some(reason.len()),
        _ => None,
    });
    assert!(recorded.is_some_and(|bytes| bytes <= limits::DENY_REASON_BYTES));
    assert!(conversation.finished(1).result.shown.len() < limits::DENY_REASON_BYTES + 200);
}

#[test]
fn a_question_that_nobody_answers_in_time_is_a_no() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    let ring = || Input::Timer(TimerId::Question(QuestionId(1)));
    is(
        &conversation.on(ring()),
        "record call.finished 1 denied_by_user, round.started 2.1 auto
         send round 2 auto",
    );
    let shown = &conversation.finished(1).result.shown;
    assert!(shown.contains("nobody answered within 24 hours"), "{shown}");
    is(&conversation.all([ring(), approve(1)]), "record notice");
}

#[test]
fn an_approved_call_waits_for_a_slot() {
    let calls = [
        "alpha__free",
        "alpha__free",
        "alpha__free",
        "alpha__free",
        "alpha__asked",
    ];
    let mut conversation = Conversation::calling(&calls);
    is(
        &conversation.on(approve(1)),
        "record question.answered 1
         clear timer Question(QuestionId(1))",
    );
    is(
        &conversation.on(ended(1, Outcome::Ok)),
        r#"record call.finished 1 ok, call.started 5.1
           start call 5: alpha.asked {"n":1}"#,
    );
}

#[test]
fn a_second_answer_changes_nothing_and_is_noticed_a_few_times() {
    let mut conversation = Conversation::calling(&["alpha__asked"]);
    conversation.on(approve(1));
    for _ in 0..100 {
        let told = conversation.on(deny(1, "no!"));
        assert!(["", "record notice"].contains(&told.as_str()), "{told}");
    }
    assert_eq!(conversation.notices().len(), 8);
}

#[test]
fn an_input_for_a_call_that_has_its_outcome_is_only_noticed() {
    let mut conversation = Conversation::calling(&["alpha__free", "beta__free"]);
    conversation.on(ended(1, Outcome::Ok));
    is(
        &conversation.all([
            ended(1, Outcome::Timeout),
            refused(1, Refusal::StaleToken),
            accepted(1),
        ]),
        "record notice
         record notice
         record notice",
    );
}

#[test]
fn a_call_with_a_stale_token_is_parked_and_goes_on_with_a_new_one() {
    let mut conversation = Conversation::calling(&["alpha__free"]);
    is(
        &conversation.on(refused(1, Refusal::StaleToken)),
        "record call.parked 1 stale_token
         set timer Parked(CallId(1)) 1800s",
    );
    let parked = ParkedCall {
        call: CallId(1),
        reason: ParkReason::StaleToken,
        server: "alpha",
    };
    assert_eq!(conversation.turn.parked().collect::<Vec<_>>(), [parked]);
    let sid = Some("other".into());
    is(
        &conversation.on(Input::Unparked {
            reason: ParkReason::StaleToken,
            server: None,
            sid,
        }),
        r#"record call.resumed 1 other, call.started 1.2
           clear timer Parked(CallId(1))
           start call 1: alpha.free {"n":1}"#,
    );
}

#[test]
fn only_what_waits_for_it_is_unparked() {
    let mut conversation = Conversation::calling(&["alpha__free", "beta__free", "gamma__free"]);
    conversation.all([
        refused(1, Refusal::NeedsConnect),
        refused(2, Refusal::NeedsConnect),
        refused(3, Refusal::StaleToken),
    ]);
    is(
        &conversation.on(unparked(ParkReason::NeedsConnect, Some("beta"))),
        r#"record call.resumed 2, call.started 2.2
           clear timer Parked(CallId(2))
           start call 2: beta.free {"n":1}"#,
    );
}

#[test]
fn the_third_refusal_of_this_kind_is_the_end() {
    for (refusal, reason, outcome) in [
        (
            Refusal::StaleToken,
            ParkReason::StaleToken,
            Outcome::TokenExpired,
        ),
        (
            Refusal::NeedsConnect,
            ParkReason::NeedsConnect,
            Outcome::NeedsConnect,
        ),
    ] {
        let mut conversation = Conversation::calling(&["alpha__free"]);
        for _ in 0..2 {
            conversation.all([refused(1, refusal), unparked(reason, None)]);
        }
        let told = conversation.on(refused(1, refusal));
        assert!(
            told.starts_with(&format!("record call.finished 1 {}", word(&outcome))),
            "{told}"
        );
        assert_eq!(
            conversation.finished(1).failure,
            Some(failure(Layer::Pomerium))
        );
    }
}

#[test]
fn a_parked_call_does_not_wait_for_ever() {
    let mut conversation = Conversation::calling(&["alpha__free", "beta__free"]);
    conversation.all([
        refused(1, Refusal::NeedsConnect),
        refused(2, Refusal::StaleToken),
    ]);
    is(
        &conversation.all([timer_parked(1), timer_parked(1), timer_parked(2)]),
        "record call.finished 1 needs_connect
         record call.finished 2 token_expired, round.started 2.1 auto
         send round 2 auto",
    );
    assert_eq!(
        conversation.finished(1).failure,
        Some(failure(Layer::Pomerium))
    );
}

#[test]
fn a_parked_call_frees_its_slot_and_waits_for_one_when_it_is_back() {
    let mut conversation = Conversation::calling(&["alpha__free"; 5]);
    is(
        &conversation.on(refused(1, Refusal::StaleToken)),
        r#"record call.parked 1 stale_token, call.started 5.1
           set timer Parked(CallId(1)) 1800s
           start call 5: alpha.free {"n":1}"#,
    );
    is(
        &conversation.on(unparked(ParkReason::StaleToken, None)),
        "record call.resumed 1
         clear timer Parked(CallId(1))",
    );
    is(
        &conversation.on(ended(3, Outcome::Ok)),
        r#"record call.finished 3 ok, call.started 1.2
           start call 1: alpha.free {"n":1}"#,
    );
}

#[test]
fn a_lost_session_or_a_changed_header_is_tried_once_more() {
    for (refusal, outcome) in [
        (Refusal::SessionGone, Outcome::Unavailable),
        (Refusal::HeaderMismatch, Outcome::ProtocolError),
    ] {
        let mut conversation = Conversation::calling(&["alpha__free", "beta__free"]);
        is(
            &conversation.all([refused(1, refusal), refused(1, refusal)]),
            &format!(
                r#"record call.started 1.2
                   start call 1: alpha.free {{"n":1}}
                   record call.finished 1 {}"#,
                word(&outcome)
            ),
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
fn a_refusal_for_good_is_the_outcome() {
    for (refusal, outcome) in [
        (Refusal::Denied, Outcome::DeniedByPolicy),
        (Refusal::TooLarge, Outcome::Limit),
    ] {
        let mut conversation = Conversation::calling(&["alpha__free"]);
        conversation.on(refused(1, refusal));
        assert_eq!(conversation.finished(1).outcome, outcome);
        assert!(
            conversation
                .finished(1)
                .result
                .shown
                .starts_with("Not run:")
        );
        assert_eq!(
            conversation.finished(1).failure,
            Some(failure(Layer::Pomerium))
        );
    }
}

#[test]
fn a_refusal_after_acceptance_is_the_end_and_no_restart() {
    for refusal in [
        Refusal::StaleToken,
        Refusal::NeedsConnect,
        Refusal::Denied,
        Refusal::TooLarge,
        Refusal::SessionGone,
        Refusal::HeaderMismatch,
    ] {
        let mut conversation = Conversation::calling(&["alpha__free"]);
        is(
            &conversation.all([accepted(1), refused(1, refusal)]),
            "record call.finished 1 protocol_error, round.started 2.1 auto
             send round 2 auto",
        );
        let finished = conversation.finished(1);
        assert_eq!(finished.failure, Some(failure(Layer::Pomerium)));
        assert!(finished.result.shown.contains("may have had an effect"));
    }
}
