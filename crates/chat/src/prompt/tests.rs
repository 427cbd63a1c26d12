use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    event::TurnStarted,
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::{CallId, ConversationId, RoundId, Sid},
    message::{RoundEnd, ToolChoice},
    shape::facts::Facts,
};

fn turn(message: &str, items: Vec<Item>) -> Transcript {
    let started = TurnStarted {
        conversation: Some(ConversationId::from("c")),
        parent: None,
        message: message.to_owned(),
        request: None,
        model: "m".to_owned(),
        sid: Sid::from("s"),
    };
    Transcript {
        started: Some(started),
        items,
        ..Transcript::default()
    }
}

const FINISHED: RoundState = RoundState::Finished {
    end: RoundEnd::Stop,
};

fn round(number: u32, state: RoundState, text: &str) -> Item {
    Item::Round(RoundItem {
        round: RoundId(number),
        attempt: 1,
        state,
        reasoning: String::new(),
        text: text.to_owned(),
        extras: Map::new(),
        calls: Vec::new(),
        usage: None,
        started_at: 0,
        reasoning_at: None,
        text_at: None,
        finished_at: None,
        waits_since: None,
        waited_ms: 0,
    })
}

fn call(number: u32, round: u32, state: CallState, shown: &str) -> CallItem {
    CallItem {
        call: CallId(number),
        round: RoundId(round),
        model_id: format!("id{number}"),
        function: "s__t".to_owned(),
        target: None,
        arguments: r#"{ "year": 1997 }"#.to_owned(),
        extras: Map::new(),
        state,
        answer: None,
        progress: None,
        shown: shown.to_owned(),
        steps: Vec::new(),
        facts: Facts::default(),
        failure: None,
        requested_at: 0,
        started_at: None,
        finished_at: None,
        waits_since: None,
        waited_ms: 0,
    }
}

fn ended(outcome: Outcome) -> CallState {
    CallState::Finished { outcome }
}

fn user(text: &str) -> Message {
    Message::User(text.to_owned())
}

fn assistant(text: &str) -> Message {
    Message::Assistant(AssistantMessage {
        text: text.to_owned(),
        ..AssistantMessage::default()
    })
}

fn tool(call: &str, content: &str) -> Message {
    Message::Tool {
        call: call.to_owned(),
        name: "s__t".to_owned(),
        content: content.to_owned(),
    }
}

#[test]
fn a_turn_with_calls_becomes_messages_in_the_order_of_the_calls() {
    let mut first = call(1, 1, ended(Outcome::Ok), "one");
    first.extras = json!({ "signature": "x" }).as_object().unwrap().clone();
    let turn = turn(
        "Sales?",
        vec![
            round(1, FINISHED, "Let me look."),
            Item::Call(first.clone()),
            Item::Notice {
                call: None,
                text: "not for the model".to_owned(),
            },
            Item::Call(call(2, 1, ended(Outcome::Ok), "two")),
            round(2, FINISHED, "617,085."),
        ],
    );
    let messages = messages("Be good.", &[&turn]);
    let Message::Assistant(said) = &messages[2] else {
        panic!("{messages:?}")
    };
    assert_eq!(said.text, "Let me look.");
    let ids: Vec<_> = said.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["id1", "id2"]);
    assert_eq!(said.calls[0].extras, first.extras);
    assert_eq!(
        said.calls[0].arguments, first.arguments,
        "as the model wrote them"
    );
    assert_eq!(
        messages[..2],
        [Message::System("Be good.".to_owned()), user("Sales?")]
    );
    assert_eq!(
        messages[3..],
        [
            tool("id1", "one"),
            tool("id2", "two"),
            assistant("617,085.")
        ]
    );
    assert_eq!(is_sendable(&messages), Ok(()));
}

#[test]
fn rounds_that_said_nothing_or_are_not_over_are_left_out() {
    let failure = RoundFailure {
        failure: Failure::new(Layer::Model, "", ""),
        retry: Retry::After(None),
    };
    let first = turn(
        "a",
        vec![round(1, FINISHED, ""), round(2, RoundState::Broken, "")],
    );
    let second = turn("b", vec![round(1, RoundState::Broken, "half an")]);
    let third = turn(
        "c",
        vec![
            round(1, RoundState::Open, "partial"),
            round(
                2,
                RoundState::Retrying {
                    failure,
                    after_ms: 1,
                },
                "partial",
            ),
        ],
    );
    assert_eq!(
        messages("", &[&first, &second, &third]),
        [user("a\n\nb"), assistant("half an"), user("c")]
    );
}

#[test]
fn what_went_wrong_is_said() {
    let invalid = format!(
        "{} - at /year: …",
        Outcome::InvalidArguments.text_for_model()
    );
    for (outcome, shown, told) in [
        (Outcome::Ok, "", Outcome::Ok.text_for_model()),
        (Outcome::ToolError, "", Outcome::ToolError.text_for_model()),
        (
            Outcome::ToolError,
            "no such table: sale",
            "[error] no such table: sale",
        ),
        (Outcome::Unknown, "", Outcome::Unknown.text_for_model()),
        (
            Outcome::InvalidArguments,
            invalid.as_str(),
            invalid.as_str(),
        ),
        (
            Outcome::Unavailable,
            "connection refused",
            "Not run: the server could not be reached.\nconnection refused",
        ),
    ] {
        assert_eq!(result(&call(1, 1, ended(outcome), shown)), told);
    }
}

#[test]
fn what_endpoints_would_refuse_is_mended() {
    for (arguments, sent) in [
        ("", "{}"),
        ("{\"a\":", "{}"),
        ("[1]", "{}"),
        (r#""{\"a\":1}""#, r#"{"a":1}"#),
        (r#"{ "b": 1, "a": 2 }"#, r#"{ "b": 1, "a": 2 }"#),
    ] {
        let mut call = call(1, 1, ended(Outcome::InvalidArguments), "");
        call.arguments = arguments.to_owned();
        assert_eq!(model_call(&call).arguments, sent, "{arguments}");
    }
    let mut odd = call(1, 1, ended(Outcome::UnknownFunction), "");
    odd.function = format!("what.is/{}", "x".repeat(100));
    let Message::Tool { name, .. } = &messages(
        "",
        &[&turn("q", vec![round(1, FINISHED, ""), Item::Call(odd)])],
    )[2] else {
        panic!("no tool message")
    };
    assert!(name.starts_with("what_is_x") && name.len() == 64, "{name}");
}

#[test]
fn a_call_that_has_not_ended_gets_a_result_that_says_so() {
    let turn = turn(
        "q",
        vec![
            round(1, FINISHED, ""),
            Item::Call(call(1, 1, CallState::Running, "")),
        ],
    );
    let messages = messages("", &[&turn]);
    assert_eq!(messages[2], tool("id1", NO_RESULT));
    assert_eq!(is_sendable(&messages), Ok(()));
}

#[test]
fn the_checker_finds_each_fault() {
    let said = |ids: &[&str]| {
        let call = |id: &&str| ModelCall {
            id: (*id).to_owned(),
            ..ModelCall::default()
        };
        let calls = ids.iter().map(call).collect();
        Message::Assistant(AssistantMessage {
            calls,
            ..AssistantMessage::default()
        })
    };
    for (messages, fault) in [
        (
            vec![said(&["a"])],
            "message 1: no result before it for call \"a\"",
        ),
        (
            vec![said(&["a"]), user("q"), tool("a", "")],
            "message 1: no result",
        ),
        (
            vec![said(&["a"]), tool("a", ""), tool("a", "")],
            "message 2: a result of no call",
        ),
        (
            vec![said(&["a", "a"]), tool("a", "")],
            "message 0: two calls of id",
        ),
        (
            vec![user("q"), tool("a", "")],
            "message 1: a result of no call",
        ),
        (
            vec![user("q"), assistant("")],
            "message 1: neither text nor calls",
        ),
    ] {
        let error = is_sendable(&messages).unwrap_err();
        assert!(error.contains(fault), "{error}");
    }
    let twice = [said(&["a"]), tool("a", ""), said(&["a"]), tool("a", "")];
    assert_eq!(
        is_sendable(&twice),
        Ok(()),
        "unique within a message is enough"
    );
}

#[test]
fn titles() {
    for (message, expected) in [
        ("", "New chat"),
        (" \n\t\u{200B}\n", "New chat"),
        (
            "What were our sales by year?",
            "What were our sales by year?",
        ),
        ("\n\n  two\t words \nsecond line", "two words"),
        ("a\u{7}b\u{202E}c\u{FEFF}", "abc"),
    ] {
        assert_eq!(title(message), expected, "{message:?}");
    }
    insta::assert_snapshot!(
        title("Which of our customers in Germany ordered more than ten times in nineteen ninety-seven?"),
        @"Which of our customers in Germany ordered more than ten…"
    );
    assert_eq!(title(&"é".repeat(61)), format!("{}…", "é".repeat(59)));
    assert_eq!(title(&"é".repeat(60)), "é".repeat(60));
    assert_eq!(
        title(&format!("{} x", "é".repeat(60))),
        format!("{}…", "é".repeat(59))
    );
}

#[test]
fn the_system_prompt_is_short() {
    assert!(SYSTEM_PROMPT.len() < 1000, "{}", SYSTEM_PROMPT.len());
}

fn call_states() -> impl Strategy<Value = (CallState, String)> {
    let states = prop::sample::select(vec![
        CallState::Requested,
        CallState::Running,
        ended(Outcome::Ok),
        ended(Outcome::ToolError),
        ended(Outcome::Unknown),
    ]);
    (states, "[a-z]{0,3}")
}

/// Turns of rounds, each with its text and its calls; a round with calls is finished.
fn turns() -> impl Strategy<Value = Vec<Transcript>> {
    let state = prop::sample::select(vec![FINISHED, RoundState::Open, RoundState::Broken]);
    let calls = proptest::collection::vec(call_states(), 0..4);
    let rounds = proptest::collection::vec((state, "[a-z]{0,3}", calls), 0..5);
    let turn = ("[a-z]{1,3}", rounds).prop_map(|(message, rounds)| {
        let mut items = Vec::new();
        let mut number = 0;
        for (index, (state, text, calls)) in (1..).zip(rounds) {
            let state = if calls.is_empty() { state } else { FINISHED };
            items.push(round(index, state, &text));
            for (state, shown) in calls {
                number += 1;
                items.push(Item::Call(call(number, index, state, &shown)));
            }
        }
        turn(&message, items)
    });
    proptest::collection::vec(turn, 0..5)
}

proptest! {
    #[test]
    fn messages_are_sendable_and_begin_with_those_of_fewer_turns(turns in turns()) {
        let turns: Vec<&Transcript> = turns.iter().collect();
        let mut before = messages(SYSTEM_PROMPT, &[]);
        for count in 1..=turns.len() {
            let mut now = messages(SYSTEM_PROMPT, &turns[..count]);
            prop_assert_eq!(is_sendable(&now), Ok(()));
            let users = |pair: &[Message]| pair.iter().all(|m| matches!(m, Message::User(_)));
            prop_assert!(!now.windows(2).any(users), "two user messages in a row");
            let whole = now.clone();
            now.truncate(before.len());
            if let (Some(Message::User(short)), Some(Message::User(long))) =
                (before.last(), now.last_mut())
            {
                prop_assert!(long.starts_with(short.as_str()));
                long.clone_from(short);
            }
            prop_assert_eq!(&now, &before);
            before = whole;
        }
    }

    #[test]
    fn a_title_is_short_and_all_seen(message in any::<String>()) {
        let title = title(&message);
        prop_assert!((1..=TITLE_CHARS).contains(&title.chars().count()), "{title:?}");
        prop_assert!(!title.chars().any(char::is_control));
        prop_assert_eq!(title.trim(), &title);
    }
}

/// A turn of the API with these messages and items.
fn api_turn(messages: &Value, items: Vec<Item>) -> Transcript {
    let mut turn = turn("", items);
    let request = ApiRequest {
        messages: serde_json::from_value(messages.clone()).unwrap(),
        parameters: Map::new(),
        tool_choice: ToolChoice::Auto,
    };
    let started = turn.started.as_mut().unwrap();
    started.conversation = None;
    started.request = Some(request.into());
    turn
}

fn given(messages: &[Message]) -> Vec<Value> {
    let given = messages.iter().filter_map(|message| match message {
        Message::Given(given) => Some(Value::Object(given.clone())),
        Message::System(_) | Message::User(_) | Message::Assistant(_) | Message::Tool { .. } => {
            None
        }
    });
    given.collect()
}

const TOLD: Instructions<'_> = Instructions {
    system: "Be brief.",
    note: "No Mail.",
};

#[test]
fn an_api_turn_is_sent_the_caller_s_own_messages_and_then_its_rounds() {
    let asked = json!([
        { "role": "user", "content": [{ "type": "text", "text": "Hi" }], "x": 1 },
        { "role": "assistant", "tool_calls": [{ "id": "a" }] },
        { "role": "tool", "tool_call_id": "a", "content": "2" },
    ]);
    let turn = api_turn(&asked, vec![round(1, FINISHED, "Hello.")]);
    let sent = messages(TOLD, &[&turn]);
    assert_eq!(sent[0], Message::System("Be brief.\n\nNo Mail.".to_owned()));
    assert_eq!(Value::Array(given(&sent)), asked);
    assert!(matches!(&sent[4], Message::Assistant(said) if said.text == "Hello."));
    assert_eq!(is_sendable(&sent), Ok(()));
}

#[test]
fn a_caller_s_own_instructions_take_the_place_of_ours_and_get_the_note() {
    let asked = json!([
        { "role": "system", "content": "First." },
        { "role": "user", "content": "Hi" },
        { "role": "developer", "content": "Last." },
    ]);
    let sent = messages(TOLD, &[&api_turn(&asked, vec![])]);
    let mut expected = asked.clone();
    expected[2]["content"] = json!("Last.\n\nNo Mail.");
    assert_eq!(sent.len(), 3);
    assert_eq!(Value::Array(given(&sent)), expected);

    // Parts are left alone.
    let asked = json!([{ "role": "system", "content": [{ "type": "text", "text": "First." }] }]);
    let sent = messages(TOLD, &[&api_turn(&asked, vec![])]);
    assert_eq!(Value::Array(given(&sent)), asked);
}

#[test]
fn pairs_are_looked_for_in_what_a_caller_gave() {
    let call = json!({ "role": "assistant", "tool_calls": [{ "id": "a" }] });
    let result = json!({ "role": "tool", "tool_call_id": "a", "content": "2" });
    let user = json!({ "role": "user", "content": "Hi" });
    for (asked, words) in [
        (json!([user, call]), "no result before it for call \"a\""),
        (json!([call, user]), "no result before it for call \"a\""),
        (json!([result]), "a result of no call"),
        (
            json!([{ "role": "user", "tool_calls": [{ "id": "a" }] }, result]),
            "a result of no call",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": { "id": "a" } }]),
            "its calls are no list",
        ),
        (
            json!([{ "role": "user", "tool_calls": "a" }]),
            "its calls are no list",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": [7, 8] }]),
            "two calls of id",
        ),
    ] {
        let error = is_sendable(&messages("", &[&api_turn(&asked, vec![])])).unwrap_err();
        assert!(error.contains(words), "{asked}: {error}");
    }
}
