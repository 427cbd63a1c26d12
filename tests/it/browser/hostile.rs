//! HTML and scripts in everything that others write.

use demo::{model::Call, model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Tab, Visitor},
};
use serde_json::{Value, json};

use crate::fake::Fake;

use super::{READ, same_after_reload};

const HOSTILE: &str = "<img src=x onerror=alert('title')> hostile";

/// A tab in which an alert is remembered, and stops nothing.
async fn open(visitor: &Visitor) -> Tab {
    let script = "window.alert = (words) => { window.harmed = words; };";
    visitor.open_with(script).await
}

/// Fails if a script of somebody else's ran, or waits for a click.
async fn assert_unharmed(tab: &Tab) {
    assert_eq!(tab.eval("window.harmed ?? null").await, json!(null));
    let bad = "[...document.querySelectorAll('*')].filter((element) =>
                 [...element.attributes].some(({ name, value }) => name.startsWith('on')
                   || (['href', 'src', 'action'].includes(name)
                     && !/^(\\/|#|https?:\\/\\/|mailto:)/.test(value)))
                 || ['IFRAME', 'SVG', 'OBJECT', 'EMBED', 'STYLE', 'BASE'].includes(element.tagName)
                 || (element.tagName === 'SCRIPT' && !element.src)
                 || (element.tagName === 'FORM' && element.action.includes('example.com'))
               ).map((element) => element.outerHTML)";
    assert_eq!(tab.eval(bad).await, json!([]));
}

#[tokio::test]
async fn in_questions_titles_results_and_answers() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = open(&ana).await;
    tab.ask(HOSTILE).await;
    tab.wait_end().await;
    tab.wait_text("a link that runs a script").await;
    assert_unharmed(&tab).await;
    tab.find("link", HOSTILE).await;
    tab.find("heading", HOSTILE).await;
    same_after_reload(&tab).await;
    assert_unharmed(&tab).await;
    tab.keep_picture("hostile").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn in_tools_errors_arguments_and_reasons() {
    let name = "<img src=x onerror=alert('tool')>";
    let tool = json!({
        "name": name,
        "title": "</summary><script>alert('title')</script>",
        "description": "\"><script>alert('description')</script>",
        "inputSchema": { "type": "object" },
        "annotations": { "readOnlyHint": false },
    });
    let fake = Fake::plain(&[tool]).await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = open(&ana).await;
    let evil = "<script>alert('argument')</script>";
    world.model().queue(Reply::text("Hello"));
    tab.ask("Hello").await;
    tab.wait_end().await;
    let asked = world.model().requests().pop().unwrap();
    let asked: Value = serde_json::from_slice(&asked.body).unwrap();
    let offered = asked["tools"].as_array().unwrap().iter();
    let mut offered = offered.filter_map(|tool| tool["function"]["name"].as_str());
    let function = offered.find(|name| name.starts_with("Fake__")).unwrap();
    world.model().queue(Reply::calls([
        Call::new(function, &json!({ evil: evil })),
        Call::new(READ, &json!({ "query": evil })),
        Call::new(evil, &json!({})),
    ]));
    tab.ask("Now do harm").await;
    tab.click("textbox", "Reason for denying, for the model")
        .await;
    tab.insert(evil).await;
    assert_unharmed(&tab).await;
    tab.click("button", "Deny").await;
    tab.wait_end().await;
    tab.wait_text("Denied by you").await;
    assert_unharmed(&tab).await;
    same_after_reload(&tab).await;
    assert_unharmed(&tab).await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}
