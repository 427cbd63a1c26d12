//! Sessions and tokens under an open page, and whose page it is.

use std::time::Duration;

use chat::event::Event;
use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Tab, Visitor},
};

use super::{NEVER, SALES, last_turn, same_after_reload, sid};

/// What a tab says when there is no session any more: Pomerium leads its stream to the sign-in
/// page, which the page's policy lets nothing but the window itself go to.
fn allow_sign_in(tab: &Tab) {
    tab.allow("status of 401");
    tab.allow("/.pomerium/sign_in");
}

#[tokio::test]
async fn somebody_signs_out() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("Ana").await;
    tab.click("link", "Sign out").await;
    tab.wait_text("Signed out").await;
    tab.go("/").await;
    tab.find("button", "Sign in as Ben").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_session_that_ends_under_the_page_can_be_begun_anew() {
    let world = World::build()
        .token_life(Duration::from_secs(3))
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.write("And in May?").await;
    allow_sign_in(&tab);
    world.standin().end_session(sid(&tab).await);
    let link = tab.find("link", "Sign in again").await;
    tab.keep_picture("session-ended").await;
    // A message does not get through, and stays.
    let conversation = tab.path().await;
    link.click().await;
    tab.sign_in(DemoUser::Ana).await;
    assert_eq!(tab.path().await, conversation);
    assert_eq!(
        tab.find("textbox", "Message").await.value().await,
        "And in May?"
    );
    tab.find("table", "").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_posted_after_the_session_ended_is_kept() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.standin().end_session(sid(&tab).await);
    allow_sign_in(&tab);
    tab.send(SALES).await;
    let alert = tab.find("alert", "").await;
    assert!(alert.text().await.contains("Your session has ended."));
    // The stream may have noticed it, too: it is said once.
    tab.find("link", "Sign in again").await.click().await;
    tab.sign_in(DemoUser::Ana).await;
    assert_eq!(tab.find("textbox", "Message").await.value().await, SALES);
    tab.click("button", "Send").await;
    tab.find("table", "").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_call_with_a_stale_token_goes_on_by_itself() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    world.model().wait_received(1).await;
    world.standin().recall_tes(sid(&tab).await);
    world.model().set_delay(Duration::ZERO);
    tab.find("table", "").await;
    tab.wait_end().await;
    let turn = last_turn(&tab).await;
    let log = world.ana().log(&turn).await;
    let parked = log
        .iter()
        .filter(|logged| matches!(logged.event, Event::CallParked { .. }));
    assert_eq!(parked.count(), 1, "{log:#?}");
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_page_outlives_many_tokens() {
    let world = World::build()
        .token_life(Duration::from_secs(2))
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    // Streams last about three quarters of a second each, and each that ends is asked for again.
    world.model().set_delay(Duration::from_millis(8));
    tab.ask(super::STORY).await;
    let requests = || world.standin().requests("chat.localhost");
    let before = requests();
    tab.wait_end().await;
    assert!(requests() > before + 3, "{} and {before}", requests());
    same_after_reload(&tab).await;
    tab.ask(SALES).await;
    // One may be so far away that the browser leaves it out of what it tells.
    tab.wait_true("document.querySelectorAll('.blocks table').length === 2")
        .await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn two_people_see_only_their_own() {
    let world = World::start().await;
    let (ana, ben) = tokio::join!(
        Visitor::sign_in(&world, DemoUser::Ana),
        Visitor::sign_in(&world, DemoUser::Ben)
    );
    let (tab, his) = tokio::join!(ana.open("/"), ben.open("/"));
    // Not one of the questions that everybody is offered.
    let hers = "What were the sales of my own shop?";
    tokio::join!(
        tab.ask(hers),
        his.ask("Which tables are there, and what is in the largest?")
    );
    tokio::join!(tab.wait_end(), his.wait_end());
    tab.find("table", "").await;
    tab.wait_text("Ana").await;
    his.wait_text("Ben").await;
    for path in ["/", &his.path().await] {
        his.go(path).await;
        assert!(!his.text().await.contains(hers));
    }
    his.allow("status of 404");
    his.go(&tab.path().await).await;
    let text = his.text().await;
    assert!(!text.contains(hers), "{text}");
    his.keep_picture("not-found").await;
    his.click("link", "New chat").await;
    his.find("textbox", "Message").await;
    ana.leave().await;
    ben.leave().await;
    world.finish().await;
}
