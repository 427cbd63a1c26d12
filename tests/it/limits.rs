//! Requests that are too large: what a person, the model and the operator are told.

use chat::{failure::Layer, outcome::Outcome};
use http::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, bare, tool, with},
    look::{last_request, results},
    servers::{build, turn},
};

/// A server to whose calls somebody on the way answers 413.
async fn refusing() -> Fake {
    Fake::start(|seen| async move {
        match seen.method() {
            "tools/call" => with(bare(413), "content-type", "text/plain"),
            _ => seen.plain(&[tool("work")]),
        }
    })
    .await
}

fn arguments(bytes: usize) -> Value {
    json!({ "text": "x".repeat(bytes) })
}

#[tokio::test]
async fn a_request_over_our_limit_is_not_sent_and_both_settings_are_named() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build()
        .setting("TOOLGATE_MCP_MAX_REQUEST_BYTES", "20000")
        .server("Fake", fake.url())
        .start()
        .await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Fake__work", arguments(30_000))]).await;
    assert_eq!(told.outcomes(), [Outcome::Limit]);
    assert_eq!(fake.calls().len(), 0);
    let failure = told.call().failure.clone().expect("a failure");
    assert_eq!(failure.layer, Layer::Toolgate);
    for words in ["30", "20000", "TOOLGATE_MCP_MAX_REQUEST_BYTES"] {
        assert!(failure.message.contains(words), "{words}: {failure:?}");
    }
    assert!(failure.advice.contains("max_request_bytes"), "{failure:?}");
    let said = results(&last_request(world.model())).concat();
    assert!(said.contains("20000"), "the model can send less: {said}");

    // What fits is sent.
    let told = turn(&world, &ana, &[("Fake__work", arguments(10_000))]).await;
    assert_eq!(told.outcomes(), [Outcome::Ok]);
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_413_ends_as_a_limit_and_tells_sizes_and_setting() {
    let fake = refusing().await;
    let world = build().server("Fake", fake.url()).start().await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Fake__work", arguments(50_000))]).await;
    assert_eq!(told.outcomes(), [Outcome::Limit]);
    assert_eq!(told.starts(), 1, "it is not sent again");
    let failure = told.call().failure.clone().expect("a failure");
    assert_eq!(
        (failure.layer, failure.status),
        (Layer::Pomerium, Some(413))
    );
    assert!(
        failure.message.contains("the request has 50"),
        "{failure:?}"
    );
    assert!(failure.advice.contains("max_request_bytes"), "{failure:?}");
    assert!(failure.request_id.is_some(), "{failure:?}");
    let said = results(&last_request(world.model())).concat();
    assert!(said.contains("the request has 50"), "{said}");

    // The page says it too.
    let html = ana.request(Method::GET, "/").header("accept", "text/html");
    ana.send(html).await.expect(200);
    let conversations: Value = ana.get_json("/api/conversations").await;
    let id = conversations[0]["id"].as_str().expect("a conversation");
    let page = ana.get(&format!("/c/{id}")).await.expect(200).body;
    assert!(page.contains("max_request_bytes"), "the page keeps it back");
    world.finish().await;
    fake.end().await;
}
