use serde_json::json;

use super::*;

fn parsed(body: &Value) -> Result<ChatRequest, Problem> {
    parse(body.to_string().as_bytes())
}

fn refusal(body: &Value) -> String {
    let problem = parsed(body).expect_err("it is refused");
    format!("{} {}", problem.status.as_u16(), problem.failure.message)
}

fn asking(more: &Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Hi" }] });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn with_messages(messages: &Value) -> Value {
    json!({ "messages": messages })
}

#[test]
fn what_is_no_request_is_refused() {
    for body in ["", "x", "[]", "null", "{\"messages\":"] {
        let problem = parse(body.as_bytes()).unwrap_err();
        assert_eq!(problem.status, 400, "{body}");
    }
    let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for (messages, words) in [
        (json!(null), "must be a list"),
        (json!("Hi"), "must be a list"),
        (json!([]), "is empty"),
        (json!(["Hi"]), "messages[0] is no object"),
        (json!([{ "content": "Hi" }]), "messages[0].role"),
        (json!([{ "role": "robot" }]), "messages[0].role"),
        (
            json!([{ "role": "user", "content": nested }]),
            "nests too deeply",
        ),
    ] {
        let refusal = refusal(&with_messages(&messages));
        assert!(
            refusal.starts_with("400") && refusal.contains(words),
            "{refusal}"
        );
    }
}

#[test]
fn what_would_be_answered_wrongly_is_refused() {
    for more in [
        json!({ "n": 2 }),
        json!({ "tools": [{ "type": "function" }] }),
        json!({ "functions": [{}] }),
        json!({ "logprobs": true }),
        json!({ "top_logprobs": 3 }),
        json!({ "modalities": ["text", "audio"] }),
        json!({ "audio": { "voice": "x" } }),
        json!({ "tool_choice": "required" }),
        json!({ "tool_choice": { "type": "function" } }),
    ] {
        let refusal = refusal(&asking(&more));
        assert!(refusal.contains("not supported yet"), "{more}: {refusal}");
    }
    for more in [json!({ "stream": "yes" }), json!({ "model": 7 })] {
        assert!(refusal(&asking(&more)).starts_with("400"), "{more}");
    }
}

#[test]
fn what_means_nothing_is_no_reason_to_refuse() {
    let more = json!({
        "n": 1, "tools": [], "functions": null, "logprobs": false, "modalities": ["text"],
        "tool_choice": "auto", "model": "", "stream": null, "audio": null, "x_unknown": { "a": 1 },
    });
    let request = parsed(&asking(&more)).unwrap();
    assert_eq!(request.post.model, None);
    assert_eq!(request.streaming, None);
    assert_eq!(request.post.request.tool_choice, ToolChoice::Auto);
    assert_eq!(request.post.request.parameters, JsonObject::new());
}

#[test]
fn parameters_of_a_model_pass_and_no_others() {
    let more = json!({
        "model": "m", "temperature": 0.5, "max_tokens": null, "stop": ["x"], "store": true,
        "metadata": {}, "parallel_tool_calls": false, "stream": true,
        "stream_options": { "include_usage": true }, "tool_choice": "none",
    });
    let ChatRequest { post, streaming } = parsed(&asking(&more)).unwrap();
    assert_eq!(post.model.as_deref(), Some("m"));
    let passed = Value::Object(post.request.parameters);
    assert_eq!(passed, json!({ "temperature": 0.5, "stop": ["x"] }));
    assert_eq!(post.request.tool_choice, ToolChoice::None);
    let options = StreamOptions {
        include_usage: true,
    };
    assert_eq!(streaming, Some(options));
}

#[test]
fn messages_pass_as_they_are() {
    let messages = json!([
        { "role": "developer", "content": "Be brief.", "name": "operator" },
        { "role": "user", "content": [
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
        ]},
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "b", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } },
        ]},
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "user", "content": "And?", "x_vendor": [1] },
    ]);
    let request = parsed(&with_messages(&messages)).unwrap().post.request;
    assert_eq!(serde_json::to_value(&request.messages).unwrap(), messages);
    assert_eq!(request.last_user_text(), "And?");
}

#[test]
fn a_call_without_its_result_is_refused_in_openai_s_words() {
    let call = |id: &str| json!({ "role": "assistant", "tool_calls": [{ "id": id }] });
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "" });
    let user = json!({ "role": "user", "content": "Hi" });
    for (messages, words) in [
        (
            json!([user, call("a")]),
            "did not have response messages: a.",
        ),
        (
            json!([call("a"), user, result("a")]),
            "did not have response messages: a.",
        ),
        (
            json!([call("a"), result("b")]),
            "must be a response to a preceding",
        ),
        (json!([result("a")]), "must be a response to a preceding"),
        (
            json!([call("a"), result("a"), result("a")]),
            "must be a response to a preceding",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": [{ "id": "a" }, { "id": "a" }] }]),
            "an `id` of its own",
        ),
        (
            json!([{ "role": "user", "tool_calls": [{ "id": "a" }] }, result("a")]),
            "must be a response to a preceding",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": { "id": "a" } }]),
            "messages[0].tool_calls must be a list",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": "" }]),
            "messages[0].tool_calls must be a list",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": [{}] }]),
            "an `id` of its own",
        ),
    ] {
        let refusal = refusal(&with_messages(&messages));
        assert!(refusal.contains(words), "{messages}: {refusal}");
    }
}

/// The calls of one message.
fn calls(count: usize) -> Value {
    let calls: Vec<Value> = (0..count)
        .map(|call| json!({ "id": format!("{call:06}{}", "x".repeat(100)) }))
        .collect();
    json!({ "role": "assistant", "tool_calls": calls })
}

#[test]
fn calls_without_number_are_refused_at_once_and_not_repeated() {
    let many = with_messages(&json!([calls(80_000)])).to_string();
    let begun = std::time::Instant::now();
    let problem = parse(many.as_bytes()).unwrap_err();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let message = &problem.failure.message;
    assert!(message.contains("at most 128 calls"), "{message}");

    let message = refusal(&with_messages(&json!([calls(CALLS)])));
    assert!(message.contains(": 000000xx"), "{message}");
    assert!(message.ends_with(", and 123 more."), "{message}");
    assert!(message.len() < 700, "{message}");
}

#[tokio::test]
async fn a_large_request_is_parsed_where_it_keeps_nobody_waiting() {
    let tasks = TaskTracker::new();
    for (bytes, aside) in [(10, false), (PARSED_AT_ONCE, true)] {
        let body = asking(&json!({ "padding": "x".repeat(bytes) })).to_string();
        let mut reading = std::pin::pin!(super::parsed(body.into_bytes(), &tasks));
        let at_once = futures_util::poll!(&mut reading).is_ready();
        assert_eq!(at_once, !aside, "{bytes} bytes");
        if aside {
            assert!(reading.await.is_ok());
        }
    }
}

#[test]
fn a_bomb_of_little_values_is_not_built() {
    let bomb = format!("{{\"messages\":[{}0]}}", "[],".repeat(limits::JSON_VALUES));
    assert_eq!(parse(bomb.as_bytes()).unwrap_err().status, 413);
    // What strings hold is no value.
    let text = "[,{:\\\"".repeat(limits::JSON_VALUES);
    let long = json!([{ "role": "user", "content": text }]);
    assert!(parsed(&with_messages(&long)).is_ok());
}
