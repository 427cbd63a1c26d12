//! Reloads, second tabs, lost connections and restarts in the middle of an answer.

use std::time::Duration;

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Offline, Tab, Visitor},
};
use serde_json::json;

use super::{ENDLESS, NEVER, READ, READABLE, STORY, last_turn, same_after_reload, turns};

/// Asks for the story, and has it stand still in its middle.
async fn hold_the_story(world: &World, tab: &Tab) {
    tab.ask(STORY).await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 4")
        .await;
    world.model().set_delay(NEVER);
}

async fn text_of_answer(tab: &Tab) -> String {
    let text = tab
        .eval("document.querySelector('.blocks').innerText")
        .await;
    text.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_reload_shows_all_and_goes_on() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    hold_the_story(&world, &tab).await;
    let before = text_of_answer(&tab).await;
    tab.reload().await;
    tab.find("button", "Stop").await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 4")
        .await;
    let start = before
        .get(..before.floor_char_boundary(before.len() / 2))
        .unwrap();
    assert!(text_of_answer(&tab).await.starts_with(start));
    world.model().set_delay(Duration::ZERO);
    tab.wait_end().await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_second_tab_shows_the_same_live() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    hold_the_story(&world, &tab).await;
    let other = ana.open(&tab.path().await).await;
    let list = ana.open("/").await;
    list.wait_text("being answered").await;
    other.find("button", "Stop").await;
    world.model().set_delay(READABLE);
    let moved = text_of_answer(&other).await.len() + 100;
    for tab in [&tab, &other] {
        let grows = format!("document.querySelector('.blocks').innerText.length > {moved}");
        tab.wait_true(&grows).await;
    }
    world.model().set_delay(Duration::ZERO);
    tab.wait_end().await;
    other.wait_end().await;
    list.wait_no_text("being answered").await;
    assert_eq!(turns(&tab).await, turns(&other).await);
    same_after_reload(&other).await;

    // Also what is asked next in the other one.
    other.ask(super::SALES).await;
    // One may be so far away that the browser leaves it out of what it tells.
    tab.wait_true("document.querySelectorAll('.blocks table').length === 2")
        .await;
    tab.wait_end().await;
    other.wait_end().await;
    assert_eq!(turns(&tab).await, turns(&other).await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_lost_connection_leaves_no_gap() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.allow("ERR_INTERNET_DISCONNECTED");
    tab.allow("ERR_INCOMPLETE_CHUNKED_ENCODING");
    hold_the_story(&world, &tab).await;
    tab.set_offline(Offline::Yes).await;
    let turn = last_turn(&tab).await;
    world.model().set_delay(Duration::ZERO);
    world.ana().wait_end(&turn).await;
    tab.set_offline(Offline::No).await;
    tab.wait_end().await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

/// What a tab says while nobody answers for Toolgate.
fn allow_absence(tab: &Tab) {
    for part in [
        "status of 502",
        "status of 503",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
    ] {
        tab.allow(part);
    }
}

#[tokio::test]
async fn a_killed_toolgate_comes_back_and_the_page_goes_on_by_itself() {
    let mut world = World::build()
        .model_delay(READABLE)
        .start_with_process()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    allow_absence(&tab);
    hold_the_story(&world, &tab).await;
    world.toolgate().kill().await;
    tab.wait_text("Trying again").await;
    tab.keep_picture("killed").await;
    world.model().set_delay(Duration::ZERO);
    world.toolgate().start().await;
    tab.wait_end().await;
    tab.wait_no_text("Trying again").await;
    tab.wait_text("was not written by an AI").await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_call_whose_end_nobody_saw_can_be_run_again() {
    let mut world = World::build().start_with_process().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    allow_absence(&tab);
    let endless = Call::new(READ, &json!({ "query": ENDLESS }));
    world.model().queue(Reply::calls([endless]));
    tab.ask("Count for ever").await;
    tab.find("progressbar", "Progress").await;
    world.toolgate().kill().await;
    world.model().queue(Reply::text("Nobody knows."));
    world.toolgate().start().await;
    tab.wait_text("Unknown: it may or may not have run").await;
    tab.wait_text("Nobody knows.").await;
    tab.wait_end().await;
    tab.keep_picture("unknown").await;
    world.model().queue(Reply::text("Understood."));
    tab.click("button", "Run again").await;
    tab.wait_text("Understood.").await;
    tab.wait_end().await;
    let asked = world.model().requests().pop().unwrap().messages();
    let asked = asked.last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        asked.starts_with("Run `Database__read_query` again"),
        "{asked}"
    );
    assert!(asked.contains("RECURSIVE"), "{asked}");
    tab.reload().await;
    tab.wait_text("Unknown: it may or may not have run").await;
    tab.wait_text("Understood.").await;
    ana.leave().await;
    world.finish().await;
}
