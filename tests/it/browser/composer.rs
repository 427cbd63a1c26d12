//! Messages that wait, that are composed, that are long, and that are on their way when the page is
//! loaded anew.

use std::time::Duration;

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::{SALES, wait_messages};

/// Why messages wait.
const WAITS: &str = "Waiting until the answer is complete";
/// Why they are not sent.
const HELD: &str = "Not sent: the answer before it did not get to its end";
/// The answer to the first post never comes to the page that sent it.
const LOST: &str = "const real = window.fetch;
  window.fetch = async (path, options) => {
    const response = await real(path, options);
    if (path !== '/api/messages' || sessionStorage.getItem('lost')) return response;
    sessionStorage.setItem('lost', 'yes');
    return new Promise(() => {});
  };";

async fn typed(tab: &Tab) -> String {
    tab.find("textbox", "Message").await.value().await
}

/// The messages of the conversation, in its order.
async fn messages(tab: &Tab) -> Vec<String> {
    let messages = tab
        .eval("[...document.querySelectorAll('.turn .message')].map((m) => m.textContent.trim())")
        .await;
    serde_json::from_value(messages).unwrap()
}

/// A conversation whose answer does not come.
async fn waiting(world: &World, tab: &Tab) {
    world.model().queue(Reply::hang());
    tab.ask("Think about it").await;
    tab.find("button", "Stop").await;
}

#[tokio::test]
async fn messages_wait_until_the_answer_is_complete() {
    let world = World::build().model_delay(super::NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.find("button", "Stop").await;
    tab.write("First").await;
    tab.press(Key::Enter).await;
    tab.wait_text(WAITS).await;
    assert_eq!(typed(&tab).await, "");
    tab.send("Second").await;
    tab.wait_text("Second").await;
    // The button is gone; who has pressed it goes on typing.
    assert!(tab.is_focused("textbox", "Message").await);
    tab.write("a draft").await;
    let region = tab.find("region", "Waiting to be sent").await.text().await;
    assert!(region.find("First") < region.find("Second"), "{region}");
    tab.keep_picture("queue").await;
    assert_eq!(messages(&tab).await, [SALES]);

    // They outlive the page, in their order; the answer comes meanwhile.
    tab.reload().await;
    tab.wait_text(WAITS).await;
    world.model().set_delay(Duration::ZERO);
    wait_messages(&tab, &[SALES, "First", "Second"]).await;
    tab.wait_end().await;
    tab.wait_gone("region", "Waiting to be sent").await;
    assert_eq!(typed(&tab).await, "a draft");
    tab.reload().await;
    wait_messages(&tab, &[SALES, "First", "Second"]).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_waiting_message_can_be_taken_back_and_thrown_away() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    waiting(&world, &tab).await;
    tab.send("Edited").await;
    tab.wait_text(WAITS).await;
    tab.click("button", "Edit what waits").await;
    tab.wait_gone("region", "Waiting to be sent").await;
    assert_eq!(typed(&tab).await, "Edited");
    tab.insert(" since").await;
    tab.press(Key::Enter).await;
    tab.wait_text("Edited since").await;
    tab.click("button", "Remove what waits").await;
    tab.wait_gone("region", "Waiting to be sent").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    assert_eq!(messages(&tab).await, ["Think about it"]);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn after_an_answer_that_was_stopped_nothing_is_sent_by_itself() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    waiting(&world, &tab).await;
    tab.send("And then?").await;
    tab.wait_text(WAITS).await;
    tab.click("button", "Stop").await;
    tab.wait_text(HELD).await;
    tab.wait_end().await;
    assert_eq!(messages(&tab).await, ["Think about it"]);
    tab.keep_picture("queue-held").await;
    // Not after another answer either.
    tab.ask("Hello").await;
    tab.wait_end().await;
    tab.reload().await;
    tab.wait_text(HELD).await;
    tab.click("button", "Ask now").await;
    wait_messages(&tab, &["Think about it", "Hello", "And then?"]).await;
    tab.wait_gone("region", "Waiting to be sent").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_waiting_message_can_stop_the_answer() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.look(View::Phone, Scheme::Light).await;
    waiting(&world, &tab).await;
    tab.send("At once").await;
    tab.wait_text(WAITS).await;
    tab.keep_picture("queue-phone").await;
    tab.click("button", "Interrupt and ask now").await;
    wait_messages(&tab, &["Think about it", "At once"]).await;
    tab.wait_end().await;
    // It may have scrolled out of sight.
    tab.wait_true("document.getElementById('turns').textContent.includes('Stopped.')")
        .await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_waits_is_sent_once_by_two_tabs() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.model().queue(Reply::hang());
    tab.ask("Think about it").await;
    tab.find("button", "Stop").await;
    let other = ana.open(&tab.path().await).await;
    tab.send("Once").await;
    tab.wait_text(WAITS).await;
    other.wait_text(WAITS).await;
    other.click("button", "Interrupt and ask now").await;
    wait_messages(&tab, &["Think about it", "Once"]).await;
    wait_messages(&other, &["Think about it", "Once"]).await;
    tab.wait_end().await;
    tab.wait_gone("region", "Waiting to be sent").await;
    other.wait_gone("region", "Waiting to be sent").await;
    assert_eq!(messages(&tab).await, ["Think about it", "Once"]);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_word_that_is_being_composed_is_not_sent() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.click("textbox", "Message").await;
    let composing = json!({ "text": "にほん", "selectionStart": 3, "selectionEnd": 3 });
    tab.cdp("Input.imeSetComposition", composing).await;
    assert_eq!(typed(&tab).await, "にほん");
    // As an input method hands on the Enter that chooses the word.
    for number in [229, 13] {
        let enter = json!({
            "type": "rawKeyDown", "key": "Enter", "code": "Enter",
            "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number,
        });
        tab.cdp("Input.dispatchKeyEvent", enter).await;
    }
    tab.insert("日本").await;
    assert_eq!(world.model().received(), 0);
    assert_eq!(tab.path().await, "/");
    assert_eq!(typed(&tab).await, "日本");
    tab.press(Key::Enter).await;
    wait_messages(&tab, &["日本"]).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_was_on_its_way_when_the_page_was_loaded_anew_counts_once() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_with(LOST).await;
    tab.send(SALES).await;
    tab.wait_true("sessionStorage.getItem('lost') === 'yes'")
        .await;
    assert_eq!(tab.path().await, "/");
    tab.reload().await;
    tab.find("table", "").await;
    tab.wait_end().await;
    assert_eq!(messages(&tab).await, [SALES]);
    assert_eq!(typed(&tab).await, "");
    let all = world.ana().get("/api/conversations").await;
    let all: Vec<serde_json::Value> = all.json();
    assert_eq!(all.len(), 1, "{all:?}");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_long_message_without_a_space_does_not_freeze_the_page() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.model().queue(Reply::text("That was long."));
    let long = "x".repeat(256 * 1024);
    tab.write(&long).await;
    let key = "(() => {
      const box = document.getElementById('message');
      const before = performance.now();
      box.dispatchEvent(new Event('input'));
      box.offsetHeight;
      return performance.now() - before;
    })()";
    let key = tab.eval(key).await.as_f64().unwrap();
    tab.click("button", "Send").await;
    tab.wait_text("That was long.").await;
    tab.wait_end().await;
    tab.reload().await;
    tab.wait_text("That was long.").await;
    let layout = "(() => {
      const message = document.querySelector('.message');
      message.scrollIntoView();
      const before = performance.now();
      message.style.maxWidth = '300px';
      message.offsetHeight;
      return performance.now() - before;
    })()";
    let layout = tab.eval(layout).await.as_f64().unwrap();
    println!("a key takes {key} ms, the message {layout} ms");
    // Far more than either takes, far less than a page that stands still.
    assert!(key < 10_000.0 && layout < 10_000.0, "{key} ms, {layout} ms");
    let wide = "document.getElementById('scroller').scrollWidth
                > document.getElementById('scroller').clientWidth";
    assert_eq!(tab.eval(wide).await, false);
    ana.leave().await;
    world.finish().await;
}
