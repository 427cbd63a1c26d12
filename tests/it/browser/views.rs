//! On a phone, in the dark, without scripts, with servers that are down and with a lot to show.

use std::future::ready;

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};

use serde_json::json;

use crate::fake::{Fake, tool};

use super::{CARD, RAISE, SALES, STORY, same_after_reload};

/// Letters of the large result: 5 MiB.
const LARGE: usize = 5 * 1024 * 1024;

/// Fails if something is wider than the window.
async fn assert_fits(tab: &Tab) {
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth
                || document.getElementById('scroller').scrollWidth
                   > document.getElementById('scroller').clientWidth";
    assert_eq!(tab.eval(wide).await, false, "it scrolls sideways");
}

#[tokio::test]
async fn on_a_phone() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.go("/").await;
    assert_fits(&tab).await;
    tab.keep_picture("phone-new").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    assert_fits(&tab).await;
    tab.keep_picture("phone-table").await;
    tab.ask(&"word".repeat(100)).await;
    tab.wait_end().await;
    assert_fits(&tab).await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    assert_fits(&tab).await;
    tab.keep_picture("phone-approval").await;
    tab.click("button", "Deny").await;
    tab.wait_end().await;
    tab.ask(STORY).await;
    tab.wait_end().await;
    assert_fits(&tab).await;
    tab.keep_picture("phone-story").await;

    // The list is a drawer.
    let menu = "Conversations and servers";
    assert_eq!(
        tab.find("button", menu)
            .await
            .attribute("aria-expanded")
            .await,
        "false"
    );
    tab.wait_gone("link", "Sign out").await;
    tab.click("button", menu).await;
    tab.find("link", "Sign out").await;
    tab.keep_picture("phone-drawer").await;
    tab.press(Key::Escape).await;
    tab.wait_gone("link", "Sign out").await;
    assert!(tab.is_focused("button", menu).await);
    tab.click("button", menu).await;
    tab.click("link", SALES).await;
    // One may be so far away that the browser leaves it out of what it tells.
    tab.wait_true("document.querySelectorAll('.blocks table').length === 2")
        .await;
    tab.look(View::Phone, Scheme::Dark).await;
    tab.keep_picture("phone-dark").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn in_light_and_in_the_dark() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let background = "getComputedStyle(document.body).backgroundColor";
    tab.look(View::Desk, Scheme::Light).await;
    tab.keep_picture("new-light").await;
    let light = tab.eval(background).await;
    tab.look(View::Desk, Scheme::Dark).await;
    tab.keep_picture("new-dark").await;
    assert_ne!(light, tab.eval(background).await);
    tab.ask(SALES).await;
    tab.wait_end().await;
    tab.keep_picture("table-dark").await;
    tab.ask(RAISE).await;
    tab.find("button", "Approve").await;
    tab.keep_picture("approval-dark").await;
    tab.look(View::Desk, Scheme::Light).await;
    tab.keep_picture("approval-light").await;
    tab.click("button", "Approve").await;
    tab.wait_end().await;
    tab.ask("Run a broken query").await;
    tab.wait_end().await;
    tab.keep_picture("failed-light").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn without_scripts_it_can_be_read() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let with = tab.find("table", "").await.text().await;
    tab.forbid_scripts().await;
    tab.reload().await;
    tab.wait_text("Reading works without JavaScript").await;
    assert!(!tab.text().await.contains("What do you want to know?"));
    assert_eq!(tab.find("table", "").await.text().await, with);
    tab.find(CARD, "Read query").await;
    assert!(!tab.find("button", "Send").await.is_enabled().await);
    tab.keep_picture("no-script").await;
    tab.click("link", "New chat").await;
    tab.wait_text("What do you want to know?").await;
    tab.click("link", SALES).await;
    tab.find("table", "").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn with_a_server_that_is_down() {
    let world = World::build()
        .server("Legacy", "http://127.0.0.1:9/mcp")
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(SALES).await;
    tab.find("table", "").await;
    tab.wait_end().await;
    tab.wait_text("Legacy is not available; its tools are left out.")
        .await;
    let servers = tab.find("region", "Servers").await.text().await;
    assert!(
        servers.contains("Database") && servers.contains("5 tools"),
        "{servers}"
    );
    assert!(servers.contains("Legacy"), "{servers}");
    tab.keep_picture("server-down").await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_list_has_room_beside_many_servers() {
    let fake = Fake::start(|seen| ready(seen.plain(&[tool("one"), tool("two")]))).await;
    let mut world = World::build();
    for name in [
        "First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh",
    ] {
        world = world.server(name, fake.url());
    }
    let world = world.start().await;
    let here = world.ana();
    for n in 0..12 {
        world.model().queue(Reply::text("Yes."));
        here.ask_to_end(&format!("Question {n}")).await;
    }
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("Seventh").await;
    let seen = "(() => {
      const list = document.getElementById('list').getBoundingClientRect();
      const rows = [...document.querySelectorAll('#conversations li')];
      return rows.filter((row) => row.getBoundingClientRect().bottom <= list.bottom).length;
    })()";
    let rows = tab.eval(seen).await.as_u64().unwrap();
    assert!(rows >= 4, "{rows} on a desk");
    tab.keep_picture("drawer-servers").await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.click("button", "Conversations and servers").await;
    tab.keep_screen("drawer-servers-phone").await;
    let rows = tab.eval(seen).await.as_u64().unwrap();
    assert!(rows >= 6, "{rows} on a phone");
    // The whole drawer scrolls, to its end.
    tab.eval("document.getElementById('drawer').scrollTo(0, 1e6)")
        .await;
    let end = "document.querySelector('.who').getBoundingClientRect().bottom <= innerHeight";
    tab.wait_true(end).await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn with_a_result_of_5_mb() {
    let large = Fake::start(|seen| {
        ready(match seen.method() {
            "tools/call" => seen.says(&"letters ".repeat(LARGE / 8)),
            _ => seen.plain(&[tool("dump")]),
        })
    })
    .await;
    let world = World::build().server("Large", large.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world
        .model()
        .queue(Reply::calls([Call::new("Large__dump", &json!({}))]));
    world.model().queue(Reply::text("That was a lot."));
    tab.ask("Dump it").await;
    tab.wait_text("That was a lot.").await;
    tab.wait_end().await;
    let card = tab.find(CARD, "dump").await;
    assert!(card.text().await.contains("Done"));
    tab.eval("document.querySelector('.call summary').click()")
        .await;
    tab.wait_text("The text was cut from 5242880 to").await;
    let size = tab.eval("document.documentElement.outerHTML.length").await;
    assert!(size.as_u64().unwrap() < 100_000, "{size}");
    let link = tab.find("link", "Download the whole result").await;
    let url = link.attribute("href").await;
    let whole = format!("fetch({url:?}).then((r) => r.text()).then((text) => text.length)");
    let whole = tab.eval(&whole).await;
    assert!(whole.as_u64().unwrap() >= LARGE as u64, "{whole}");
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
    large.end().await;
}
