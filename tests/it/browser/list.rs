//! The list of conversations: searched, renamed, deleted, taken back, paged through.

use chat::ids::ConversationId;
use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::SALES;
use crate::look::found;

/// The titles in the list, in its order.
async fn titles(tab: &Tab) -> Vec<String> {
    let titles = tab
        .eval("[...document.querySelectorAll('#conversations .title')].filter((t) => t.offsetParent).map((t) => t.textContent)")
        .await;
    serde_json::from_value(titles).unwrap()
}

/// Waits until the list is this.
async fn wait_titles(tab: &Tab, wanted: &[&str]) {
    let is = format!(
        "JSON.stringify([...document.querySelectorAll('#conversations .title')].filter((t) => t.offsetParent).map((t) => t.textContent)) === {}",
        json!(json!(wanted).to_string())
    );
    tab.wait_true(&is).await;
}

/// Presses the button of this name in the row of a conversation.
async fn press(tab: &Tab, name: &str, title: &str) {
    let titles = titles(tab).await;
    let row = titles.iter().position(|it| it == title).unwrap();
    let buttons = tab.find_many("button", name, titles.len(), "one each");
    buttons.await[row].click().await;
}

/// Puts the focus on a conversation's link, which the list may just be making anew.
async fn focus(tab: &Tab, title: &str) {
    found(async || {
        tab.find("link", title).await.focus().await;
        let there = tab.eval("document.activeElement?.textContent").await;
        (there == title).then_some(()).ok_or(there)
    })
    .await;
}

/// Conversations of Ana's with these first messages.
async fn begin(world: &World, messages: &[&str]) -> Vec<ConversationId> {
    let ana = world.ana();
    let mut conversations = Vec::new();
    for message in messages {
        let posted = ana.ask_to_end(message).await;
        conversations.push(posted.conversation);
    }
    conversations
}

#[tokio::test]
async fn the_buttons_of_a_row_can_be_pressed_without_pointing_at_it_before() {
    const MET: &str =
        "[...document.querySelectorAll('#conversations li > button')].map((button) => {
      const { x, y, width, height } = button.getBoundingClientRect();
      return button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    })";
    let world = World::start().await;
    let long = "A title that is longer than the list is wide, by far";
    begin(&world, &[long, "Short"]).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    wait_titles(&tab, &["Short", long]).await;
    assert_eq!(tab.eval(MET).await, serde_json::json!(vec![true; 4]));
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn searched_with_a_script_and_without() {
    let world = World::start().await;
    begin(&world, &["Straße 100 %", "Ships", "STRASSE_100"]).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    wait_titles(&tab, &["STRASSE_100", "Ships", "Straße 100 %"]).await;
    tab.click("searchbox", "Search conversations").await;
    tab.insert("strasse").await;
    wait_titles(&tab, &["STRASSE_100", "Straße 100 %"]).await;
    tab.keep_picture("list-search").await;
    // Signs of patterns are letters like others.
    tab.insert("_").await;
    wait_titles(&tab, &["STRASSE_100"]).await;
    assert!(tab.is_focused("searchbox", "Search conversations").await);
    tab.insert("<i>").await;
    tab.wait_text("No title has “strasse_<i>” in it.").await;
    // What is searched for outlives the page.
    tab.reload().await;
    tab.wait_text("No title has “strasse_<i>” in it.").await;
    tab.click("searchbox", "Search conversations").await;
    tab.press(Key::Escape).await;
    wait_titles(&tab, &["STRASSE_100", "Ships", "Straße 100 %"]).await;

    // The list goes on following what happens, and so does the conversation that is not in it.
    tab.insert("ships").await;
    wait_titles(&tab, &["Ships"]).await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.find("table", "").await;
    assert_eq!(titles(&tab).await, ["Ships"]);

    tab.forbid_scripts().await;
    tab.go("/?search=STRASSE").await;
    assert_eq!(titles(&tab).await, ["STRASSE_100", "Straße 100 %"]);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn renamed_where_it_stands_and_in_every_tab() {
    let world = World::start().await;
    begin(&world, &["Ships", "Sales"]).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, other) = (ana.open("/").await, ana.open("/").await);
    focus(&tab, "Ships").await;
    tab.press(Key::F2).await;
    tab.find("textbox", "Title").await;
    assert!(tab.is_focused("textbox", "Title").await);
    tab.insert("<b>Boats</b>").await;
    tab.keep_picture("list-rename").await;
    tab.press(Key::Enter).await;
    other.find("link", "<b>Boats</b>").await;
    tab.find("link", "<b>Boats</b>").await;
    assert!(tab.is_focused("link", "<b>Boats</b>").await);

    // Given up, and nothing is nothing.
    tab.press(Key::F2).await;
    tab.insert("Nothing").await;
    tab.press(Key::Escape).await;
    tab.find("link", "<b>Boats</b>").await;
    tab.wait_gone("textbox", "Title").await;

    // What is being typed outlives a list that is rendered anew.
    tab.press(Key::F2).await;
    tab.insert("Yachts").await;
    world.ana().ask("Something new").await;
    tab.find("link", "Something new").await;
    assert!(tab.is_focused("textbox", "Title").await);
    assert_eq!(tab.find("textbox", "Title").await.value().await, "Yachts");
    tab.press(Key::Enter).await;
    other.find("link", "Yachts").await;

    // With the mouse; the heading of the open conversation follows.
    tab.click("link", "Yachts").await;
    tab.find("heading", "Yachts").await;
    focus(&tab, "Yachts").await;
    press(&tab, "Rename", "Yachts").await;
    tab.insert("Ships").await;
    tab.press(Key::Enter).await;
    tab.find("heading", "Ships").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn deleted_and_taken_back() {
    let world = World::start().await;
    let begun = begin(&world, &["Ships", "Sales", "Tables"]).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let (tab, other) = (ana.open("/").await, ana.open("/").await);
    focus(&tab, "Sales").await;
    press(&tab, "Delete", "Sales").await;
    tab.wait_text("Deleted “Sales”.").await;
    tab.keep_picture("list-deleted").await;
    wait_titles(&tab, &["Tables", "Ships"]).await;
    wait_titles(&other, &["Tables", "Ships"]).await;
    tab.click("button", "Undo").await;
    wait_titles(&tab, &["Tables", "Sales", "Ships"]).await;
    wait_titles(&other, &["Tables", "Sales", "Ships"]).await;
    tab.wait_gone("button", "Undo").await;

    // Without a mouse the way back is where the focus is.
    focus(&tab, "Ships").await;
    tab.press(Key::Delete).await;
    tab.find("button", "Undo").await;
    assert!(tab.is_focused("button", "Undo").await);
    wait_titles(&tab, &["Tables", "Sales"]).await;
    tab.press(Key::Enter).await;
    wait_titles(&tab, &["Tables", "Sales", "Ships"]).await;
    tab.wait_true("document.activeElement.textContent === 'Ships'")
        .await;

    // The open one leads to a new chat, where it can be taken back; another tab is told.
    let path = format!("/c/{}", begun[2]);
    tab.go(&path).await;
    other.go(&path).await;
    focus(&tab, "Tables").await;
    press(&tab, "Delete", "Tables").await;
    tab.find("heading", "New chat").await;
    assert_eq!(tab.path().await, "/");
    other.wait_text("This conversation was deleted.").await;
    other.keep_picture("list-gone").await;
    other.write("To nobody").await;
    assert!(!other.find("button", "Send").await.is_enabled().await);
    other.press(Key::Enter).await;
    let typed = other.find("textbox", "Message").await.value().await;
    assert_eq!(typed, "To nobody");
    tab.wait_text("Deleted “Tables”.").await;
    tab.click("button", "Undo").await;
    wait_titles(&tab, &["Tables", "Sales", "Ships"]).await;
    other.wait_no_text("This conversation was deleted.").await;
    assert!(other.find("button", "Send").await.is_enabled().await);

    // By a key, the way back has the focus there as well.
    tab.go(&path).await;
    focus(&tab, "Tables").await;
    tab.press(Key::Delete).await;
    tab.find("heading", "New chat").await;
    tab.find("button", "Undo").await;
    assert!(tab.is_focused("button", "Undo").await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn older_ones_are_a_page_away() {
    let world = World::start().await;
    let ana = world.ana();
    // What does not answer ends at once, and begins a conversation all the same.
    for number in 0..102 {
        world.model().queue(demo::model::Reply::text("Yes."));
        ana.ask_to_end(&format!("Number {number}")).await;
    }
    let visitor = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = visitor.open("/").await;
    assert_eq!(titles(&tab).await.len(), 100);
    tab.click("link", "Older conversations").await;
    wait_titles(&tab, &["Number 1", "Number 0"]).await;
    tab.wait_gone("link", "Older conversations").await;
    tab.click("link", "Newest conversations").await;
    tab.find("link", "Number 101").await;
    visitor.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_does_not_exist_has_a_page() {
    let world = World::start().await;
    begin(&world, &["Ships", "Sales"]).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.allow("status of 404");
    for path in ["/nowhere", "/c/nothing", "/static/any/nothing.css"] {
        tab.go(path).await;
        tab.find("heading", "Not found").await;
        tab.wait_text("There is no such").await;
    }
    tab.look(View::Phone, Scheme::Dark).await;
    tab.keep_picture("not-found-phone-dark").await;
    tab.click("searchbox", "Search conversations").await;
    tab.insert("ships").await;
    tab.press(Key::Enter).await;
    tab.find("textbox", "Message").await;
    assert_eq!(tab.eval("location.search").await, "?search=ships");
    // For programs it is JSON.
    let answer = world.ana().get("/nowhere").await;
    assert_eq!(answer.status.as_u16(), 404);
    let problem: serde_json::Value = answer.json();
    assert_eq!(problem["code"], "not_found");
    ana.leave().await;
    world.finish().await;
}
