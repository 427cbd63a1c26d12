//! The message box never loses what was typed.

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Tab, Visitor},
};

use super::{NEVER, SALES};

async fn typed(tab: &Tab) -> String {
    tab.find("textbox", "Message").await.value().await
}

#[tokio::test]
async fn drafts_belong_to_their_conversation_and_outlive_the_page() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let conversation = tab.path().await;
    assert_eq!(typed(&tab).await, "");
    tab.write("And in May?").await;
    tab.reload().await;
    assert_eq!(typed(&tab).await, "And in May?");
    tab.click("link", "New chat").await;
    tab.find("heading", "New chat").await;
    assert_eq!(typed(&tab).await, "");
    tab.write("Something else\nentirely").await;
    tab.click("link", SALES).await;
    tab.find("heading", SALES).await;
    assert_eq!(tab.path().await, conversation);
    assert_eq!(typed(&tab).await, "And in May?");
    let other = ana.open("/").await;
    assert_eq!(typed(&other).await, "Something else\nentirely");

    // What was sent is no draft any more.
    tab.click("button", "Send").await;
    tab.wait_asked("And in May?").await;
    tab.wait_end().await;
    assert_eq!(typed(&tab).await, "");
    tab.reload().await;
    assert_eq!(typed(&tab).await, "");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn two_new_chats_keep_their_own_drafts() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (first, second) = (ana.open("/").await, ana.open("/").await);
    first.write("for later").await;
    second.write(SALES).await;
    assert_eq!(typed(&first).await, "for later");
    second.click("button", "Send").await;
    second.wait_end().await;
    assert_eq!(typed(&first).await, "for later");
    first.reload().await;
    assert_eq!(typed(&first).await, "for later");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_draft_is_not_shown_to_the_next_user_of_the_browser() {
    let world = World::start().await;
    let somebody = Visitor::arrive(&world).await;
    let tab = somebody.open("/").await;
    tab.sign_in(DemoUser::Ana).await;
    tab.write("between us").await;
    tab.click("link", "Sign out").await;
    tab.find("link", "Sign in again").await;
    tab.go("/").await;
    tab.sign_in(DemoUser::Ben).await;
    assert_eq!(typed(&tab).await, "");
    somebody.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_is_typed_while_an_answer_comes_is_kept() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.find("button", "Stop").await;
    tab.write("And then?").await;
    world.model().set_delay(std::time::Duration::ZERO);
    tab.wait_end().await;
    assert_eq!(typed(&tab).await, "And then?");
    assert!(tab.find("button", "Send").await.is_enabled().await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_stays_in_the_box() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let long = "ä".repeat(128 * 1024) + "!";
    tab.write(&long).await;
    tab.click("button", "Send").await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(alert.contains("longer than 256 KiB"), "{alert}");
    assert_eq!(typed(&tab).await, long);
    assert_eq!(world.model().received(), 0);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_over_the_limit_of_turns_can_be_sent_later() {
    let world = World::build()
        .setting("TOOLGATE_MAX_TURNS_PER_USER", "1")
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    world.model().queue(Reply::hang());
    let first = ana.open("/").await;
    first.ask("Think about it").await;
    first.find("button", "Stop").await;
    let tab = ana.open("/").await;
    tab.allow("status of 429");
    tab.send(SALES).await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(alert.contains("at once"), "{alert}");
    assert_eq!(typed(&tab).await, SALES);
    assert_eq!(tab.path().await, "/");
    tab.keep_picture("refused").await;
    first.click("button", "Stop").await;
    first.wait_end().await;
    tab.click("button", "Send").await;
    tab.find("table", "").await;
    tab.wait_gone("alert", "").await;
    assert_eq!(typed(&tab).await, "");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_in_a_conversation_that_is_busy_after_all_waits() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let first = ana.open("/").await;
    first.ask(SALES).await;
    first.wait_end().await;
    // A tab that does not hear what happens.
    let deaf = ana.open_blank().await;
    let urls = serde_json::json!({ "urls": ["*/api/events*"] });
    deaf.cdp("Network.setBlockedURLs", urls).await;
    deaf.allow("/api/events");
    deaf.go(&first.path().await).await;
    world.model().queue(Reply::hang());
    first.ask("Think about it").await;
    first.find("button", "Stop").await;
    deaf.allow("status of 409");
    deaf.send("And in May?").await;
    deaf.wait_text("Waiting until the answer is complete").await;
    deaf.wait_gone("alert", "").await;
    assert_eq!(typed(&deaf).await, "");
    first.wait_text("And in May?").await;
    // Of which answer it is told, so it can stop it.
    deaf.click("button", "Interrupt and ask now").await;
    let asked =
        "[...document.querySelectorAll('.turn .message')].at(-1).textContent === 'And in May?'";
    first.wait_true(asked).await;
    first.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_model_endpoint_is_down() {
    let world = World::build()
        .setting("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("The model endpoint does not answer at the moment.")
        .await;
    tab.allow("status of 502");
    tab.allow("status of 503");
    tab.send(SALES).await;
    tab.wait_text("model endpoint").await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(!alert.is_empty());
    assert_eq!(typed(&tab).await, SALES);
    tab.keep_picture("endpoint-down").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_sent_without_a_connection_is_kept_and_counts_once() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.allow("ERR_INTERNET_DISCONNECTED");
    tab.set_offline(harness::browser::Offline::Yes).await;
    tab.send(SALES).await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(alert.contains("could not be reached"), "{alert}");
    assert_eq!(typed(&tab).await, SALES);
    tab.set_offline(harness::browser::Offline::No).await;
    tab.wait_gone("alert", "").await;
    tab.click("button", "Send").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    tab.wait_gone("alert", "").await;
    let asked = "document.querySelectorAll('.turn').length";
    assert_eq!(tab.eval(asked).await, 1);
    ana.leave().await;
    world.finish().await;
}
