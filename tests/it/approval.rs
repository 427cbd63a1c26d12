//! Calls that a person decides on: asked, approved once, denied with a reason, in every tab.

use chat::{
    event::{Answer, Event},
    outcome::{Outcome, TurnEnd},
    policy::Policy,
    transcript::CallState,
};
use futures_util::future::join_all;
use harness::World;
use serde_json::json;

use crate::look::{
    READ, SALES, WRITE, accepted, answer, end, last_request, names, outcomes, problem, queries,
    results,
};

const RAISE: &str = "UPDATE products SET unit_price = unit_price * 1.05";

fn deny(reason: &str) -> Answer {
    let reason = reason.to_owned();
    Answer::Deny { reason }
}

#[tokio::test]
async fn a_call_that_writes_runs_once_after_it_was_approved() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana.ask("Raise prices by 5 %").await;
    let (question, call) = ana.wait_question(&posted.turn).await;
    assert_eq!(world.journal().with("UPDATE").len(), 0);
    accepted(&ana.answer(&posted.turn, question, &Answer::Approve).await);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    let ran = transcript.call(call).unwrap();
    assert_eq!(ran.answer, Some(Answer::Approve));
    assert_eq!(
        ran.state,
        CallState::Finished {
            outcome: Outcome::Ok
        }
    );
    let journal = world.journal();
    let writes: Vec<_> = journal
        .calls
        .iter()
        .filter(|c| c.tool == "write_query")
        .collect();
    assert_eq!(writes.len(), 1, "{journal:?}");
    let names = names(&ana.log(&posted.turn).await);
    let of_call = [
        "question.asked",
        "question.answered",
        "call.started",
        "call.finished",
    ];
    let places = of_call.map(|name| names.iter().rposition(|n| *n == name).unwrap());
    assert!(places.is_sorted(), "{names:?}");

    // Answered is answered.
    let again = ana.answer(&posted.turn, question, &deny("Too late")).await;
    problem(&again, 409, "conflict");
    world.finish().await;
}

#[tokio::test]
async fn a_denial_and_its_reason_are_told_to_the_model() {
    let world = World::start().await;
    let ana = world.ana();
    for (reason, told) in [
        ("It is Friday.", "reason: It is Friday."),
        ("", "denied this call"),
    ] {
        world.model().queue(queries(WRITE, &[RAISE]));
        let posted = ana.ask("Raise them").await;
        let (question, call) = ana.wait_question(&posted.turn).await;
        accepted(&ana.answer(&posted.turn, question, &deny(reason)).await);
        let transcript = ana.wait_end(&posted.turn).await;
        assert_eq!(end(&transcript), TurnEnd::Answered);
        assert_eq!(outcomes(&transcript), [Outcome::DeniedByUser]);
        assert_eq!(transcript.call(call).unwrap().answer, Some(deny(reason)));
        let results = results(&last_request(world.model()));
        assert!(results[0].contains(told), "{results:?}");
    }
    assert_eq!(world.journal().calls.len(), 0);

    // Without a reason at all, as a program may send it.
    world.model().queue(queries(WRITE, &[RAISE]));
    let posted = ana.ask("Raise them").await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    let url = format!("/api/turns/{}/questions/{question}", posted.turn);
    for body in [
        json!({}),
        json!({ "kind": "always" }),
        json!("approve"),
        json!(null),
    ] {
        problem(&ana.post(&url, &body).await, 400, "bad_request");
    }
    let wrong = format!("/api/turns/{}/questions/{}", posted.turn, question.0 + 1);
    problem(
        &ana.post(&wrong, &json!({ "kind": "approve" })).await,
        409,
        "conflict",
    );
    accepted(&ana.post(&url, &json!({ "kind": "deny" })).await);
    assert_eq!(
        outcomes(&ana.wait_end(&posted.turn).await),
        [Outcome::DeniedByUser]
    );
    assert_eq!(world.journal().calls.len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn of_many_tabs_one_answers() {
    let world = World::start().await;
    let (ana, elsewhere) = (world.ana(), world.ana());
    for _ in 0..3 {
        let before = world.journal().calls.len();
        world.model().queue(queries(WRITE, &[RAISE]));
        let posted = ana.ask("Raise them").await;
        let (question, _) = ana.wait_question(&posted.turn).await;
        let mut tab = elsewhere.events(&posted.turn, 0).await;
        tab.until(|frame| frame.event == "question.asked").await;
        let answers = (0..10).map(|n| {
            let user = if n % 2 == 0 { &ana } else { &elsewhere };
            user.answer(&posted.turn, question, &Answer::Approve)
        });
        let answers: Vec<_> = join_all(answers).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 202);
        assert_eq!(won.len(), 1, "{answers:#?}");
        for lost in lost {
            problem(lost, 409, "conflict");
        }
        let transcript = ana.wait_end(&posted.turn).await;
        assert_eq!(outcomes(&transcript), [Outcome::Ok]);
        assert_eq!(world.journal().calls.len(), before + 1);
        // The other tab has seen the answer.
        let seen = tab.rest().await;
        let answered = seen
            .iter()
            .filter(|frame| frame.event == "question.answered");
        assert_eq!(answered.count(), 1);
        let names = names(&ana.log(&posted.turn).await);
        assert!(!names.contains(&"notice"), "{names:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn calls_that_need_no_approval_do_not_wait_for_those_that_do() {
    let world = World::start().await;
    let ana = world.ana();
    let write = |sql: &str| demo::model::Call::new(WRITE, &json!({ "query": sql }));
    let read = demo::model::Call::new(READ, &json!({ "query": "SELECT 'meanwhile'" }));
    let calls = [write("DELETE FROM shippers"), read, write(RAISE)];
    world.model().queue(demo::model::Reply::calls(calls));
    let posted = ana.ask("Three things").await;
    let transcript = ana
        .wait_until(&posted.turn, |turn| {
            let finished = |state| matches!(state, CallState::Finished { .. });
            turn.calls().any(|call| finished(call.state))
        })
        .await;
    let questions: Vec<_> = transcript
        .calls()
        .filter_map(|call| match call.state {
            CallState::Asking { question } => Some(question),
            CallState::Requested
            | CallState::Running
            | CallState::Parked { .. }
            | CallState::Finished { .. } => None,
        })
        .collect();
    assert_eq!(questions.len(), 2);
    accepted(
        &ana.answer(&posted.turn, questions[1], &Answer::Approve)
            .await,
    );
    accepted(&ana.answer(&posted.turn, questions[0], &deny("No.")).await);
    let transcript = ana.wait_end(&posted.turn).await;
    let (ok, denied) = (Outcome::Ok, Outcome::DeniedByUser);
    assert_eq!(outcomes(&transcript), [denied, ok, ok]);
    let results = results(&last_request(world.model()));
    assert!(
        results[0].contains("denied") && results[1].contains("meanwhile"),
        "{results:?}"
    );
    assert_eq!(world.journal().with("DELETE").len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn the_mode_never_asks_never() {
    let world = World::build()
        .setting("TOOLGATE_APPROVAL", "never")
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask("Raise prices by 5 %").await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(policies(&ana.log(&posted.turn).await), [Policy::Allow; 5]);
    assert_eq!(world.journal().with("UPDATE").len(), 1);
    assert!(!names(&ana.log(&posted.turn).await).contains(&"question.asked"));
    world.finish().await;
}

#[tokio::test]
async fn the_mode_always_asks_always() {
    let world = World::build()
        .setting("TOOLGATE_APPROVAL", "always")
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask(SALES).await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    assert_eq!(policies(&ana.log(&posted.turn).await), [Policy::Ask; 5]);
    assert_eq!(world.journal().calls.len(), 0);
    accepted(&ana.answer(&posted.turn, question, &Answer::Approve).await);
    let transcript = ana.wait_end(&posted.turn).await;
    assert!(answer(&transcript).contains("| Year |"), "{transcript:#?}");
    world.finish().await;
}

fn policies(log: &[chat::event::Logged]) -> Vec<Policy> {
    let functions = log.iter().find_map(|logged| {
        let Event::CatalogReady(ready) = &logged.event else {
            return None;
        };
        Some(&ready.functions)
    });
    functions
        .unwrap()
        .iter()
        .map(|function| function.policy)
        .collect()
}
