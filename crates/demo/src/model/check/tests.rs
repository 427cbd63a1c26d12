use serde_json::{Value, json};

use super::*;

fn user() -> Value {
    json!({"role": "user", "content": "Hello"})
}

fn calling(ids: &[&str]) -> Value {
    let calls: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}))
        .collect();
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "1"})
}

fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn body(messages: &[Value]) -> Value {
    json!({"model": "m", "messages": messages})
}

fn with(key: &str, value: Value) -> Value {
    let mut body = body(&[user()]);
    body[key] = value;
    body
}

fn verdict(body: &Value) -> Result<(), Rejection> {
    chat(body, &["m".to_owned()])
}

#[test]
fn refuses_calls_and_results_that_do_not_pair() {
    let cases: Vec<(&str, Vec<Value>, &str)> = vec![
        (
            "no result",
            vec![user(), calling(&["a"])],
            "did not have response messages: a",
        ),
        (
            "one of two",
            vec![user(), calling(&["a", "b"]), result("a")],
            "messages: b",
        ),
        (
            "not directly after",
            vec![calling(&["a"]), user(), result("a")],
            "must be followed",
        ),
        (
            "a round between",
            vec![calling(&["a"]), calling(&["b"]), result("b")],
            "messages: a",
        ),
        (
            "two results",
            vec![calling(&["a"]), result("a"), result("a")],
            "must be a response",
        ),
        (
            "result alone",
            vec![user(), result("a")],
            "must be a response",
        ),
        (
            "other id",
            vec![calling(&["a"]), result("b")],
            "must be a response",
        ),
        (
            "ids twice",
            vec![calling(&["a", "a"]), result("a")],
            "Duplicate",
        ),
        (
            "late result",
            vec![calling(&["a"]), result("a"), user(), result("a")],
            "must be a resp",
        ),
    ];
    for (name, messages, expected) in cases {
        let rejection = verdict(&body(&messages)).expect_err(name);
        assert_eq!(rejection.status, StatusCode::BAD_REQUEST);
        assert!(rejection.message.contains(expected), "{name}: {rejection}");
    }
    // The same id in a later round is another call, and results may come in any order.
    let good = [
        user(),
        calling(&["a", "b"]),
        result("b"),
        result("a"),
        calling(&["a"]),
        result("a"),
    ];
    assert_eq!(verdict(&body(&good)), Ok(()));
}

#[test]
fn refuses_messages_with_bad_parts() {
    let spoiled = |pointer: &str, value: Value| {
        let mut call = calling(&["a"]);
        *call.pointer_mut(pointer).unwrap() = value;
        vec![call, result("a")]
    };
    let cases: Vec<(Vec<Value>, &str)> = vec![
        (vec![], "messages"),
        (
            vec![json!({"role": "wizard", "content": ""})],
            "messages[0].role",
        ),
        (vec![json!({"content": ""})], "messages[0].role"),
        (vec![json!({"role": "user"})], "messages[0].content"),
        (
            vec![json!({"role": "user", "content": null})],
            "messages[0].content",
        ),
        (
            vec![json!({"role": "user", "content": []})],
            "messages[0].content",
        ),
        (
            vec![json!({"role": "user", "content": [{"text": "a"}]})],
            "messages[0].content",
        ),
        (
            vec![json!({"role": "assistant", "content": null})],
            "messages[0].content",
        ),
        (
            vec![json!({"role": "assistant", "content": "", "tool_calls": []})],
            "messages[0].tool_calls",
        ),
        (
            vec![json!({"role": "tool", "content": "1"})],
            "messages[0].tool_call_id",
        ),
        (
            vec![
                calling(&["a"]),
                json!({"role": "tool", "tool_call_id": "a"}),
            ],
            "messages[1].content",
        ),
        (
            spoiled("/tool_calls/0/id", json!("")),
            "messages[0].tool_calls[0].id",
        ),
        (
            spoiled("/tool_calls/0/id", json!("x".repeat(41))),
            "messages[0].tool_calls[0].id",
        ),
        (
            spoiled("/tool_calls/0/type", json!("tool")),
            "messages[0].tool_calls[0].type",
        ),
        (
            spoiled("/tool_calls/0/function/name", json!("a.b")),
            "messages[0].tool_calls[0].function.name",
        ),
        (
            spoiled("/tool_calls/0/function/arguments", json!("{\"a\"")),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            spoiled("/tool_calls/0/function/arguments", json!("[]")),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            spoiled("/tool_calls/0/function/arguments", json!({})),
            "messages[0].tool_calls[0].function.arguments",
        ),
    ];
    for (messages, param) in cases {
        let rejection = verdict(&body(&messages)).expect_err(param);
        assert_eq!(rejection.param.as_deref(), Some(param), "{rejection}");
    }
}

#[test]
fn refuses_tools_that_openai_refuses() {
    let mut no_properties = tool("f");
    no_properties["function"]["parameters"] = json!({"type": "object"});
    let mut no_object = tool("f");
    no_object["function"]["parameters"] = json!({"properties": {}});
    let mut wordy = tool("f");
    wordy["function"]["description"] = json!("ä".repeat(1025));
    let many: Vec<Value> = (0..129).map(|number| tool(&format!("f{number}"))).collect();
    let cases = [
        (json!([]), "tools"),
        (json!({}), "tools"),
        (json!(many), "tools"),
        (json!([{"type": "function"}]), "tools[0].function.name"),
        (json!([tool("a b")]), "tools[0].function.name"),
        (json!([tool(&"x".repeat(65))]), "tools[0].function.name"),
        (json!([tool("f"), tool("f")]), "tools[1]"),
        (json!([{"type": "web_search"}]), "tools[0].type"),
        (json!([no_properties]), "tools[0].function.parameters"),
        (json!([no_object]), "tools[0].function.parameters"),
        (json!([wordy]), "tools[0].function.description"),
    ];
    for (tools, param) in cases {
        let rejection = verdict(&with("tools", tools)).expect_err(param);
        assert_eq!(rejection.param.as_deref(), Some(param), "{rejection}");
    }
    let most: Vec<Value> = (0..128).map(|number| tool(&format!("f{number}"))).collect();
    assert_eq!(verdict(&with("tools", json!(most))), Ok(()));
}

#[test]
fn refuses_parameters_that_do_not_belong_together() {
    for (key, value) in [
        ("tool_choice", json!("auto")),
        ("parallel_tool_calls", json!(true)),
        ("stream_options", json!({"include_usage": true})),
        ("stream", json!("yes")),
        ("colour", json!("blue")),
    ] {
        let rejection = verdict(&with(key, value)).expect_err(key);
        assert_eq!(rejection.param.as_deref(), Some(key), "{rejection}");
    }
    let mut chosen = with("tools", json!([tool("f")]));
    for choice in [
        json!("none"),
        json!({"type": "function", "function": {"name": "f"}}),
    ] {
        chosen["tool_choice"] = choice;
        assert_eq!(verdict(&chosen), Ok(()));
    }
    for choice in [
        json!("any"),
        json!({"type": "function", "function": {"name": "g"}}),
    ] {
        chosen["tool_choice"] = choice;
        assert!(verdict(&chosen).is_err());
    }
}
