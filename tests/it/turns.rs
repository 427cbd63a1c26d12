//! Turns from the question to the answer: rounds, calls, limits, what the model is sent.

use chat::{
    event::Event,
    message::ToolChoice,
    outcome::{Outcome, TurnEnd},
    shape::ShapeStep,
    transcript::CallState,
};
use demo::model::{Call, CapturedRequest, Reply};
use harness::{JournalCall, User, World};
use serde_json::{Value, json};

use crate::look::{
    ENDLESS, READ, SALES, accepted, answer, assert_numbered, end, eventually, last_request, names,
    outcomes, queries, results, rounds,
};

#[tokio::test]
async fn the_sales_question_is_answered_from_the_rows() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana.ask(SALES).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);

    let log = ana.log(&posted.turn).await;
    assert_numbered(&log);
    let before_round = log
        .iter()
        .position(|logged| is_name(&logged.event, "round.started"));
    let (start, rest) = log.split_at(before_round.unwrap());
    assert_eq!(names(start).first(), Some(&"turn.started"));
    assert_eq!(names(start).last(), Some(&"catalog.ready"));
    assert_eq!(
        names(rest),
        [
            "round.started",
            "round.finished",
            "call.requested",
            "call.started",
            "call.finished",
            "round.started",
            "round.finished",
            "turn.finished",
        ]
    );

    // The database itself, asked without northwind.
    let file = world.data().join("northwind.db");
    let database = rusqlite::Connection::open(file).unwrap();
    let mut by_year = database
        .prepare("SELECT substr(order_date, 1, 4), count(*) FROM orders GROUP BY 1 ORDER BY 1")
        .unwrap();
    let rows = by_year.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let rows: Vec<(String, u32)> = rows.unwrap().map(Result::unwrap).collect();
    assert!(rows.len() > 1, "{rows:?}");
    for (year, orders) in rows {
        let line = format!("| {year} | {orders} |");
        assert!(
            answer(&transcript).contains(&line),
            "{line}: {transcript:#?}"
        );
    }

    let journal = world.journal();
    let [call] = journal.calls.as_slice() else {
        panic!("{journal:?}")
    };
    assert_eq!(call.outcome.as_deref(), Some("ok"));
    world.finish().await;
}

#[tokio::test]
async fn every_round_of_a_conversation_begins_with_the_bytes_of_the_one_before() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana
        .ask("Which tables are there, and what is in the largest?")
        .await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert!(rounds(&transcript).len() >= 4, "{transcript:#?}");
    assert!(
        outcomes(&transcript)
            .iter()
            .all(|&outcome| outcome == Outcome::Ok)
    );
    let again = ana.ask_in(&posted.conversation, SALES).await;
    assert_eq!(end(&ana.wait_end(&again.turn).await), TurnEnd::Answered);

    let requests = world.model().requests();
    assert_eq!(requests.len(), rounds(&transcript).len() + 2);
    for pair in requests.windows(2) {
        let [before, after] = pair else {
            unreachable!()
        };
        assert_eq!(before.verdict, Ok(()), "{before:?}");
        let grown = before.body.strip_suffix(b"]}").expect("messages come last");
        assert!(after.body.starts_with(grown), "{pair:#?}");
        assert!(after.messages().len() > before.messages().len());
    }
    let functions = functions(&last_request(world.model()));
    assert!(functions.len() >= 4);
    assert!(functions.is_sorted(), "{functions:?}");
    world.finish().await;
}

#[tokio::test]
async fn calls_of_one_round_run_side_by_side_as_far_as_one_server_stands() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(queries(READ, &[ENDLESS; 5]));
    let posted = ana.ask("Count for ever").await;
    eventually("four calls at once", || world.journal().calls.len() == 4).await;
    let transcript = ana.turn(&posted.turn).await;
    let states: Vec<_> = transcript.calls().map(|call| call.state).collect();
    let mut expected = [CallState::Running; 5];
    expected[4] = CallState::Requested;
    assert_eq!(states, expected);
    assert!(
        world
            .journal()
            .calls
            .iter()
            .all(|call| call.outcome.is_none())
    );

    accepted(&ana.cancel(&posted.turn).await);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Cancelled; 5]);
    assert_eq!(world.journal().calls.len(), 4);
    let cancelled = |call: &JournalCall| call.outcome.as_deref() == Some("cancelled");
    eventually("northwind has stopped them", || {
        world.journal().calls.iter().all(cancelled)
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn parallel_calls_come_back_in_the_order_in_which_they_were_asked_for() {
    let world = World::start().await;
    let ana = world.ana();
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
                SELECT 'first', count(*) FROM n";
    world
        .model()
        .queue(queries(READ, &[slow, "SELECT 'second'", "SELECT 'third'"]));
    let posted = ana.ask("Three at once").await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok; 3]);
    let results = results(&last_request(world.model()));
    assert_eq!(results.len(), 3);
    for (result, word) in results.iter().zip(["first", "second", "third"]) {
        assert!(result.contains(word), "{results:#?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_last_round_of_the_limit_may_not_call() {
    let world = World::build()
        .setting("TOOLGATE_MAX_ROUNDS", "2")
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask("Never stop calling tools").await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Limit);
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert!(answer(&transcript).contains("without calling more tools"));
    let choices: Vec<_> = world.model().requests().iter().map(tool_choice).collect();
    assert_eq!(choices, [Value::Null, json!("none")]);
    // The functions stay: some endpoints refuse results of calls without them.
    assert!(!functions(&last_request(world.model())).is_empty());

    // A model that calls all the same.
    world.model().queue(queries(READ, &["SELECT 1"]));
    world.model().queue(queries(READ, &["SELECT 'too much'"]));
    let posted = ana.ask_in(&posted.conversation, "Go on").await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Limit);
    assert_eq!(outcomes(&transcript), [Outcome::Ok, Outcome::Limit]);
    assert_eq!(world.journal().with("too much").len(), 0);
    goes_on(&world, &ana, &posted.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn calls_beyond_the_limits_of_a_round_and_of_a_turn_are_not_run() {
    let world = World::start().await;
    let ana = world.ana();
    let many = |count| Reply::calls(vec![Call::new("Database__list_tables", &json!({})); count]);
    for count in [33, 32, 32, 32] {
        world.model().queue(many(count));
    }
    let posted = ana.ask("Look very often").await;
    let transcript = ana.wait_end(&posted.turn).await;
    let outcomes = outcomes(&transcript);
    assert_eq!(outcomes.len(), 129);
    for (place, outcome) in outcomes.into_iter().enumerate() {
        // The 33rd of the first round, and what is over 128 in all.
        let over = matches!(place, 32 | 128);
        let expected = if over { Outcome::Limit } else { Outcome::Ok };
        assert_eq!(outcome, expected, "call {}", place + 1);
    }
    assert_eq!(world.journal().calls.len(), 127);
    assert_eq!(end(&transcript), TurnEnd::Limit);
    let log = ana.log(&posted.turn).await;
    let choices = log.iter().filter_map(|logged| {
        let Event::RoundStarted { tool_choice, .. } = logged.event else {
            return None;
        };
        Some(tool_choice)
    });
    let mut expected = [ToolChoice::Auto; 5];
    expected[4] = ToolChoice::None;
    assert!(choices.eq(expected), "{:?}", names(&log));
    world.finish().await;
}

#[tokio::test]
async fn a_long_result_is_cut_for_the_model_and_kept_whole() {
    const SHOWN: usize = 4000;
    let shown = SHOWN.to_string();
    let world = World::build()
        .setting("TOOLGATE_RESULT_SHOWN_BYTES", shown)
        .start()
        .await;
    let ana = world.ana();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) \
               SELECT i, printf('%.*c', 900, 'x') AS letters FROM n";
    world.model().queue(queries(READ, &[sql]));
    let posted = ana.ask("Fetch much").await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    let call = transcript.calls().next().unwrap();
    assert!(call.shown.len() <= SHOWN, "{}", call.shown.len());
    assert!(call.shown.contains("are left out here"), "{}", call.shown);
    let cut = call.steps.iter().find_map(|step| match step {
        ShapeStep::Truncated { from, to } => Some((*from, *to)),
        ShapeStep::Structured | ShapeStep::Omitted { .. } => None,
    });
    let (from, to) = cut.unwrap_or_else(|| panic!("{:?}", call.steps));
    assert_eq!(to, call.shown.len());
    assert_eq!(results(&last_request(world.model())), [call.shown.as_str()]);

    let url = format!("/api/turns/{}/calls/{}/result", posted.turn, call.call);
    let whole: Value = ana.get_json(&url).await;
    let rows = whole["structuredContent"]["rows"].as_array();
    assert_eq!(
        rows.map(Vec::len),
        Some(150),
        "{}",
        whole["structuredContent"]
    );
    assert!(whole.to_string().len() > from);
    let download = ana.get(&format!("{url}?download")).await.expect(200);
    let disposition = download.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert_eq!(download.json::<Value>(), whole);
    world.finish().await;
}

#[tokio::test]
async fn the_progress_of_a_call_is_shown_while_it_runs() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(queries(READ, &[ENDLESS]));
    let posted = ana.ask("Count for ever").await;
    let mut events = ana.events(&posted.turn, 0).await;
    let seen = events.until(|frame| frame.event == "call.progress").await;
    let progress = &seen.last().unwrap().json()["event"];
    assert_eq!(progress["call"], 1);
    let message = progress["message"].as_str().unwrap();
    assert!(message.contains("running for"), "{message}");
    let transcript = ana
        .wait_until(&posted.turn, |turn| {
            turn.calls().any(|call| call.progress.is_some())
        })
        .await;
    assert_eq!(transcript.calls().next().unwrap().state, CallState::Running);
    accepted(&ana.cancel(&posted.turn).await);
    let rest = events.rest().await;
    assert_eq!(rest.last().unwrap().event, "turn.finished");
    world.finish().await;
}

async fn goes_on(world: &World, user: &User, conversation: &chat::ids::ConversationId) {
    let before = world.model().received();
    let posted = user.ask_in(conversation, "Hello").await;
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered, "{transcript:#?}");
    assert_eq!(world.model().received(), before + 1);
    assert_eq!(world.model().rejected().len(), 0);
}

fn is_name(event: &Event, name: &str) -> bool {
    event.name() == name
}

fn tool_choice(request: &CapturedRequest) -> Value {
    request.json()["tool_choice"].clone()
}

fn functions(request: &CapturedRequest) -> Vec<String> {
    let body = request.json();
    let tools = body["tools"].as_array().unwrap();
    let name = |tool: &Value| tool["function"]["name"].as_str().unwrap().to_owned();
    tools.iter().map(name).collect()
}
