//! Messages that wait in another branch than the one that is being answered, behind a message that is
//! still on its way, and for a page that was not told of the answer.

use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Key, Offline, Tab, Visitor},
};

use super::{last_turn, wait_messages};

/// Why messages wait.
const WAITS: &str = "Waiting until the answer is complete";
/// What a page says of a turn in another branch.
const ELSEWHERE: &str = "An answer is being given elsewhere in this conversation.";
/// Holds the first message that is posted until `release()` is called.
const SLOW: &str = "const real = window.fetch;
  const released = new Promise((done) => { window.release = done; });
  let first = true;
  window.fetch = async (path, options) => {
    if (path === '/api/messages' && first) {
      first = false;
      await released;
      if (window.refuse) throw new TypeError('no connection');
    }
    return real(path, options);
  };";

/// A tab that shows the newest of two branches, which is being answered, and one that shows the other.
async fn two_branches(world: &World, ana: &Visitor) -> (Tab, Tab) {
    let tab = ana.open("/").await;
    world.model().queue(Reply::text("The first answer."));
    tab.ask("One").await;
    tab.wait_text("The first answer.").await;
    tab.wait_end().await;
    let old = last_turn(&tab).await;
    world.model().queue(Reply::text("Another first answer."));
    tab.click("button", "Regenerate").await;
    tab.wait_text("Another first answer.").await;
    tab.wait_end().await;
    let other = ana.open(&format!("{}?turn={old}", tab.path().await)).await;
    other.wait_text("The first answer.").await;
    other.wait_no_text(ELSEWHERE).await;
    world.model().queue(Reply::hang());
    tab.ask("Think about it").await;
    tab.find("button", "Stop").await;
    (tab, other)
}

#[tokio::test]
async fn a_message_waits_for_an_answer_in_another_branch() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, other) = two_branches(&world, &ana).await;
    other.wait_text(ELSEWHERE).await;
    other.send("And here?").await;
    other.wait_text(WAITS).await;
    other.keep_picture("queue-other-branch").await;
    other
        .assert_accessible("a message that waits for another branch")
        .await;
    // It is not sent to the branch of the other tab, which only says that there is one.
    tab.wait_text("1 message waits in another branch of this conversation.")
        .await;
    // Escape means what is shown.
    other.press(Key::Escape).await;
    other.reload().await;
    other.wait_text(ELSEWHERE).await;
    other.wait_text(WAITS).await;

    world.model().queue(Reply::text("Here as well."));
    other.click("button", "Stop").await;
    wait_messages(&other, &["One", "And here?"]).await;
    other.wait_text("Here as well.").await;
    other.wait_no_text(ELSEWHERE).await;
    other.wait_gone("region", "Waiting to be sent").await;
    let request = world.model().requests().pop().unwrap();
    let said = serde_json::Value::from(request.messages()).to_string();
    assert!(said.contains("The first answer."), "{said}");
    assert!(!said.contains("Another first answer."), "{said}");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn from_another_branch_a_link_leads_to_the_answer_that_is_being_given() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, other) = two_branches(&world, &ana).await;
    other.wait_text(ELSEWHERE).await;
    other.click("link", "Go to it").await;
    wait_messages(&other, &["One", "Think about it"]).await;
    other.wait_no_text(ELSEWHERE).await;
    other.click("button", "Stop").await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_waits_behind_one_that_is_on_its_way() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_with(SLOW).await;
    tab.write("First").await;
    tab.press(Key::Enter).await;
    tab.wait_text("Being sent…").await;
    tab.insert("Second").await;
    tab.press(Key::Enter).await;
    let region = tab.find("region", "Waiting to be sent").await.text().await;
    assert!(region.find("First") < region.find("Second"), "{region}");
    tab.insert("a draft").await;
    tab.keep_picture("queue-on-its-way").await;
    assert_eq!(world.model().received(), 0);
    tab.eval("release()").await;
    wait_messages(&tab, &["First", "Second"]).await;
    tab.wait_end().await;
    tab.wait_gone("region", "Waiting to be sent").await;
    let typed = tab.find("textbox", "Message").await.value().await;
    assert_eq!(typed, "a draft");
    // Nothing of it is left for the next new chat.
    let fresh = ana.open("/").await;
    assert_eq!(fresh.find("textbox", "Message").await.value().await, "");
    fresh.wait_gone("region", "Waiting to be sent").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn behind_a_message_that_was_refused_nothing_is_sent() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_with(SLOW).await;
    tab.send("First").await;
    tab.wait_text("Being sent…").await;
    tab.insert("Second").await;
    tab.press(Key::Enter).await;
    tab.wait_text("Second").await;
    tab.allow("ERR_INTERNET_DISCONNECTED");
    tab.set_offline(Offline::Yes).await;
    tab.eval("window.refuse = true; release()").await;
    tab.wait_text("Toolgate could not be reached.").await;
    tab.wait_text("Not sent: the message before it was not")
        .await;
    let typed = tab.find("textbox", "Message").await.value().await;
    assert_eq!(typed, "First");
    tab.keep_picture("queue-refused").await;
    // It goes when it is over.
    tab.set_offline(Offline::No).await;
    tab.wait_no_text("Toolgate could not be reached.").await;
    assert_eq!(world.model().received(), 0);
    tab.click("button", "Send").await;
    wait_messages(&tab, &["First"]).await;
    tab.wait_end().await;
    tab.click("button", "Ask now").await;
    wait_messages(&tab, &["First", "Second"]).await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}
