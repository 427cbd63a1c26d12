//! A conversation of 2,000 messages.

use std::{sync::Arc, time::Instant};

use chat::{
    event::{Event, Logged, TurnStarted},
    ids::{ConversationId, RoundId, Subject, TurnId},
    message::{AssistantMessage, RoundEnd, ToolChoice, Usage},
    outcome::TurnEnd,
    transcript::Transcript,
};
use demo::{model::Reply, pomerium::DemoUser};
use harness::{
    World,
    browser::{Tab, Visitor},
};
use serde_json::Value;
use store::{Append, NewTurn, Store};
use tokio_util::task::TaskTracker;

use super::same_after_reload;

/// Turns of the conversation: each has a question and an answer.
const TURNS: usize = 1000;
/// When its first turn began: any time long gone, milliseconds since 1970.
const BEGAN: i64 = 1_700_000_000_000;
/// What a page says of a turn that it does not show.
const ELSEWHERE: &str = "An answer is being given elsewhere in this conversation.";

/// An answer as they are: some text, code, a table.
fn answer(n: usize) -> String {
    let sentence = format!("Sentence {n} says something about orders and warehouses. ");
    format!(
        "{}\n\n## Part {n}\n\n- a first point\n- a **second** one\n\n\
         ```sql\nSELECT {n} FROM orders WHERE id > {n};\n```\n\n\
         | id | total |\n|---|--:|\n| {n} | 12 |\n| {n} | 14 |\n\n{}",
        sentence.repeat(6),
        sentence.repeat(n % 9)
    )
}

/// Writes the conversation into the store, as if it had been had.
async fn conversation(world: &World) -> ConversationId {
    let session: Value = world.ana().get_json("/api/session").await;
    let subject = Subject(session["subject"].as_str().unwrap().to_owned());
    let tasks = TaskTracker::new();
    let url = format!("sqlite://{}", world.data().join("toolgate.db").display());
    let store = Store::open(&url, &tasks).await.unwrap();
    let conversation = ConversationId(uuid::Uuid::now_v7().to_string());
    let mut parent = None;
    for n in 1..=TURNS {
        let turn = TurnId(uuid::Uuid::now_v7().to_string());
        let at = BEGAN + i64::try_from(n).unwrap() * 60_000;
        let started = TurnStarted {
            conversation: Some(conversation.clone()),
            parent: parent.replace(turn.clone()),
            message: format!("Question number {n}"),
            request: None,
            model: "scripted".to_owned(),
            sid: "s".into(),
        };
        let opened = store.open_turn(NewTurn {
            subject: subject.clone(),
            message_id: turn.to_string(),
            turn: turn.clone(),
            at,
            started: started.clone(),
            then: Vec::new(),
            follows: store::Follows::Newest,
            off: chat::selection::Selection::default(),
        });
        let opened = opened.await.unwrap();
        let events = vec![
            Event::RoundStarted {
                round: RoundId(1),
                attempt: 1,
                tool_choice: ToolChoice::Auto,
                catalogs: Vec::new(),
            },
            Event::RoundFinished {
                round: RoundId(1),
                end: RoundEnd::Stop,
                usage: Some(Usage {
                    prompt_tokens: 1200,
                    completion_tokens: 80,
                }),
                message: AssistantMessage {
                    text: answer(n),
                    ..AssistantMessage::default()
                },
            },
            Event::TurnFinished {
                end: TurnEnd::Answered,
                failure: None,
            },
        ];
        let log = std::iter::once(Event::TurnStarted(started)).chain(events.clone());
        let log: Vec<_> = (1..)
            .zip(log)
            .map(|(seq, event)| Logged {
                seq,
                at: if seq == 1 { at } else { at + 2000 },
                event,
            })
            .collect();
        let append = store.append(Append {
            turn,
            epoch: opened.epoch,
            expected_seq: opened.seq,
            at: at + 2000,
            events: Arc::new(events),
            transcript: Some(Transcript::fold(&log)),
        });
        append.await.unwrap();
    }
    store.close().await;
    tasks.close();
    tasks.wait().await;
    conversation
}

async fn number(tab: &Tab, expression: &str) -> f64 {
    let number = tab.eval(expression).await;
    number
        .as_f64()
        .unwrap_or_else(|| panic!("{expression}: {number}"))
}

/// Whether the page has these questions. What is far away is there, and not laid out.
fn shows(first: usize, last: usize) -> String {
    format!(
        "(() => {{
          const asked = [...document.querySelectorAll('.message')].map((each) => each.textContent);
          return asked[0] === 'Question number {first}'
            && asked.at(-1) === 'Question number {last}' && asked.length === {};
        }})()",
        last - first + 1
    )
}

/// Scrolls up by what a wheel does, in each frame, and gives the times between frames.
const SCROLL_UP: &str = "new Promise((done) => {
  const scroller = document.getElementById('scroller');
  const frames = [];
  let last = performance.now();
  function frame(now) {
    frames.push(now - last);
    last = now;
    scroller.scrollTop -= 240;
    if (frames.length < 240) requestAnimationFrame(frame);
    else done(frames.slice(1).sort((a, b) => a - b));
  }
  requestAnimationFrame(frame);
})";

#[tokio::test]
async fn two_thousand_messages_are_read_as_smoothly_as_two() {
    let world = World::start().await;
    let conversation = conversation(&world).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let began = Instant::now();
    let tab = ana.open(&format!("/c/{conversation}")).await;
    tab.wait_text(&format!("Question number {TURNS}")).await;
    let shown = began.elapsed();
    let turns = "document.querySelectorAll('.turn').length";
    let first = number(&tab, turns).await;
    assert!(first <= 60.0, "{first} turns at first");
    let html = number(
        &tab,
        "performance.getEntriesByType('navigation')[0].decodedBodySize",
    )
    .await;
    let interactive = number(
        &tab,
        "performance.getEntriesByType('navigation')[0].domInteractive",
    )
    .await;
    let server = number(
        &tab,
        "performance.getEntriesByType('navigation')[0].responseStart",
    )
    .await;
    let nodes = number(&tab, "document.querySelectorAll('*').length").await;
    assert!(nodes < 5_000.0, "{nodes} elements");
    // It opens at its end.
    let end = "(() => { const s = document.getElementById('scroller');
               return s.scrollHeight - s.scrollTop - s.clientHeight < 4; })()";
    tab.wait_true(end).await;
    tab.keep_picture("long-end").await;

    // What came before comes by itself, and what is being read stays where it is.
    let frames: Vec<f64> = serde_json::from_value(tab.eval(SCROLL_UP).await).unwrap();
    tab.wait_true(&format!("{turns} > 60")).await;
    let after = number(&tab, turns).await;
    let numbers = "[...document.querySelectorAll('.message')].map((each) =>
                   Number(each.textContent.replace('Question number ', '')))";
    let numbers: Vec<usize> = serde_json::from_value(tab.eval(numbers).await).unwrap();
    let expected: Vec<_> = (TURNS + 1 - numbers.len()..=TURNS).collect();
    assert_eq!(numbers, expected, "in order, each once");
    let p95 = frames[frames.len() * 95 / 100];
    println!(
        "{TURNS} turns: {html} bytes, first byte {server:.0} ms, interactive {interactive:.0} ms, \
         shown {shown:?}, {nodes} elements; frames while scrolling up: median {:.1} ms, p95 {:.1} ms, \
         longest {:.1} ms; then {after} turns",
        frames[frames.len() / 2],
        p95,
        frames[frames.len() - 1],
    );
    // Far more than a frame takes on a busy machine, far less than a page that stands still.
    assert!(p95 < 1500.0, "a frame takes {p95} ms");

    // A question at the end of all this is answered as ever.
    tab.click("button", "Scroll down to the answer").await;
    world.model().queue(Reply::text("The last answer."));
    tab.ask("And now?").await;
    tab.wait_text("The last answer.").await;
    tab.wait_end().await;
    tab.wait_true(end).await;
    tab.reload().await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn what_came_before_can_be_read_without_scripts_and_linked() {
    let world = World::start().await;
    let conversation = conversation(&world).await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_blank().await;
    tab.forbid_scripts().await;
    tab.go(&format!("/c/{conversation}")).await;
    tab.wait_true(&shows(971, 1000)).await;
    tab.click("link", "Earlier messages").await;
    tab.wait_true(&shows(941, 970)).await;
    tab.click("link", "Newest messages").await;
    tab.wait_true(&shows(971, 1000)).await;

    // A link to a turn leads there, however long ago that was.
    let turn = "document.querySelectorAll('.turn')[0].dataset.turn";
    tab.click("link", "Earlier messages").await;
    tab.wait_true(&shows(941, 970)).await;
    let turn = tab.eval(turn).await.as_str().unwrap().to_owned();
    let with = ana.open(&format!("/c/{conversation}?turn={turn}")).await;
    let top = format!("document.getElementById('t-{turn}').getBoundingClientRect().top");
    with.wait_true(&format!("{top} > 0 && {top} < 200")).await;
    let with = ana.open(&format!("/c/{conversation}#t-{turn}")).await;
    with.wait_true(&format!("location.search === '?turn={turn}'"))
        .await;
    with.wait_true(&format!("{top} > 0 && {top} < 200")).await;
    with.assert_accessible("long ago").await;

    // What is around it is shown, and the rest is a link away.
    tab.go(&format!("/c/{conversation}?turn={turn}")).await;
    tab.wait_true(&shows(927, 956)).await;
    tab.click("link", "Later messages").await;
    tab.wait_true(&shows(957, 986)).await;

    // With scripts it comes when its reader comes near, up to what happens now.
    let further = "(() => {
      const scroller = document.getElementById('scroller');
      scroller.scrollTop = scroller.scrollHeight;
      return document.querySelector('#later[data-last]') === null;
    })()";
    with.wait_true(further).await;
    let numbers = "[...document.querySelectorAll('.message')].map((each) =>
                   Number(each.textContent.replace('Question number ', '')))";
    let numbers: Vec<usize> = serde_json::from_value(with.eval(numbers).await).unwrap();
    let expected: Vec<_> = (numbers[0]..=TURNS).collect();
    assert_eq!(numbers, expected, "in order, each once");

    // What is asked in the middle of it follows its end.
    let middle = ana.open(&format!("/c/{conversation}?turn={turn}")).await;
    middle.wait_true(&format!("{top} > 0 && {top} < 200")).await;
    // It is told what goes on at the end, where another tab is.
    world.model().queue(Reply::hang());
    with.ask("Think about it").await;
    middle.wait_text(ELSEWHERE).await;
    with.click("button", "Stop").await;
    middle.wait_no_text(ELSEWHERE).await;
    world.model().queue(Reply::text("The last answer."));
    middle.ask("And now?").await;
    for page in [&middle, &with] {
        page.wait_text("The last answer.").await;
        page.wait_end().await;
        let last = "[...document.querySelectorAll('.message')].slice(-2)
                    .map((each) => each.textContent).join()";
        assert_eq!(page.eval(last).await, "Think about it,And now?");
    }
    ana.leave().await;
    world.finish().await;
}
