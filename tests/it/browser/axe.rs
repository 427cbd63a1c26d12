//! Nothing on any page, in any state, that people with disabilities would stumble over: judged by
//! axe-core in both themes, on a desk and on a phone.

use std::time::Duration;

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::{RAISE, SALES, STORY};

/// Has axe look at the page on a desk and on a phone, in light and dark.
async fn look(tab: &Tab, state: &str) {
    for view in [View::Desk, View::Phone] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            tab.look(view, scheme).await;
            tab.assert_accessible(&format!("{state}, {view:?}, {scheme:?}"))
                .await;
        }
    }
    tab.look(View::Desk, Scheme::Light).await;
}

#[tokio::test]
async fn nothing_in_a_conversation_with_everything_in_it() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    look(&tab, "a new chat").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.ask(STORY).await;
    tab.wait_end().await;
    tab.ask("Run a broken query").await;
    tab.wait_end().await;
    let unknown = Call::new("Nobody__knows", &json!({}));
    world.model().queue(Reply::calls([unknown]));
    tab.ask("Call what is not there").await;
    tab.wait_end().await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    look(&tab, "a call that asks").await;
    tab.click("button", "Approve").await;
    tab.wait_end().await;
    open_all(&tab).await;
    look(&tab, "everything open").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn nothing_while_an_answer_is_being_written() {
    let world = World::build()
        .model_delay(Duration::from_millis(40))
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 3")
        .await;
    look(&tab, "an answer being written").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    look(&tab, "a stopped answer").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn nothing_in_dialogs_and_drawers_and_on_pages_that_are_none() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.click("button", "Keyboard shortcuts").await;
    look(&tab, "the list of shortcuts").await;
    tab.click("button", "Close").await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.click("button", "Conversations and servers").await;
    tab.assert_accessible("the drawer").await;
    tab.allow("status of 404");
    for path in ["/nowhere", "/c/nothing", "/connected"] {
        tab.go(path).await;
        look(&tab, path).await;
    }
    ana.leave().await;
    world.finish().await;
}

/// Opens all that can be opened.
async fn open_all(tab: &Tab) {
    tab.eval("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        .await;
}
