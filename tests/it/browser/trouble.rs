//! Trouble with the model endpoint and the database, as its user sees it.

use std::time::Duration;

use demo::{
    model::{Fault, Reply},
    pomerium::DemoUser,
};
use harness::{
    PATIENCE, World,
    browser::{Key, Visitor},
};
use rusqlite::Connection;

use super::{NEVER, READABLE, SALES, STORY, branches_page::VERSIONS, same_after_reload};

/// Has the database refuse every new event until what this gives is called.
fn fill(world: &World) -> impl Fn() + use<> {
    let database = Connection::open(world.data().join("toolgate.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events \
                BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    database.execute_batch(full).unwrap();
    move || database.execute_batch("DROP TRIGGER full").unwrap()
}

#[tokio::test]
async fn a_message_that_cannot_be_saved_stays_in_the_box() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.allow("status of 503");
    let empty = fill(&world);
    tab.send(SALES).await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(
        alert.contains("saved") || alert.contains("database"),
        "{alert}"
    );
    assert_eq!(tab.find("textbox", "Message").await.value().await, SALES);
    tab.keep_picture("not-saved").await;
    empty();
    tab.click("button", "Send").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    tab.wait_gone("alert", "").await;
    assert_eq!(
        tab.eval("document.querySelectorAll('.turn').length").await,
        1
    );
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_saved_goes_on_when_it_can() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 2")
        .await;
    // A writer that is busy all the time leaves no other connection a gap.
    world.model().set_delay(NEVER);
    let empty = fill(&world);
    world.model().set_delay(READABLE);
    tab.wait_text("Toolgate cannot save the answer at the moment")
        .await;
    world.model().set_delay(Duration::ZERO);
    empty();
    tab.wait_end().await;
    tab.wait_text("was not written by an AI").await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_its_key_is_named_and_the_question_can_be_tried_again() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.model().queue(Reply::error(
        401,
        "invalid_request_error",
        "Incorrect API key.",
    ));
    tab.ask(SALES).await;
    tab.wait_text("Incorrect API key.").await;
    tab.wait_text("HTTP 401").await;
    tab.keep_picture("refused-key").await;
    same_after_reload(&tab).await;
    tab.write("A draft").await;
    tab.click("button", "Try again").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    let turns = "document.querySelectorAll('.turn').length";
    assert_eq!(tab.eval(turns).await, 1);
    let draft = tab.find("textbox", "Message").await.value().await;
    assert_eq!(draft, "A draft", "what is typed meanwhile stays");
    let versions = tab.find("group", VERSIONS).await.text().await;
    assert!(versions.contains("2 of 2"), "{versions}");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_busy_is_asked_again_and_the_page_says_so() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.model().queue(Reply::rate_limited(4));
    tab.ask(SALES).await;
    tab.wait_text("Trying again in ").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    tab.wait_no_text("Trying again").await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_taken_back_and_given_again() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let cut = Reply::text("These words break off here").with_fault(Fault::CutAfter(4));
    world.model().queue(cut);
    tab.ask(SALES).await;
    tab.find("table", "").await;
    tab.wait_end().await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_sent_twice_in_a_hurry_counts_once() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.write(SALES).await;
    for _ in 0..3 {
        tab.press(Key::Enter).await;
    }
    tab.find("button", "Stop").await;
    world.model().set_delay(Duration::ZERO);
    tab.find("table", "").await;
    tab.wait_end().await;
    assert_eq!(
        tab.eval("document.querySelectorAll('.turn').length").await,
        1
    );
    assert_eq!(tab.find("textbox", "Message").await.value().await, "");
    ana.leave().await;
    world.finish().await;
}
