//! The states that the pages can be in, each looked at on a desk and on a phone, in light and dark:
//! by axe-core, which must find nothing that people with disabilities would stumble over, and for
//! people who look at pictures: `target/screens`.

use demo::{
    model::{Call, Reply},
    notes::Options,
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::{NEVER, RAISE, READABLE, SALES, STORY, last_turn};
use crate::notes;

/// Everything that is open and in sight, and is fetched when it is, is there.
const FETCHED: &str = "[...document.querySelectorAll(
    'details[open] [data-load], details[open][data-part]')].every((place) =>
  place.querySelector('.opened') !== null
  || (place.dataset.load && !place.ariaBusy && place.childElementCount > 0)
  || place.getBoundingClientRect().top > innerHeight
  || place.getBoundingClientRect().bottom < 0)";

/// Has axe look at the page, and keeps pictures.
async fn look(tab: &Tab, state: &str) {
    for (view, width) in [(View::Phone, 360), (View::Wide, 1440)] {
        for (scheme, light) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
            tab.look(view, scheme).await;
            tab.eval("document.getElementById('scroller')?.scrollTo(0, 1e9)")
                .await;
            tab.keep_screen(&format!("{state}-{light}-{width}")).await;
            tab.assert_accessible(&format!("{state}, {light}, {width}"))
                .await;
        }
    }
}

/// Opens all that can be opened, so that nothing hides from the look.
async fn open_all(tab: &Tab) {
    let open = "document.querySelectorAll('main details').forEach((one) => { one.open = true })";
    tab.eval(open).await;
    tab.wait_true(FETCHED).await;
}

#[tokio::test]
async fn a_conversation_with_everything_in_it() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("5 tools").await;
    look(&tab, "new").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    look(&tab, "sales").await;
    tab.ask(STORY).await;
    tab.wait_end().await;
    look(&tab, "story").await;
    tab.ask("Run a broken query").await;
    tab.wait_end().await;
    let unknown = Call::new("Nobody__knows", &json!({}));
    world.model().queue(Reply::calls([unknown]));
    tab.ask("Call what is not there").await;
    tab.wait_end().await;
    look(&tab, "failed").await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    look(&tab, "approval").await;
    tab.click("button", "Approve").await;
    tab.wait_end().await;
    open_all(&tab).await;
    look(&tab, "all-open").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_being_written_and_stopped() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 3")
        .await;
    world.model().set_delay(NEVER);
    look(&tab, "writing").await;
    tab.write("And then?").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    look(&tab, "stopped").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_opens_over_a_conversation() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.click("button", "Keyboard shortcuts").await;
    look(&tab, "shortcuts").await;
    tab.click("button", "Close").await;
    tab.click("button", "Edit").await;
    look(&tab, "edit").await;
    tab.reload().await;
    tab.eval("document.querySelectorAll('#drawer details').forEach((one) => { one.open = true })")
        .await;
    look(&tab, "servers").await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.click("button", "Conversations and servers").await;
    for (scheme, light) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        tab.look(View::Phone, scheme).await;
        tab.keep_screen(&format!("drawer-{light}-360")).await;
        tab.assert_accessible(&format!("drawer, {light}")).await;
    }
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_account_that_is_wanted() {
    let world = notes::build(Options::default()).start().await;
    let visitor = Visitor::arrive(&world).await;
    let tab = visitor.open("/").await;
    tab.sign_in(DemoUser::Ana).await;
    tab.ask("What notes do I have?").await;
    tab.wait_text("Waiting until your account is connected")
        .await;
    look(&tab, "account").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    tab.go("/connected?server=Notes&connect_error=access_denied")
        .await;
    look(&tab, "not-connected").await;
    visitor.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_pages_beside_the_chat() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let turn = last_turn(&tab).await;
    tab.go(&format!("/calls/{turn}/1")).await;
    open_all(&tab).await;
    look(&tab, "result").await;
    tab.look(View::Phone, Scheme::Light).await;
    let wide = "document.documentElement.scrollWidth > 360";
    assert_eq!(tab.eval(wide).await, false, "it scrolls sideways");
    tab.go("/traffic").await;
    look(&tab, "traffic").await;
    tab.go(&format!("/traffic/{turn}")).await;
    look(&tab, "traffic-turn").await;
    open_all(&tab).await;
    look(&tab, "traffic-open").await;
    tab.go("/traffic/outside").await;
    look(&tab, "traffic-outside").await;
    tab.allow("status of 404");
    tab.go("/nowhere").await;
    look(&tab, "nowhere").await;
    tab.go("/c/nothing").await;
    look(&tab, "no-conversation").await;
    ana.leave().await;
    world.finish().await;
}
