//! A question, and what the page shows of its answer.

use std::time::Duration;

use demo::pomerium::DemoUser;
use harness::{World, browser::Visitor};

use super::{BRISK, CARD, READABLE, SALES, SCROLLER, STORY, same_after_reload, scroll_up};

#[tokio::test]
async fn the_sales_question_from_sign_in_to_the_table() {
    let world = World::start().await;
    let ana = Visitor::arrive(&world).await;
    let tab = ana.open("/").await;
    tab.sign_in(DemoUser::Ana).await;
    tab.wait_text("What do you want to know?").await;
    tab.wait_text("Scripted demo model").await;
    tab.wait_text("None yet.").await;
    tab.ask(SALES).await;

    let card = tab.find(CARD, "Read query").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    let card = tab.find(CARD, "Read query").await.text().await + &card.text().await;
    assert!(
        card.contains("on Database") && card.contains("Done"),
        "{card}"
    );
    let rows = tab.find("table", "").await.text().await;
    assert!(rows.contains("Year") && rows.contains("2023"), "{rows}");
    assert_eq!(tab.find("textbox", "Message").await.value().await, "");
    assert!(!tab.find("button", "Send").await.is_enabled().await);

    // The conversation has its place, its title and its line in the list, without a reload.
    assert!(tab.path().await.starts_with("/c/"));
    tab.find("heading", SALES).await;
    tab.find("link", SALES).await;
    assert_eq!(
        tab.eval("document.title").await,
        "What were our sales by year? · Toolgate"
    );
    tab.wait_text("Database").await;
    same_after_reload(&tab).await;

    // And the next one is another.
    tab.click("link", "New chat").await;
    tab.find("heading", "New chat").await;
    tab.wait_text("What do you want to know?").await;
    tab.wait_gone("table", "").await;
    tab.ask("Compare customers, products and suppliers").await;
    tab.wait_end().await;
    tab.find_many(CARD, "Read query", 3, "three cards").await;
    tab.find("link", "Compare customers, products and suppliers")
        .await;
    tab.click("link", SALES).await;
    tab.find("table", "").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_details_of_a_call_open_and_stay_open() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world.model().set_delay(READABLE);
    tab.ask(SALES).await;
    let details = "document.querySelector('.call details')";
    tab.find(CARD, "Read query").await;
    tab.eval(&format!("{details}.querySelector('summary').click()"))
        .await;
    world.model().set_delay(Duration::ZERO);
    tab.wait_end().await;
    assert_eq!(tab.eval(&format!("{details}.open")).await, true);
    tab.wait_text("What the model was shown").await;
    let shown = tab.find(CARD, "Read query").await.text().await;
    assert!(shown.contains("SELECT"), "{shown}");
    tab.keep_picture("call").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_long_answer_comes_in_blocks_and_stays_at_its_end() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    tab.wait_text("Writing…").await;
    // What is closed is never touched again.
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 3")
        .await;
    tab.eval("document.querySelector('.blocks > *').harnessSawThis = true")
        .await;
    world.model().set_delay(BRISK);
    tab.wait_end().await;
    let same = "document.querySelector('.blocks > *').harnessSawThis === true";
    assert_eq!(tab.eval(same).await, true);
    let end = "(() => { const s = document.getElementById('scroller');
               return s.scrollHeight - s.scrollTop - s.clientHeight < 4; })()";
    assert_eq!(tab.eval(end).await, true);
    same_after_reload(&tab).await;
    tab.keep_picture("story").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn somebody_who_scrolled_up_is_left_there() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    scroll_up(&tab).await;
    world.model().set_delay(BRISK);
    tab.wait_end().await;
    assert_eq!(tab.eval(&format!("{SCROLLER}.scrollTop")).await, 0);
    tab.click("button", "Scroll down to the answer").await;
    tab.wait_gone("button", "Scroll down to the answer").await;
    ana.leave().await;
    world.finish().await;
}
