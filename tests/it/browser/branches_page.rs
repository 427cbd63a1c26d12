//! A question asked again, and its versions.

use std::time::Duration;

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Key, Tab, Visitor},
};

use super::{NEVER, READABLE, STORY, last_turn, same_after_reload};

/// The name of what leads from one version of a question to another.
pub(super) const VERSIONS: &str = "Versions of this question";
const EDIT: &str = "Edit your question";

/// Asks, and has the model answer so.
async fn ask(world: &World, tab: &Tab, question: &str, reply: &str) {
    world.model().queue(Reply::text(reply));
    tab.ask(question).await;
    tab.wait_text(reply).await;
    tab.wait_end().await;
}

/// The questions that the page shows.
async fn questions(tab: &Tab) -> Vec<String> {
    let asked = "[...document.querySelectorAll('.message')].map((each) => each.textContent)";
    serde_json::from_value(tab.eval(asked).await).unwrap()
}

#[tokio::test]
async fn an_answer_is_given_again_and_the_old_one_stays() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    ask(&world, &tab, "One", "The first answer.").await;
    ask(&world, &tab, "Two", "The second answer.").await;
    tab.wait_gone("group", VERSIONS).await;
    let old = last_turn(&tab).await;

    world.model().queue(Reply::text("Another second answer."));
    let buttons = tab.find_many("button", "Regenerate", 2, "one each").await;
    buttons[1].click().await;
    tab.wait_text("Another second answer.").await;
    tab.wait_end().await;
    assert_eq!(questions(&tab).await, ["One", "Two"]);
    let versions = tab.find("group", VERSIONS).await;
    assert!(versions.text().await.contains("2 of 2"));
    assert!(!tab.text().await.contains("The second answer."));
    assert!(tab.is_focused("textbox", "Message").await);
    same_after_reload(&tab).await;
    tab.keep_picture("versions").await;
    tab.assert_accessible("two versions").await;

    // The old one is a link away, and can be gone on with.
    tab.click("link", "Previous version").await;
    tab.wait_text("The second answer.").await;
    let shown = tab.find("group", VERSIONS).await.text().await;
    assert!(shown.contains("1 of 2"), "{shown}");
    assert_eq!(tab.eval("location.search").await, format!("?turn={old}"));
    ask(&world, &tab, "Three", "The third answer.").await;
    assert_eq!(questions(&tab).await, ["One", "Two", "Three"]);
    assert!(!tab.text().await.contains("Another second answer."));
    same_after_reload(&tab).await;
    let request = world.model().requests().pop().unwrap();
    let said: Vec<_> = request
        .messages()
        .iter()
        .filter(|message| message["role"] == "assistant")
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["The first answer.", "The second answer."]);

    tab.click("link", "Next version").await;
    tab.wait_text("Another second answer.").await;
    assert!(!tab.text().await.contains("The third answer."));
    // Without scripts the versions can be read as well.
    tab.forbid_scripts().await;
    tab.reload().await;
    tab.click("link", "Previous version").await;
    tab.wait_text("The third answer.").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_turn_in_another_branch_does_not_land_here() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    ask(&world, &tab, "One", "The first answer.").await;
    let old = last_turn(&tab).await;
    let path = tab.path().await;
    world.model().queue(Reply::text("Another first answer."));
    tab.click("button", "Regenerate").await;
    tab.wait_text("Another first answer.").await;
    tab.wait_end().await;

    let other = ana.open(&format!("{path}?turn={old}")).await;
    other.wait_text("The first answer.").await;
    world.model().set_delay(READABLE);
    tab.ask(STORY).await;
    tab.wait_text("Writing…").await;
    // The list says that something runs; the branch that is shown there stays as it is.
    other
        .wait_true("document.querySelector('#conversations .mark.running') !== null")
        .await;
    tab.wait_true("document.querySelectorAll('.blocks > *').length > 4")
        .await;
    world.model().set_delay(NEVER);
    assert_eq!(questions(&other).await, ["One"]);
    other.find("button", "Stop").await;
    world.model().set_delay(Duration::ZERO);
    tab.wait_end().await;
    other.wait_end().await;
    assert_eq!(questions(&other).await, ["One"]);
    same_after_reload(&other).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn only_a_turn_of_the_conversation_opens_a_branch_of_it() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let [one, two] = [ana.ask("Hello").await, ana.ask("Good evening").await];
    for posted in [&one, &two] {
        ana.wait_end(&posted.turn).await;
    }
    let page = |turn: &str, part: &str| format!("/c/{}?{part}={turn}", one.conversation);
    for part in ["turn", "before"] {
        ana.get(&page(one.turn.as_str(), part)).await.expect(200);
        ana.get(&page(two.turn.as_str(), part)).await.expect(404);
        ana.get(&page("nonsense", part)).await.expect(404);
        ben.get(&page(one.turn.as_str(), part)).await.expect(404);
        let fragment = page(one.turn.as_str(), part) + "&part";
        ben.get(&fragment).await.expect(404);
        let html = ana.get(&fragment).await.expect(200);
        assert!(!html.body.contains("<body"), "only the turns");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_question_is_edited_in_its_place() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    ask(&world, &tab, "One", "The first answer.").await;
    ask(&world, &tab, "Two", "The second answer.").await;

    let edit = tab.find_many("button", "Edit", 2, "one each").await;
    edit[0].click().await;
    tab.wait_value("textbox", EDIT, "One").await;
    tab.insert(" and a half").await;
    tab.keep_picture("edit").await;
    tab.assert_accessible("a question being edited").await;
    // Escape gives up, and what was typed is there the next time.
    tab.press(Key::Escape).await;
    tab.wait_gone("textbox", EDIT).await;
    assert_eq!(questions(&tab).await, ["One", "Two"]);
    assert!(tab.is_focused("button", "Edit").await);
    tab.reload().await;
    tab.find_many("button", "Edit", 2, "one each").await[0]
        .click()
        .await;
    tab.wait_value("textbox", EDIT, "One and a half").await;
    tab.click("button", "Cancel").await;
    tab.find_many("button", "Edit", 2, "one each").await[0]
        .click()
        .await;
    tab.wait_value("textbox", EDIT, "One").await;

    tab.insert(", edited").await;
    world.model().queue(Reply::text("The edited answer."));
    tab.click("button", "Save and ask").await;
    tab.wait_text("The edited answer.").await;
    tab.wait_end().await;
    assert_eq!(questions(&tab).await, ["One, edited"]);
    tab.find("group", VERSIONS).await;
    same_after_reload(&tab).await;
    tab.click("link", "Previous version").await;
    tab.wait_text("The second answer.").await;
    assert_eq!(questions(&tab).await, ["One", "Two"]);

    // From an old version too; then the newest is shown.
    world.model().queue(Reply::text("A third way."));
    tab.find_many("button", "Regenerate", 2, "one each").await[0]
        .click()
        .await;
    tab.wait_text("A third way.").await;
    tab.wait_end().await;
    assert_eq!(tab.eval("location.search").await, "");
    let versions = tab.find("group", VERSIONS).await.text().await;
    assert!(versions.contains("3 of 3"), "{versions}");
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn while_a_turn_runs_nothing_is_asked_again() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    ask(&world, &tab, "One", "The first answer.").await;
    tab.ask(STORY).await;
    tab.wait_text("Writing…").await;
    world.model().set_delay(NEVER);
    assert!(!tab.find("button", "Regenerate").await.is_enabled().await);
    for edit in tab.find_many("button", "Edit", 2, "one each").await {
        assert!(!edit.is_enabled().await);
    }
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    for again in tab.find_many("button", "Regenerate", 2, "one each").await {
        assert!(again.is_enabled().await);
    }
    ana.leave().await;
    world.finish().await;
}
