//! The traffic pages: from an answer to what was said for it, byte by byte.

use demo::{
    model::{Call, Fault, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::{READ, SALES, last_turn};
use crate::traffic_api::exchanges;

/// Opens the row whose line has this text, and waits until what it opens to is there.
async fn open_row(tab: &Tab, text: &str) {
    let row = format!(
        "[...document.querySelectorAll('.exchange')].find((row) =>
           row.querySelector('summary').textContent.includes({text:?}))"
    );
    tab.wait_true(&format!("!!{row}")).await;
    tab.eval(&format!("{row}.querySelector('summary').click()"))
        .await;
    tab.wait_true(&format!("{row}.open && !!{row}.querySelector('.opened')"))
        .await;
}

/// Opens everything inside the open row.
async fn open_all(tab: &Tab) {
    tab.eval("document.querySelectorAll('.opened details').forEach((it) => { it.open = true; })")
        .await;
}

/// Fails if something is wider than the window.
async fn assert_fits(tab: &Tab) {
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(tab.eval(wide).await, false, "it scrolls sideways");
}

/// A tab where Ana's question has been answered, and its traffic recorded.
async fn answered(world: &World, ana: &Visitor) -> (Tab, chat::ids::TurnId) {
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let turn = last_turn(&tab).await;
    exchanges(&world.ana(), &turn).await;
    (tab, turn)
}

#[tokio::test]
async fn from_an_answer_to_every_byte_of_it() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, turn) = answered(&world, &ana).await;
    tab.click("link", "Traffic").await;
    tab.find("heading", "Traffic").await;
    tab.wait_text("Answered").await;
    tab.assert_accessible("the list of turns").await;
    tab.keep_picture("traffic-list").await;
    tab.click("link", SALES).await;
    tab.find("heading", SALES).await;
    assert_eq!(tab.path().await, format!("/traffic/{turn}"));
    tab.keep_picture("traffic-waterfall").await;
    tab.assert_accessible("a waterfall").await;

    open_row(&tab, "tools/call").await;
    tab.wait_text("JSON-RPC tools/call").await;
    tab.find("button", "Copy request id").await;
    open_all(&tab).await;
    tab.wait_text("not recorded: a secret").await;
    tab.wait_text("$TE").await;
    tab.wait_text("toolgate token http://chat.localhost").await;
    // The names in its JSON can be read: each in one line.
    let in_a_line = "[...document.querySelectorAll('.opened .tree .key')]
        .filter((it) => it.offsetParent).map((it) => it.getBoundingClientRect().height)
        .every((height, n, all) => all.length > 1 && height > 10 && height < 40)";
    assert_eq!(tab.eval(in_a_line).await, true);
    tab.keep_picture("traffic-call").await;
    tab.assert_accessible("an open call").await;
    tab.click("button", "Copy as curl").await;
    tab.find("button", "Copied").await;

    open_row(&tab, "round 2").await;
    tab.wait_text("As assembled").await;
    tab.keep_picture("traffic-model").await;

    open_row(&tab, "Call 1").await;
    tab.find("heading", "What the server sent").await;
    tab.find("heading", "What the model saw").await;
    tab.keep_picture("traffic-compared").await;
    tab.assert_accessible("a result compared").await;
    tab.click("link", "Model request that carried it (round 2)")
        .await;
    tab.find("heading", "Request").await;
    tab.keep_picture("traffic-request").await;
    tab.assert_accessible("a request on a page of its own")
        .await;
    tab.click("link", "Turn").await;
    tab.find("heading", SALES).await;
    tab.click("link", "Open the conversation").await;
    tab.find("table", "").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_runs_is_followed() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world
        .model()
        .queue(Reply::text("one two three four five").with_fault(Fault::HangAfter(3)));
    tab.ask("Count").await;
    tab.wait_text("one two").await;
    let turn = last_turn(&tab).await;
    let traffic = ana.open(&format!("/traffic/{turn}")).await;
    traffic.wait_text("running").await;
    open_row(&traffic, "round 1").await;
    traffic.keep_picture("traffic-running").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    traffic.wait_text("Stopped").await;
    traffic.wait_no_text("so far").await;
    // What its reader had opened stays open.
    traffic
        .wait_true("document.querySelector('.exchange[open] .opened') !== null")
        .await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn by_keyboard_and_without_scripts() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, turn) = answered(&world, &ana).await;
    tab.go(&format!("/traffic/{turn}")).await;
    tab.eval("document.querySelector('.exchange > summary').focus()")
        .await;
    let down = "document.activeElement.dispatchEvent(
      new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }))";
    tab.eval(down).await;
    let second = "document.querySelectorAll('.exchange > summary')[1] === document.activeElement";
    assert_eq!(tab.eval(second).await, true);
    tab.press(Key::Enter).await;
    tab.wait_true("document.querySelector('.exchange[open] .opened') !== null")
        .await;

    tab.forbid_scripts().await;
    tab.reload().await;
    tab.eval("document.querySelectorAll('.exchange').forEach((it) => { it.open = true; })")
        .await;
    tab.keep_picture("traffic-no-script").await;
    tab.eval("document.querySelector('.exchange .inside a').click()")
        .await;
    tab.find("heading", "Request").await;
    tab.find("heading", "Response").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn in_every_light_and_on_a_phone() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let call = |sql: &str| Call::new(READ, &json!({ "query": sql }));
    let calls = [
        call("SELECT 1"),
        call("SELECT * FROM Nothing"),
        call("SELECT 3"),
    ];
    world.model().queue(Reply::calls(calls));
    world.model().queue(Reply::text("One of them failed."));
    let (tab, turn) = answered(&world, &ana).await;
    for view in [View::Desk, View::Phone] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            tab.look(view, scheme).await;
            let name = format!("{view:?}-{scheme:?}").to_lowercase();
            tab.go("/traffic").await;
            assert_fits(&tab).await;
            tab.keep_picture(&format!("traffic-list-{name}")).await;
            tab.go(&format!("/traffic/{turn}")).await;
            tab.wait_true("document.querySelectorAll('.exchange').length > 5")
                .await;
            assert_fits(&tab).await;
            tab.keep_picture(&format!("traffic-turn-{name}")).await;
            open_row(&tab, "tools/call").await;
            open_all(&tab).await;
            tab.eval("document.querySelector('.exchange[open]').scrollIntoView()")
                .await;
            assert_fits(&tab).await;
            tab.assert_accessible(&name).await;
            tab.keep_picture(&format!("traffic-open-{name}")).await;
            tab.go(&format!("/traffic/{turn}/calls/1")).await;
            assert_fits(&tab).await;
            tab.keep_picture(&format!("traffic-compared-{name}")).await;
        }
    }
    tab.go("/traffic/outside").await;
    tab.find("heading", "Outside of turns").await;
    tab.keep_picture("traffic-outside").await;
    ana.leave().await;
    world.finish().await;
}
