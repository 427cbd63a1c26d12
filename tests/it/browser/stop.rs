//! Stop, whatever the answer is doing.

use demo::{
    model::{Call, Delivery, Reply},
    pomerium::DemoUser,
};
use harness::{World, browser::Visitor};
use http::Method;
use serde_json::json;

use super::{CARD, ENDLESS, NEVER, READ, READABLE, SALES, STORY, same_after_reload};
use crate::look;

#[tokio::test]
async fn while_the_answer_streams() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 1")
        .await;
    world.model().set_delay(NEVER);
    tab.wait_gone("button", "Send").await;
    tab.keep_picture("streaming").await;
    tab.click("button", "Stop").await;
    tab.wait_text("Stopped.").await;
    tab.wait_end().await;
    // The page has the model's list fetched as well.
    look::eventually("the model's answer is dropped", || {
        let requests = world.model().requests();
        let answer = requests.iter().find(|it| it.method == Method::POST);
        answer.is_some_and(|answer| answer.delivery() == Delivery::Dropped)
    })
    .await;
    assert_ne!(
        tab.eval("document.querySelector('.blocks').innerText.length")
            .await,
        0
    );
    same_after_reload(&tab).await;

    // And the conversation goes on.
    world.model().set_delay(std::time::Duration::ZERO);
    tab.ask(SALES).await;
    tab.find("table", "").await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn while_a_slow_query_runs() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let endless = Call::new(READ, &json!({ "query": ENDLESS }));
    world.model().queue(Reply::calls([endless]));
    tab.ask("Count for ever").await;
    tab.find("progressbar", "Progress").await;
    let card = tab.find(CARD, "Read query").await.text().await;
    assert!(card.contains("Running"), "{card}");
    tab.keep_picture("progress").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    tab.wait_gone("progressbar", "Progress").await;
    let card = tab.find(CARD, "Read query").await.text().await;
    assert!(card.contains("Stopped"), "{card}");
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn while_a_call_waits_for_approval() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(super::RAISE).await;
    tab.find("button", "Approve").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    tab.wait_gone("button", "Approve").await;
    assert_eq!(world.journal().with("UPDATE").len(), 0);
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}
