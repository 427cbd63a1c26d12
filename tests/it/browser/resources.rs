//! What links in results lead to: saved by a click, and what a person sees when it cannot be had.

use std::{path::Path, time::Instant};

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    PATIENCE, World,
    browser::{Tab, Visitor},
};
use serde_json::json;

use super::results::look;
use crate::{
    fake::bare,
    resources::{link, linking, uri},
};

/// A conversation in which the tool `show` answered.
async fn shown(world: &World, tab: &Tab) {
    let call = Call::new("Fake__show", &json!({}));
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("There it is."));
    tab.ask("Show it").await;
    tab.wait_text("There it is.").await;
    tab.wait_end().await;
}

/// What was saved under this name, as soon as it is there.
async fn saved(folder: &Path, name: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(folder.join(name)) {
            return text;
        }
        let there: Vec<_> = folder.read_dir().unwrap().collect();
        assert!(Instant::now() < until, "no {name} but {there:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_link_is_saved_by_a_click_or_says_why_not() {
    let blocks = vec![
        link("notes://ana/minutes.md", "minutes"),
        link("notes://ana/gone", "<i>\u{202e}Gone</i>"),
        json!({ "type": "image", "data": "no base64!", "mimeType": "image/png" }),
    ];
    let fake = linking(blocks, |seen| match uri(seen) {
        "notes://ana/minutes.md" => seen.result(&json!({
            "contents": [{ "uri": uri(seen), "mimeType": "text/html", "text": "# Minutes" }],
        })),
        "notes://ana/gone" => seen.error(-32002, "Resource not found"),
        _ => bare(500),
    })
    .await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let folder = tempfile::tempdir().unwrap();
    tab.cdp(
        "Page.setDownloadBehavior",
        json!({ "behavior": "allow", "downloadPath": folder.path() }),
    )
    .await;
    shown(&world, &tab).await;
    // A picture is what was asked for: its card is open.
    tab.wait_text("It cannot be read: the server sent no valid base64.")
        .await;
    assert_eq!(tab.find_all("link", "Download Image").await.len(), 0);
    look(&tab, "result-links").await;
    tab.click("link", "Download minutes").await;
    assert_eq!(saved(folder.path(), "minutes.md").await, "# Minutes");
    // The conversation is where it was.
    tab.find("heading", "Show it").await;

    tab.click("link", "Download <i>\\u202eGone</i>").await;
    let failed = ana.opened_tab().await;
    failed.allow("status of 404");
    failed.find("heading", "Not found").await;
    failed
        .wait_text("could not be read from Fake: the server does not know it")
        .await;
    look(&failed, "result-link-gone").await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}
