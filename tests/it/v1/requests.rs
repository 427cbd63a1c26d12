//! What a request may hold, what reaches the model, and what is refused.

use demo::model::Reply;
use harness::World;
use http::Method;
use serde_json::{Value, json};

use super::{CHAT, asking, content, refusal, turn_of};
use crate::look::{SALES, last_request};

#[tokio::test]
async fn what_is_wrong_is_said_in_openai_s_shape() {
    let world = World::start().await;
    let ana = world.ana();
    let none = json!({ "messages": [] });
    let error = refusal(&ana.post(CHAT, &none).await, 400);
    assert_eq!(error["param"], "messages");
    let broken = ana
        .request(Method::POST, CHAT)
        .header("content-type", "application/json")
        .body("{\"messages\":");
    refusal(&ana.send(broken).await, 400);
    refusal(&ana.get(CHAT).await, 405);
    refusal(&ana.get("/v1").await, 404);
    for path in ["/v1/", "/v1//", "/v1/models/", "/v1/models/%ff", "/v1/%ff"] {
        refusal(&ana.get(path).await, 404);
    }
    refusal(&ana.get("/v1/embeddings").await, 404);
    let embeddings = json!({ "input": "x" });
    refusal(&ana.post("/v1/embeddings", &embeddings).await, 404);
    let mut two = asking("Hi");
    two["n"] = json!(2);
    let error = refusal(&ana.post(CHAT, &two).await, 400);
    assert_eq!(error["code"], "unsupported_parameter");
    assert_eq!(error["param"], "n");
    let form = ana
        .request(Method::POST, CHAT)
        .header("content-type", "text/plain")
        .body("{}");
    let error = refusal(&ana.send(form).await, 415);
    assert_eq!(error["code"], "unsupported_media_type");
    for (header, from) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let form = ana
            .request(Method::POST, CHAT)
            .header("content-type", "text/plain")
            .header(header, from)
            .body("{}");
        assert_eq!(refusal(&ana.send(form).await, 403)["code"], "cross_site");
    }
    let large = asking(&"x".repeat(21 * 1024 * 1024));
    refusal(&ana.post(CHAT, &large).await, 413);
    assert_eq!(world.model().received(), 0);
    world.finish().await;
}

#[tokio::test]
async fn the_caller_s_messages_and_parameters_reach_the_model_as_they_are() {
    let world = World::start().await;
    let ana = world.ana();
    let messages = json!([
        { "role": "system", "content": "Answer like a pirate." },
        { "role": "user", "content": "What is 1 + 1?", "name": "ana" },
        { "role": "assistant", "content": null, "tool_calls": [{
            "id": "call_1", "type": "function",
            "function": { "name": "add", "arguments": "{\"a\":1}" },
        }]},
        { "role": "tool", "tool_call_id": "call_1", "content": "2" },
        { "role": "user", "content": [
            { "type": "text", "text": "And this?" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
        ]},
    ]);
    let body = json!({
        "messages": messages, "temperature": 0.25, "max_completion_tokens": 99, "store": true,
        "parallel_tool_calls": true,
    });
    world.model().queue(Reply::text("Arr."));
    assert_eq!(content(&ana.post(CHAT, &body).await), "Arr.");
    let sent = last_request(world.model()).json();
    assert_eq!(sent["messages"], messages);
    assert_eq!(sent["temperature"], 0.25);
    assert_eq!(sent["max_completion_tokens"], 99);
    assert_eq!(sent["store"], Value::Null);
    assert_eq!(sent["parallel_tool_calls"], Value::Null);
    assert!(!sent["tools"].as_array().unwrap().is_empty());

    // Who says nothing of how to behave gets Toolgate's own instructions.
    world.model().queue(Reply::text("Hello."));
    ana.post(CHAT, &asking("Hi")).await.expect(200);
    let sent = last_request(world.model()).messages();
    assert_eq!(sent[0]["role"], "system");
    assert_eq!(sent[1], json!({ "role": "user", "content": "Hi" }));

    // Who wants no calls is offered none.
    let mut alone = asking("Hi");
    alone["tool_choice"] = json!("none");
    world.model().queue(Reply::text("Hello."));
    ana.post(CHAT, &alone).await.expect(200);
    assert_eq!(last_request(world.model()).json()["tools"], Value::Null);
    world.finish().await;
}

#[tokio::test]
async fn the_model_is_the_one_that_was_asked_for() {
    let world = World::start().await;
    let ana = world.ana();
    let list: Value = ana.get_json("/v1/models").await;
    assert_eq!(list["object"], "list");
    let first = list["data"][0]["id"].as_str().unwrap();
    assert_eq!(first, world.model().first_model());
    let one: Value = ana.get_json(&format!("/v1/models/{first}")).await;
    assert_eq!(one, list["data"][0]);
    let unknown = ana.get("/v1/models/some/other").await;
    assert_eq!(refusal(&unknown, 404)["code"], "model_not_found");

    let mut body = asking(SALES);
    body["model"] = json!(first);
    let completion: Value = ana.post(CHAT, &body).await.expect(200).json();
    assert_eq!(completion["model"], first);

    let gone = Reply::error(404, "invalid_request_error", "The model does not exist.");
    world.model().queue(gone);
    let response = ana.post(CHAT, &body).await;
    let error = refusal(&response, 404);
    assert_eq!(error["code"], "model_not_found");
    assert_eq!(error["type"], "invalid_request_error");
    turn_of(&response.headers);
    world.finish().await;
}

#[tokio::test]
async fn as_many_turns_run_at_once_as_a_user_may_have() {
    let world = World::build()
        .setting("TOOLGATE_MAX_TURNS_PER_USER", "1")
        .start()
        .await;
    let (ana, ben) = (world.ana(), world.ben());
    world.model().queue(Reply::hang());
    let body = asking("Hi");
    let second = async {
        world.model().wait_received(1).await;
        // What is wrong with the request is not looked at: it is not even read.
        let broken = ana
            .request(Method::POST, CHAT)
            .header("content-type", "application/json")
            .body("{\"messages\":");
        refusal(&ana.send(broken).await, 429);
        let response = ana.post(CHAT, &body).await;
        assert_eq!(refusal(&response, 429)["type"], "rate_limit_error");
        assert!(response.headers.contains_key("retry-after"));
        ben.post(CHAT, &body).await.expect(200);
    };
    tokio::select! {
        answer = ana.post(CHAT, &body) => panic!("{answer:?}"),
        () = second => {}
    }
    world.finish().await;
}
