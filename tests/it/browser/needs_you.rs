//! What waits for its user says so, wherever they are; and what closing the page means.

use std::time::Duration;

use chat::transcript::CallState;
use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    PATIENCE, World,
    browser::{Tab, Visitor},
};

use serde_json::Value;

use super::{NEVER, RAISE, SALES, last_turn, sid};
use crate::look::{eventually, found};

/// Longer than tabs ask each other whether somebody sees one of them: to see that nothing comes.
const NO_NEWS: Duration = Duration::from_millis(4500);

/// A wait that is worth a word is at least as long.
const WORTH_A_WORD: Duration = Duration::from_secs(5);

/// Notifications that are only counted, of a page that is `away` or seen.
const DESK: &str = "
  window.told = [];
  window.Notification = class extends EventTarget {
    static permission = 'default';
    static requestPermission() {
      Notification.permission = 'granted';
      return Promise.resolve('granted');
    }
    constructor(title, { body, tag }) {
      super();
      told.push({ title, body, tag });
      window.notification = this;
    }
    close() {}
  };
  const seen = () => !window.away;
  Object.defineProperty(document, 'visibilityState', { get: () => (seen() ? 'visible' : 'hidden') });
  document.hasFocus = seen;";

async fn title(tab: &Tab) -> String {
    let title = tab.eval("document.title").await;
    title.as_str().unwrap().to_owned()
}

async fn told(tab: &Tab) -> u64 {
    tab.eval("told.length").await.as_u64().unwrap()
}

#[tokio::test]
async fn the_titles_of_all_tabs_count_what_waits() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let other = ana.open("/").await;
    assert_eq!(title(&other).await, "Toolgate");
    tab.ask(RAISE).await;
    let marked = format!("document.title === '(1) {RAISE} · Toolgate'");
    tab.wait_true(&marked).await;
    other.wait_true("document.title === '(1) Toolgate'").await;
    // Also a page that comes later.
    other.reload().await;
    other.wait_true("document.title === '(1) Toolgate'").await;
    tab.click("button", "Approve").await;
    tab.wait_end().await;
    other.wait_true("document.title === 'Toolgate'").await;
    assert_eq!(title(&tab).await, format!("{RAISE} · Toolgate"));
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn one_notification_for_each_wait_and_none_unasked() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, other) = (ana.open_blank().await, ana.open_blank().await);
    for tab in [&tab, &other] {
        tab.run_first(DESK).await;
        tab.go("/").await;
    }
    tab.wait_gone("button", "Notify me").await;
    tab.ask(RAISE).await;
    tab.wait_text("You can close this page: the question waits for you, up to 24 hours.")
        .await;
    assert_eq!(tab.eval("Notification.permission").await, "default");
    tab.click("button", "Notify me").await;
    tab.find("button", "Do not notify me").await;
    tab.click("button", "Deny").await;
    tab.wait_end().await;
    tab.wait_gone("button", "Do not notify me").await;

    // Whoever looks at one of the tabs needs no notification.
    other.eval("Notification.permission = 'granted'").await;
    other.eval("window.away = true").await;
    let here = world.ana();
    let first = here.ask(RAISE).await;
    other.wait_true("document.title.startsWith('(1)')").await;
    tab.wait_true("document.title.startsWith('(1)')").await;
    tokio::time::sleep(NO_NEWS).await;
    assert_eq!(told(&tab).await + told(&other).await, 0);
    tab.eval("window.away = true").await;
    let second = here.ask(RAISE).await;
    tab.wait_true("document.title.startsWith('(2)')").await;
    other.wait_true("document.title.startsWith('(2)')").await;
    found(async || {
        let told = told(&tab).await + told(&other).await;
        (told > 0).then_some(()).ok_or("nobody was told")
    })
    .await;
    // There is no second one: of the same tag a browser shows one, whichever tabs tell it.
    tokio::time::sleep(NO_NEWS).await;
    let mut news = Vec::new();
    for tab in [&tab, &other] {
        let told: Vec<Value> = serde_json::from_value(tab.eval("told").await).unwrap();
        news.extend(told);
    }
    news.dedup_by(|one, other| one["tag"] == other["tag"]);
    assert_eq!(news.len(), 1, "{news:?}");
    let news = &news[0];
    let who = if told(&tab).await > 0 { &tab } else { &other };
    assert_eq!(news["title"], RAISE);
    assert_eq!(news["body"], "A call needs your approval.");
    who.eval("notification.dispatchEvent(new Event('click'))")
        .await;
    let place = format!("location.pathname === '/c/{}'", second.conversation);
    who.wait_true(&place).await;
    for posted in [first, second] {
        here.cancel(&posted.turn).await;
        here.wait_end(&posted.turn).await;
    }
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_page_says_how_long_an_answer_goes_on_without_it() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_text("You can close this page: the answer goes on for about 4 minutes without it.")
        .await;
    tab.keep_picture("leave").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    tab.wait_no_text("You can close this page").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_tab_elsewhere_keeps_an_answer_going() {
    let life = Duration::from_secs(2);
    let world = World::build()
        .token_life(life)
        .model_delay(NEVER)
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    world.model().wait_received(1).await;
    let turn = last_turn(&tab).await;
    // No page of a conversation: it has no stream but the one that keeps the session alive.
    let elsewhere = ana.open("/traffic").await;
    elsewhere
        .cdp(
            "Emulation.setFocusEmulationEnabled",
            serde_json::json!({ "enabled": false }),
        )
        .await;
    tab.close().await;
    // No token that the closed page brought lives any more, and the other one brings newer ones.
    tokio::time::sleep(life).await;
    let requests = || world.standin().requests("chat.localhost");
    let before = requests();
    eventually("the other page comes back", || requests() > before + 1).await;
    world.model().set_delay(Duration::ZERO);
    // The call is made while nobody comes back: another session of hers might help it on.
    tokio::time::timeout(PATIENCE, world.model().wait_received(2))
        .await
        .unwrap();
    let transcript = world.ana().wait_end(&turn).await;
    let call = transcript.calls().next().unwrap();
    assert!(matches!(call.state, CallState::Finished { .. }), "{call:?}");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_waited_goes_on_when_its_user_is_back_and_says_so() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    world.model().wait_received(1).await;
    let (path, turn, sid) = (tab.path().await, last_turn(&tab).await, sid(&tab).await);
    tab.close().await;
    world.standin().recall_tes(sid);
    world.model().queue(Reply::text("Done."));
    world.model().set_delay(Duration::ZERO);
    // Another session of hers may look, and brings it nothing.
    let waits = |state| matches!(state, CallState::Parked { .. });
    world
        .ana()
        .wait_until(&turn, |turn| turn.calls().any(|call| waits(call.state)))
        .await;
    tokio::time::sleep(WORTH_A_WORD).await;
    let tab = ana.open(&path).await;
    tab.wait_end().await;
    let waited = tab.text().await;
    assert!(
        waited.contains("Waited") && waited.contains("for you"),
        "{waited}"
    );
    ana.leave().await;
    world.finish().await;
}
