//! Everything without a mouse.

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Key, Visitor},
};

use super::RAISE;

#[tokio::test]
async fn asked_approved_and_stopped() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.press(Key::Tab).await;
    assert!(tab.is_focused("link", "Skip to the message box").await);
    tab.press(Key::Enter).await;
    assert!(tab.is_focused("textbox", "Message").await);
    tab.insert("Please:").await;
    tab.press_shift(Key::Enter).await;
    tab.insert(RAISE).await;
    let typed = tab.find("textbox", "Message").await.value().await;
    assert_eq!(typed, format!("Please:\n{RAISE}"));
    tab.press(Key::Enter).await;

    tab.find("button", "Approve").await;
    tab.tab_to("button", "Approve").await;
    tab.press(Key::Space).await;
    tab.wait_end().await;
    assert_eq!(world.journal().with("UPDATE").len(), 1);

    // Stop with Escape, from wherever one is.
    world.model().queue(Reply::hang());
    tab.tab_to("textbox", "Message").await;
    tab.insert("Think about it").await;
    tab.press(Key::Enter).await;
    tab.find("button", "Stop").await;
    assert!(tab.is_focused("textbox", "Message").await);
    tab.press(Key::Escape).await;
    tab.wait_text("Stopped.").await;
    tab.wait_end().await;

    // Stop with its button; the focus does not fall out of the page when that goes.
    world.model().queue(Reply::hang());
    tab.insert("Think again").await;
    tab.press(Key::Enter).await;
    tab.find("button", "Stop").await;
    tab.press(Key::Tab).await;
    assert!(tab.is_focused("button", "Stop").await);
    tab.press(Key::Enter).await;
    tab.wait_end().await;
    assert!(tab.is_focused("textbox", "Message").await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_empty_message_is_not_sent() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.write(" \n ").await;
    assert!(!tab.find("button", "Send").await.is_enabled().await);
    tab.press(Key::Enter).await;
    assert_eq!(world.model().received(), 0);
    tab.insert("Hello").await;
    tab.press(Key::Enter).await;
    tab.wait_text("I follow a script").await;
    tab.wait_end().await;
    assert_eq!(
        tab.eval("document.querySelectorAll('.turn').length").await,
        1
    );
    ana.leave().await;
    world.finish().await;
}
