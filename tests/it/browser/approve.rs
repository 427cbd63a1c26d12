//! Calls that a person decides on, on their cards.

use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Key, Visitor},
};

use super::{CARD, RAISE, same_after_reload};

const WRITE_CARD: &str = "Write query";
const REASON: &str = "Reason for denying, for the model";

fn writes(world: &World) -> usize {
    world.journal().with("UPDATE").len()
}

#[tokio::test]
async fn approved_on_the_card() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(RAISE).await;
    tab.wait_text("Needs your approval").await;
    tab.wait_text("needs you").await;
    let card = tab.find(CARD, WRITE_CARD).await;
    let text = card.text().await;
    assert!(text.contains("UPDATE") && text.contains("run?"), "{text}");
    tab.keep_picture("approval").await;
    assert_eq!(writes(&world), 0);
    card.find("button", "Approve").await;
    tab.click("button", "Approve").await;
    tab.wait_end().await;
    assert_eq!(writes(&world), 1);
    tab.wait_gone("button", "Approve").await;
    tab.wait_no_text("needs you").await;
    let text = tab.find(CARD, WRITE_CARD).await.text().await;
    assert!(text.contains("Done"), "{text}");
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn denied_with_a_reason() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(RAISE).await;
    tab.click("textbox", REASON).await;
    tab.insert("It is <b>Friday</b>.").await;
    tab.click("button", "Deny").await;
    tab.wait_text("Denied by you").await;
    tab.wait_text("Your reason: It is <b>Friday</b>.").await;
    tab.wait_end().await;
    // The model was told why.
    tab.wait_text("nothing was done").await;
    assert_eq!(writes(&world), 0);
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn enter_in_the_reason_denies_and_never_approves() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(RAISE).await;
    tab.click("textbox", REASON).await;
    tab.insert("Not today").await;
    tab.press(Key::Enter).await;
    tab.wait_text("Denied by you").await;
    tab.wait_text("Your reason: Not today").await;
    tab.wait_end().await;
    assert_eq!(writes(&world), 0);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_in_one_tab_is_seen_in_the_other() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    // What is being typed elsewhere stays, too.
    tab.click("textbox", REASON).await;
    tab.insert("Hm").await;
    let other = ana.open(&tab.path().await).await;
    other.click("button", "Approve").await;
    other.wait_end().await;
    tab.wait_end().await;
    tab.wait_gone("button", "Approve").await;
    assert_eq!(super::turns(&tab).await, super::turns(&other).await);
    assert_eq!(writes(&world), 1);
    ana.leave().await;
    world.finish().await;
}
