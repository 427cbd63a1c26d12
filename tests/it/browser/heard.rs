//! What somebody hears who does not see the page: each thing once, and not word by word.

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};

use super::{RAISE, STORY};

/// Keeps what the page announces.
const LISTEN: &str = "window.heard = [];
  new MutationObserver(() => heard.push(document.getElementById('announcer').textContent))
    .observe(document.getElementById('announcer'), { childList: true, characterData: true, subtree: true })";

async fn heard(tab: &Tab) -> Vec<String> {
    let heard = tab.eval("heard.splice(0)").await;
    serde_json::from_value(heard).unwrap()
}

#[tokio::test]
async fn each_answer_is_heard_once_and_not_word_by_word() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.eval(LISTEN).await;
    // Nothing that grows is read out as it grows.
    let live = "document.querySelector('main [aria-live]:not([aria-live=\"off\"]) .turn, .turns[role=log]')";
    assert_eq!(tab.eval(live).await, serde_json::Value::Null);
    tab.ask(STORY).await;
    tab.wait_end().await;
    assert_eq!(heard(&tab).await, ["The answer is complete."]);

    tab.click("button", "Regenerate").await;
    tab.wait_text("2 of 2").await;
    tab.wait_end().await;
    assert_eq!(heard(&tab).await, ["The answer is complete."]);

    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    tab.click("button", "Deny").await;
    tab.wait_end().await;
    let both = [
        "Write query on Database needs your approval.",
        "The answer is complete.",
    ];
    assert_eq!(heard(&tab).await, both);

    world.model().queue(Reply::hang());
    tab.ask("Think").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    assert_eq!(heard(&tab).await, ["The answer was stopped."]);

    // What waits elsewhere.
    world.ana().ask(RAISE).await;
    tab.wait_true("document.title.startsWith('(1)')").await;
    let elsewhere = format!("{RAISE}: A call needs your approval.");
    assert_eq!(heard(&tab).await, [elsewhere]);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_is_heard_that_was_complete_before_the_page_saw_any_of_it() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask("One").await;
    tab.wait_end().await;
    tab.eval(LISTEN).await;
    let conversation = tab.path().await.rsplit('/').next().unwrap().into();
    // The page is put away, and comes back.
    tab.eval("dispatchEvent(new PageTransitionEvent('pagehide'))")
        .await;
    world.model().queue(Reply::text("Meanwhile."));
    let user = world.ana();
    let posted = user.ask_in(&conversation, "And now?").await;
    user.wait_end(&posted.turn).await;
    tab.eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        .await;
    tab.wait_text("Meanwhile.").await;
    assert_eq!(heard(&tab).await, ["The answer is complete."]);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_narrow_page_without_scripts_has_its_list_below() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(super::SALES).await;
    tab.wait_end().await;
    tab.forbid_scripts().await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.reload().await;
    tab.keep_screen("no-script-light-360").await;
    tab.find("link", super::SALES).await;
    tab.wait_gone("button", "Conversations and servers").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn nothing_scrolls_sideways_at_320_pixels() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.look(View::Narrow, Scheme::Light).await;
    tab.go("/").await;
    tab.ask(super::SALES).await;
    tab.wait_end().await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    tab.keep_screen("narrow-light-320").await;
    let wide = "document.documentElement.scrollWidth > 320
      || document.getElementById('scroller').scrollWidth > document.getElementById('scroller').clientWidth";
    assert_eq!(tab.eval(wide).await, false);
    // There is room for some of the answer, too.
    let room = tab
        .eval("document.getElementById('scroller').clientHeight")
        .await;
    assert!(room.as_f64().unwrap() > 20.0, "{room}");
    ana.leave().await;
    world.finish().await;
}
