//! The keys of the list of shortcuts, and that they leave alone who types.

use std::{collections::BTreeSet, fs, path::Path};

use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};

use super::{RAISE, SALES};

/// Puts the focus on nothing.
async fn let_go(tab: &Tab) {
    tab.eval("document.activeElement.blur()").await;
}

#[tokio::test]
async fn the_list_opens_on_its_key_and_gives_the_focus_back() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.press_char('?').await;
    tab.find("dialog", "Keyboard shortcuts").await;
    assert!(tab.is_focused("button", "Close").await);
    tab.keep_picture("shortcuts").await;
    // It does not leave the list.
    for _ in 0..4 {
        tab.press(Key::Tab).await;
        let outside = "document.activeElement !== document.body
          && !document.getElementById('shortcuts').contains(document.activeElement)";
        assert_eq!(tab.eval(outside).await, false);
    }
    tab.press(Key::Escape).await;
    tab.wait_gone("dialog", "Keyboard shortcuts").await;
    tab.tab_to("button", "Keyboard shortcuts").await;
    tab.press(Key::Enter).await;
    tab.find("dialog", "Keyboard shortcuts").await;
    tab.press(Key::Escape).await;
    tab.wait_gone("dialog", "Keyboard shortcuts").await;
    assert!(tab.is_focused("button", "Keyboard shortcuts").await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn keys_by_themselves_do_nothing_while_somebody_types_or_when_switched_off() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    tab.click("textbox", "Message").await;
    for key in ['a', 'd', '?', '/', 'n'] {
        tab.press_char(key).await;
    }
    let typed = tab.find("textbox", "Message").await.value().await;
    assert_eq!(typed, "ad?/n");
    tab.find("button", "Approve").await;

    tab.click("button", "Keyboard shortcuts").await;
    // Nor in the list itself.
    tab.press_char('a').await;
    let switch = "Shortcuts that are a single key, while nothing is being typed";
    tab.click("checkbox", switch).await;
    tab.click("button", "Close").await;
    let_go(&tab).await;
    for key in ['a', 'd', '?'] {
        tab.press_char(key).await;
    }
    tab.wait_gone("dialog", "Keyboard shortcuts").await;
    tab.find("button", "Approve").await;
    assert_eq!(world.journal().with("UPDATE").len(), 0);

    // It is remembered; with Control they work all the same.
    tab.reload().await;
    tab.press_char('?').await;
    tab.wait_gone("dialog", "Keyboard shortcuts").await;
    tab.press_control('k').await;
    assert!(tab.is_focused("searchbox", "Search conversations").await);
    tab.click("button", "Keyboard shortcuts").await;
    tab.click("checkbox", switch).await;
    tab.click("button", "Close").await;
    let_go(&tab).await;
    // From outside of the card a key only leads to the answer.
    tab.press_char('d').await;
    assert!(tab.is_focused("button", "Deny").await);
    tab.find("button", "Approve").await;
    tab.press_char('d').await;
    tab.wait_text("Denied by you").await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_drawer_takes_the_focus_keeps_it_and_gives_it_back() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.go("/").await;
    let menu = "Conversations and servers";
    tab.tab_to("button", menu).await;
    tab.press(Key::Enter).await;
    tab.find("link", "Sign out").await;
    let inside = "document.getElementById('drawer').contains(document.activeElement)
      || document.activeElement === document.body";
    assert_eq!(tab.eval("document.activeElement.id").await, "new-chat");
    for _ in 0..25 {
        tab.press(Key::Tab).await;
        assert_eq!(tab.eval(inside).await, true);
    }
    tab.press(Key::Escape).await;
    tab.wait_gone("link", "Sign out").await;
    assert!(tab.is_focused("button", menu).await);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn everything_on_the_list_works() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    let_go(&tab).await;
    tab.press_char('a').await;
    assert!(tab.is_focused("button", "Approve").await);
    assert_eq!(world.journal().with("UPDATE").len(), 0);
    tab.press_char('a').await;
    tab.wait_end().await;
    assert_eq!(world.journal().with("UPDATE").len(), 1);

    // From question to question.
    let at =
        |n: usize| format!("document.activeElement === document.querySelectorAll('.turn')[{n}]");
    tab.eval("document.getElementById('scroller').scrollTop = 0")
        .await;
    let_go(&tab).await;
    tab.press_char('j').await;
    tab.wait_true(&at(1)).await;
    tab.press_char('k').await;
    tab.wait_true(&at(0)).await;

    tab.press_char('m').await;
    assert!(tab.is_focused("textbox", "Message").await);
    let_go(&tab).await;
    tab.press_char('/').await;
    assert!(tab.is_focused("searchbox", "Search conversations").await);
    let_go(&tab).await;

    let first = tab.path().await;
    tab.press_char('n').await;
    tab.wait_text("What do you want to know?").await;
    tab.ask("Hello").await;
    tab.wait_end().await;
    let second = tab.path().await;
    let_go(&tab).await;
    tab.press_char(']').await;
    tab.wait_true(&format!("location.pathname === '{first}'"))
        .await;
    tab.find_many("table", "", 1, "a table").await;
    tab.press_char('[').await;
    tab.wait_true(&format!("location.pathname === '{second}'"))
        .await;
    ana.leave().await;
    world.finish().await;
}

/// The keys that a script compares with, as the list writes them.
fn keys_of(script: &str) -> BTreeSet<String> {
    let compared = script.split("key").skip(1).filter_map(|rest| {
        let rest = rest
            .strip_prefix(" === '")
            .or(rest.strip_prefix(" !== '"))?;
        rest.split('\'').next()
    });
    let singles = script
        .split_once("const SINGLE = {\n")
        .map_or("", |it| it.1);
    let singles = singles.split_once("\n}").map_or("", |it| it.0);
    let singles = singles
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let all = compared.chain(singles.map(|(key, _)| key.trim_matches('\'')));
    all.map(|key| match key {
        "Escape" => "esc".to_owned(),
        key => key.to_lowercase(),
    })
    .collect()
}

#[test]
fn every_key_of_the_chat_is_on_the_list_and_no_other() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut handled = BTreeSet::from(["ctrl", "shift", "⌘"].map(str::to_owned));
    for file in fs::read_dir(web.join("static")).unwrap() {
        let path = file.unwrap().path();
        // The traffic's pages have a list of their own, in which the arrows lead up and down.
        let is_chat =
            path.extension().is_some_and(|it| it == "js") && !path.ends_with("traffic.js");
        if is_chat {
            handled.extend(keys_of(&fs::read_to_string(path).unwrap()));
        }
    }
    let list = fs::read_to_string(web.join("templates/shortcuts.html")).unwrap();
    let listed = list.split("<kbd>").skip(1);
    let listed = listed.filter_map(|rest| rest.split_once("</kbd>"));
    let listed: BTreeSet<_> = listed.map(|(key, _)| key.to_lowercase()).collect();
    assert_eq!(listed, handled);
}
