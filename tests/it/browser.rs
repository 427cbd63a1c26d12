//! The page in a real browser, used by role and name.

mod ask;
mod itself;

mod drafts;

mod choices;
mod composer;
mod greeting;
mod list;
mod queue;

mod approve;

mod stop;

mod resume;

mod trouble;

mod session;

mod hostile;

mod keyboard;

mod views;

mod charts;
mod resources;
mod results;

mod answer;
mod branches_page;
mod long;

mod servers_page;

mod traffic;

mod states;

mod heard;

mod needs_you;

mod shortcuts;

mod theme;

mod weight;

use std::time::Duration;

use harness::browser::Tab;
use serde_json::json;

/// A question that the scripted model answers with one query and a table.
const SALES: &str = "What were our sales by year?";
/// A question that leads to a call which has to be approved.
const RAISE: &str = "Raise prices by 5 %";
/// A question with a long answer in every kind of Markdown.
const STORY: &str = "Tell me a long story about a warehouse";
/// The role of a call's card; its name is the tool's title.
const CARD: &str = "group";
/// The function that reads.
const READ: &str = "Database__read_query";
/// A query that ends only when it is stopped.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
/// A pace at which an answer is still being written when a slow machine gets to look at it. A test
/// that has seen what it wanted to see goes on at another one.
const READABLE: Duration = Duration::from_millis(20);
/// A pace at which an answer comes in many pieces and is soon complete.
const BRISK: Duration = Duration::from_millis(2);
/// A pace at which a model never says another word.
const NEVER: Duration = Duration::from_hours(1);

/// The turns as they stand on the page, without what its reader can open and close.
async fn turns(tab: &Tab) -> String {
    let html = tab
        .eval(
            "(() => {
              const turns = document.getElementById('turns').cloneNode(true);
              for (const details of turns.querySelectorAll('details')) {
                details.removeAttribute('open');
                details.removeAttribute('data-opened');
              }
              // What was read when somebody opened it.
              for (const place of turns.querySelectorAll('[data-load]')) {
                place.replaceChildren();
                place.removeAttribute('aria-busy');
              }
              // Where code that was still open was added to.
              for (const code of turns.querySelectorAll('code[id]')) code.removeAttribute('id');
              return turns.innerHTML.replace(/\\s+/g, ' ').replaceAll('> <', '><');
            })()",
        )
        .await;
    html.as_str().unwrap_or_default().to_owned()
}

/// Waits until the conversation that is shown has these messages.
async fn wait_messages(tab: &Tab, wanted: &[&str]) {
    let wanted = json!(wanted);
    let is = format!(
        "JSON.stringify([...document.querySelectorAll('.turn .message')]
           .map((message) => message.textContent.trim())) === JSON.stringify({wanted})"
    );
    tab.wait_true(&is).await;
}

/// Fails if the page that was kept up to date is not the page made anew.
async fn same_after_reload(tab: &Tab) {
    let before = turns(tab).await;
    tab.reload().await;
    let after = turns(tab).await;
    assert!(!after.is_empty());
    if before != after {
        let at = before
            .bytes()
            .zip(after.bytes())
            .take_while(|(b, a)| b == a);
        let at = at.count().saturating_sub(100);
        let around = |html: &str| {
            let from = html.floor_char_boundary(at);
            let to = html.floor_char_boundary(at + 400);
            html[from..to].to_owned()
        };
        panic!("kept:\n{}\n\nanew:\n{}", around(&before), around(&after));
    }
}

/// What scrolls, on the page of a conversation.
const SCROLLER: &str = "document.getElementById('scroller')";

/// Scrolls up to the first question, as soon as the answer that is being written is longer than
/// the window.
async fn scroll_up(tab: &Tab) {
    let long = format!("{SCROLLER}.scrollHeight > {SCROLLER}.clientHeight + 300");
    tab.wait_true(&long).await;
    tab.eval(&format!("{SCROLLER}.scrollTop = 0")).await;
    tab.find("button", "Scroll down to the answer").await;
}

/// The Pomerium session of a tab.
async fn sid(tab: &Tab) -> uuid::Uuid {
    let sid = tab
        .eval("fetch('/.pomerium/user').then((user) => user.json()).then((user) => user.sid)")
        .await;
    sid.as_str().unwrap().parse().unwrap()
}

/// The last turn of the conversation that a tab shows.
async fn last_turn(tab: &Tab) -> chat::ids::TurnId {
    let turn = tab
        .eval("document.querySelector('.turn:last-child .foot').dataset.turn")
        .await;
    serde_json::from_value(turn).unwrap()
}
