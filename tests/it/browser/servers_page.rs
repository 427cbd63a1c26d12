//! The servers beside the conversation: accounts connected and disconnected, what failed tried
//! again, what policy denies.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use demo::{
    notes::{Listing, Options},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};
use serde_json::json;
use tokio::time::sleep;

use super::{CARD, same_after_reload};
use crate::{
    fake::{Fake, bare, tool},
    notes,
};

const NOTES: &str = "What notes do I have?";
const CONNECT: &str = "Connect your account to Notes, in a new tab";
const LIST_CARD: &str = "List notes";
const MENU: &str = "Conversations and servers";
const WAITS: &str = "Waiting until your account is connected";
const NOT_CONNECTED: &str = "The account was not connected.";

/// Ana at the page, signed in as people do it: at every host of Pomerium's.
async fn ana(world: &World) -> (Visitor, Tab) {
    let visitor = Visitor::arrive(world).await;
    let tab = visitor.open("/").await;
    tab.sign_in(DemoUser::Ana).await;
    (visitor, tab)
}

/// Presses Connect on the card, and finds the tab that opens: with the consent page.
async fn connect(visitor: &Visitor, tab: &Tab) -> Tab {
    let card = tab.find(CARD, LIST_CARD).await;
    card.find("link", CONNECT).await.click().await;
    consent_page(visitor).await
}

/// The consent page, in the tab that Connect opens.
async fn consent_page(visitor: &Visitor) -> Tab {
    let consent = visitor.opened_tab().await;
    // The account's own service is somewhere else, and its page brings no icon.
    consent.allow("a request for somewhere else: http://127.0.0.1");
    consent.allow("favicon.ico");
    consent.find("button", "Allow").await;
    consent
}

/// What a tab sees when its user goes away and comes back. (The harness has every tab believe
/// that it is looked at all the time.)
async fn come_back(tab: &Tab) {
    tab.eval("dispatchEvent(new Event('blur'))").await;
    tab.eval("dispatchEvent(new Event('focus'))").await;
}

#[tokio::test]
async fn an_account_is_connected_in_a_tab_of_its_own() {
    let world = notes::build(Options::default()).start().await;
    let (ana, tab) = ana(&world).await;
    tab.ask(NOTES).await;
    tab.wait_text(WAITS).await;
    tab.wait_text("needs you").await;
    // Beside the conversation, too.
    tab.find_many("link", CONNECT, 2, "two links to connect")
        .await;
    tab.keep_picture("account-wanted").await;
    let consent = connect(&ana, &tab).await;
    consent.click("button", "Allow").await;
    ana.wait_closed(consent).await;
    tab.wait_end().await;
    tab.wait_text("Board meeting on Thursday").await;
    tab.wait_gone("link", CONNECT).await;
    tab.wait_text("ready · 3 tools").await;
    same_after_reload(&tab).await;

    tab.eval("[...document.querySelectorAll('#servers details')].at(-1).open = true")
        .await;
    tab.click("button", "Disconnect your account from Notes")
        .await;
    let dialog = tab.find("dialog", "Disconnect Notes?").await;
    tab.keep_picture("disconnect").await;
    dialog.find("button", "Cancel").await.click().await;
    tab.wait_gone("dialog", "Disconnect Notes?").await;
    tab.click("button", "Disconnect your account from Notes")
        .await;
    let dialog = tab.find("dialog", "Disconnect Notes?").await;
    dialog.find("button", "Disconnect").await.click().await;
    tab.wait_gone("dialog", "Disconnect Notes?").await;
    tab.wait_gone("button", "Disconnect your account from Notes")
        .await;
    assert!(
        !world
            .standin()
            .is_connected(DemoUser::Ana, "notes.localhost")
    );
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_dead_end_is_noticed_when_its_user_comes_back() {
    let world = notes::build(Options::default()).start().await;
    let (ana, tab) = ana(&world).await;
    tab.ask(NOTES).await;
    tab.wait_text(WAITS).await;
    let consent = connect(&ana, &tab).await;
    consent.click("button", "Deny").await;
    // Pomerium's own page, which leads nowhere.
    consent.wait_text("Authorization failed").await;
    consent.allow("status of 400");
    consent.close().await;
    tab.wait_no_text(NOT_CONNECTED).await;
    come_back(&tab).await;
    tab.wait_text(NOT_CONNECTED).await;
    // What keeps the page up to date does not take the words away.
    come_back(&tab).await;
    tab.wait_text(NOT_CONNECTED).await;
    tab.wait_text(WAITS).await;
    tab.keep_picture("account-not-connected").await;

    let consent = connect(&ana, &tab).await;
    consent.click("button", "Allow").await;
    ana.wait_closed(consent).await;
    tab.wait_end().await;
    tab.wait_no_text(NOT_CONNECTED).await;
    ana.leave().await;
    world.finish().await;
}

/// Presses what the selector finds with the middle button.
async fn middle_click(tab: &Tab, selector: &str) {
    let middle = format!(
        "(() => {{
          const box = document.querySelector('{selector}').getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"
    );
    let spot = tab.eval(&middle).await;
    for kind in ["mousePressed", "mouseReleased"] {
        let event = json!({
            "type": kind, "x": spot[0], "y": spot[1], "button": "middle", "clickCount": 1,
        });
        tab.cdp("Input.dispatchMouseEvent", event).await;
    }
}

#[tokio::test]
async fn a_consent_that_came_too_late_is_noticed() {
    let life = Duration::from_secs(1);
    let world = notes::build(Options::default())
        .options(|options| options.pomerium.consent_lifetime = life)
        .start()
        .await;
    let (ana, tab) = ana(&world).await;
    tab.ask(NOTES).await;
    tab.wait_text(WAITS).await;
    middle_click(&tab, ".call [data-do=\"connect\"]").await;
    let consent = consent_page(&ana).await;
    sleep(life).await;
    consent.click("button", "Allow").await;
    consent.wait_text("Authorization state expired").await;
    consent.allow("status of 400");
    consent.close().await;
    tab.wait_no_text(NOT_CONNECTED).await;
    come_back(&tab).await;
    tab.wait_text(NOT_CONNECTED).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_went_without_a_server_is_asked_again() {
    let closed = Options {
        listing: Listing::Closed,
        ..Options::default()
    };
    let world = notes::build(closed).start().await;
    let (ana, tab) = ana(&world).await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.find("button", &format!("{MENU} (something there needs you)"))
        .await;
    tab.ask(super::SALES).await;
    tab.wait_end().await;
    tab.wait_text("Notes wants you to connect your account")
        .await;
    // The list of servers is in the closed drawer.
    tab.keep_picture("left-out").await;
    tab.click("link", CONNECT).await;
    let consent = consent_page(&ana).await;
    consent.click("button", "Allow").await;
    ana.wait_closed(consent).await;
    tab.wait_text("Notes can be used now.").await;
    tab.wait_gone("link", CONNECT).await;
    tab.find("button", MENU).await;
    same_after_reload(&tab).await;
    tab.click("button", "Ask again").await;
    tab.find("group", "Versions of this question").await;
    tab.wait_end().await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_pomerium_says_stands_on_the_page_and_leaves_the_address() {
    let world = notes::build(Options::default()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana
        .open("/connected?server=Database&connect_error=MCP+connection+failed.+%3Cb%3E")
        .await;
    tab.find("heading", "Database can be used").await;
    tab.wait_text("MCP connection failed. <b>").await;
    tab.wait_true("location.search === '?server=Database'")
        .await;
    tab.wait_text("You can close this tab.").await;
    tab.keep_picture("connected-with-words").await;
    tab.click("link", "Back to the chat").await;
    tab.find("textbox", "Message").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_server_that_failed_is_tried_again() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let fake = Fake::start(move |seen| {
        ready(if is_up.load(Ordering::Relaxed) {
            seen.plain(&[tool("work")])
        } else {
            bare(503)
        })
    })
    .await;
    let world = World::build().server("Shaky", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("not available").await;
    let again = "Try again to reach Shaky";
    tab.find("button", again).await;
    up.store(true, Ordering::Relaxed);
    tab.click("button", again).await;
    tab.wait_text("ready · 1 tool").await;
    tab.wait_gone("button", again).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_card_gets_its_tools_title_when_the_server_is_known() {
    let mut world = World::build().start_with_process().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(super::SALES).await;
    tab.wait_end().await;
    let before = super::turns(&tab).await;
    // A Toolgate that knows nothing of any server yet.
    world.toolgate().kill().await;
    tab.allow("in the log: Failed to load resource");
    tab.allow("ERR_");
    world.toolgate().start().await;
    tab.reload().await;
    tab.find(CARD, "Read query").await;
    assert_eq!(super::turns(&tab).await, before);
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_policy_denies_is_called_denied() {
    let world = notes::build(Options::default())
        .rule("deny: {or: [{mcp_tool: {is: read_query}}]}")
        .options(|options| {
            let ben = "deny: {or: [{email: {is: ben@example.com}}]}";
            options.notes_rules.push(ben.to_owned());
        })
        .start()
        .await;
    let ben = Visitor::sign_in(&world, DemoUser::Ben).await;
    let tab = ben.open("/").await;
    tab.wait_text("denied by policy").await;
    tab.find("button", "Try again to reach Notes").await;
    tab.ask(super::SALES).await;
    tab.wait_end().await;
    tab.wait_text("Denied by policy").await;
    tab.eval("document.querySelector('#servers details').open = true")
        .await;
    let servers = tab.find("region", "Servers").await;
    let text = servers.text().await;
    let (_, database) = text.split_once("Database").unwrap();
    let (database, notes) = database.split_once("Notes").unwrap();
    for part in [database, notes] {
        assert!(part.contains("denied by policy"), "{text}");
    }
    assert!(database.contains("Pomerium request id"), "{text}");
    tab.keep_picture("denied").await;
    ben.leave().await;
    world.finish().await;
}
