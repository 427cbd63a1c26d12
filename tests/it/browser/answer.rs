//! What stands around an answer: what it took, reasoning, code, copying, and the way down to it.

use std::time::{Duration, Instant};

use demo::{
    model::{Frame, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};
use serde_json::json;

use super::{
    BRISK, NEVER, READABLE, SALES, SCROLLER, STORY, last_turn, same_after_reload, scroll_up,
};

/// Has the page remember what it copies: the machine's clipboard is not the test's.
pub(super) const CLIPBOARD: &str = "Object.defineProperty(navigator, 'clipboard', { value: {
  writeText(text) { window.copied = text; return Promise.resolve(); } } })";

/// No button says any more that it has copied.
const RESTED: &str = "[...document.querySelectorAll('[data-do^=\"copy\"]')]
  .every((button) => button.textContent === 'Copy' && !button.disabled)";

/// An answer with code of a known and of an unknown language, a table and a link.
const CODE: &str = "Here:\n\n```sql\nSELECT 'a' -- why\nFROM t WHERE n > 12;\n```\n\n\
    ```nonsense\nx = 1\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n[there](https://example.com/)";

async fn copied(tab: &Tab) -> String {
    tab.wait_true("typeof window.copied === 'string'").await;
    let copied = tab.eval("window.copied").await;
    tab.eval("delete window.copied").await;
    copied.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_says_what_it_took_and_can_be_copied() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_with(CLIPBOARD).await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let told = tab.eval("document.querySelector('.told .facts').innerText");
    let told = told.await.as_str().unwrap().to_owned();
    let parts: Vec<_> = told.split(" · ").collect();
    let [model, tokens, time] = parts.as_slice() else {
        panic!("{told}")
    };
    assert_eq!(*model, world.model().first_model());
    assert!(
        tokens.contains(" tokens in, ") && tokens.ends_with(" out"),
        "{told}"
    );
    assert!(time.ends_with(" ms") || time.ends_with(" s"), "{told}");
    let traffic = tab
        .find("link", "Traffic of this answer")
        .await
        .attribute("href")
        .await;
    assert_eq!(traffic, format!("/traffic/{}", last_turn(&tab).await));

    tab.click("button", "Copy the answer").await;
    let markdown = copied(&tab).await;
    assert!(
        markdown.contains("| Year |") && markdown.contains("| --- |"),
        "{markdown}"
    );
    tab.wait_text("Copied").await;
    let said = tab
        .eval("document.getElementById('announcer').textContent")
        .await;
    assert_eq!(said, "Copied.");
    tab.wait_true(RESTED).await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn code_is_named_coloured_and_copied() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.run_first(CLIPBOARD).await;
    tab.look(View::Desk, Scheme::Light).await;
    tab.go("/").await;
    world.model().queue(Reply::text(CODE));
    tab.ask("Show me code").await;
    tab.wait_end().await;
    let coloured = |kind: &str| {
        format!(
            "[...CSS.highlights.get('code-{kind}')].map((range) =>
             range.startContainer.data.slice(range.startOffset, range.endOffset)).join()"
        )
    };
    tab.wait_true("CSS.highlights.get('code-keyword').size === 3")
        .await;
    assert_eq!(tab.eval(&coloured("keyword")).await, "SELECT,FROM,WHERE");
    assert_eq!(tab.eval(&coloured("comment")).await, "-- why");
    assert_eq!(tab.eval(&coloured("number")).await, "12");
    tab.wait_text("sql").await;
    tab.keep_picture("code-light").await;
    let copy = tab.find_many("button", "Copy the code", 2, "two").await;
    copy[0].click().await;
    assert_eq!(
        copied(&tab).await,
        "SELECT 'a' -- why\nFROM t WHERE n > 12;\n"
    );

    tab.find_many("group", "Code", 2, "two blocks").await;
    let table = tab.find("group", "Table").await;
    assert_eq!(table.attribute("tabindex").await, "0");
    let link = tab.find("link", "there").await;
    assert_eq!(link.attribute("target").await, "_blank");
    assert_eq!(link.attribute("rel").await, "noopener noreferrer nofollow");
    tab.wait_true(RESTED).await;
    same_after_reload(&tab).await;
    tab.wait_true("CSS.highlights.get('code-keyword').size === 3")
        .await;
    tab.look(View::Desk, Scheme::Dark).await;
    tab.keep_picture("code-dark").await;
    tab.assert_accessible("an answer with code").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn reasoning_is_folded_away_and_says_how_long_it_took() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let chunk = |delta: serde_json::Value, end: serde_json::Value| {
        let chunk = json!({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": end }],
        });
        Frame::Bytes(format!("data: {chunk}\n\n").into())
    };
    world.model().queue(Reply::stream([
        chunk(
            json!({ "role": "assistant", "reasoning_content": "Let me <see>" }),
            json!(null),
        ),
        Frame::Pace,
        chunk(json!({ "content": "It is **so**." }), json!(null)),
        chunk(json!({}), json!("stop")),
        Frame::Bytes("data: [DONE]\n\n".into()),
    ]));
    world.model().set_delay(NEVER);
    let began = Instant::now();
    tab.ask("Think").await;
    tab.wait_text("Reasoning…").await;
    assert!(!tab.text().await.contains("Let me"), "it is folded");
    tab.eval("document.querySelector('.thoughts summary').click()")
        .await;
    tab.wait_text("Let me <see>").await;
    // The time that it has to tell, and what its first words may come late.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.model().set_delay(Duration::ZERO);
    tab.wait_text("It is so.").await;
    tab.wait_text("Reasoned for ").await;
    tab.wait_end().await;
    tab.wait_text("Let me <see>").await;
    let words = tab.eval("document.querySelector('.thoughts summary').innerText");
    let words = words.await.as_str().unwrap().to_owned();
    let seconds: f64 = words
        .strip_prefix("Reasoned for ")
        .and_then(|rest| rest.strip_suffix(" s"))
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("{words}"));
    let longest = began.elapsed().as_secs_f64();
    assert!((1.0..longest).contains(&seconds), "{words} of {longest} s");
    same_after_reload(&tab).await;
    tab.keep_picture("reasoning").await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn the_way_down_says_that_something_new_came() {
    let world = World::build().model_delay(READABLE).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask(STORY).await;
    scroll_up(&tab).await;
    tab.wait_true("document.getElementById('down').classList.contains('news')")
        .await;
    let down = tab.find("button", "Scroll down to the answer").await;
    let news = down.attribute("aria-description").await;
    assert_eq!(news, "Something new came");
    tab.keep_picture("news").await;
    tab.click("button", "Scroll down to the answer").await;
    tab.wait_gone("button", "Scroll down to the answer").await;
    world.model().set_delay(BRISK);
    // And from there it follows again, to the end.
    tab.wait_end().await;
    let end =
        format!("{SCROLLER}.scrollHeight - {SCROLLER}.scrollTop - {SCROLLER}.clientHeight < 4");
    tab.wait_true(&end).await;
    ana.leave().await;
    world.finish().await;
}
