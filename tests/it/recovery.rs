//! Toolgate is killed, or told to stop, at chosen moments of a turn; the next start goes on.

use std::{
    collections::BTreeMap,
    future::pending,
    time::{Duration, Instant},
};

use chat::{
    event::{Answer, CancelBy, Event, Logged},
    ids::RoundId,
    outcome::{Outcome, TurnEnd},
    transcript::{Item, Transcript},
};
use demo::model::{Call, Reply};
use harness::{Frame, Posted, User, World};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Fake, tool},
    look::eventually,
    servers::{build, outcome},
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

fn end(transcript: &Transcript) -> Option<TurnEnd> {
    transcript.end.as_ref().map(|end| end.end)
}

fn names(log: &[Logged]) -> Vec<&'static str> {
    log.iter().map(|logged| logged.event.name()).collect()
}

fn count(log: &[Logged], name: &str) -> usize {
    names(log)
        .into_iter()
        .filter(|found| *found == name)
        .count()
}

async fn restart(world: &mut World) {
    world.toolgate().kill().await;
    world.toolgate().start().await;
}

/// A server whose tool `work` never answers, nor anything it is told while it works.
async fn hanging() -> Fake {
    Fake::start(|seen| async move {
        match seen.method() {
            "tools/call" | "notifications/cancelled" => pending().await,
            _ => seen.plain(&[tool("work")]),
        }
    })
    .await
}

/// Begins a turn whose call is with the server when this returns.
async fn begin_hanging(world: &World, ana: &User, fake: &Fake) -> Posted {
    let call = Call::new("Hangs__work", &json!({}));
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask("Work").await;
    eventually("the call is out", || fake.calls().len() == 1).await;
    posted
}

#[tokio::test]
async fn a_question_goes_on_waiting_and_its_call_runs_once() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let sql = json!({ "query": "UPDATE Products SET UnitPrice = UnitPrice WHERE 'asked' = ''" });
    let call = Call::new("Database__write_query", &sql);
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask("Change it").await;
    let before = ana.wait_question(&posted.turn).await;
    for _ in 0..2 {
        restart(&mut world).await;
        assert_eq!(ana.wait_question(&posted.turn).await, before);
        let log = ana.log(&posted.turn).await;
        let asked = (count(&log, "question.asked"), count(&log, "call.started"));
        assert_eq!(asked, (1, 0), "it only waits: {:?}", names(&log));
        assert_eq!(world.journal().with("asked").len(), 0);
    }
    let approved = ana.answer(&posted.turn, before.0, &Answer::Approve).await;
    assert_eq!(approved.status, 202, "{}", approved.body);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), Some(TurnEnd::Answered), "{transcript:#?}");
    assert_eq!(world.journal().with("asked").len(), 1);
    assert_eq!(world.model().received(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_call_that_ran_is_unknown_told_so_and_not_run_again() {
    let fake = hanging().await;
    let mut world = build()
        .server("Hangs", fake.url())
        .start_with_process()
        .await;
    let ana = world.ana();
    let posted = begin_hanging(&world, &ana, &fake).await;
    restart(&mut world).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), Some(TurnEnd::Answered), "{transcript:#?}");
    let call = transcript.calls().next().unwrap();
    assert_eq!(outcome(call), Outcome::Unknown);
    assert_eq!(fake.calls().len(), 1);
    let told = world.model().requests().pop().unwrap().messages();
    let result = told.last().unwrap();
    assert_eq!(result["role"], "tool");
    let content = result["content"].as_str().unwrap();
    assert!(content.contains("may or may not have"), "{content}");
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_parked_call_goes_on_waiting_and_runs_once_its_owner_comes() {
    let mut world = World::build().model_delay(NEVER).start_with_process().await;
    let ana = world.ana();
    let sql = json!({ "query": "SELECT 'parked-over-a-kill' AS mark" });
    let call = Call::new("Database__read_query", &sql);
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask("Look").await;
    let mut log = ana.events(&posted.turn, 0).await;
    world.model().wait_received(1).await;
    world.standin().recall_tes(ana.sid);
    world.model().set_delay(Duration::ZERO);
    log.until(|frame| frame.event == "call.parked").await;
    drop(log);
    restart(&mut world).await;
    assert_eq!(world.journal().with("parked-over-a-kill").len(), 0);
    // The look that waits for the end brings a token.
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), Some(TurnEnd::Answered), "{transcript:#?}");
    let log = ana.log(&posted.turn).await;
    assert_eq!(count(&log, "call.parked"), 1);
    assert_eq!(count(&log, "call.resumed"), 1);
    assert_eq!(world.journal().with("parked-over-a-kill").len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn an_open_round_is_discarded_and_sent_again_the_same() {
    let mut world = World::build()
        .model_delay(Duration::from_millis(40))
        .start_with_process()
        .await;
    let ana = world.ana();
    let text = "word ".repeat(200);
    world.model().queue(Reply::text(text.as_str()));
    world.model().queue(Reply::text("The whole answer."));
    let posted = ana.ask("Tell me").await;
    let mut log = ana.events(&posted.turn, 0).await;
    log.until(|frame| frame.event == "text.delta").await;
    drop(log);
    world.toolgate().kill().await;
    world.model().set_delay(Duration::ZERO);
    world.toolgate().start().await;
    assert_eq!(world.model().received(), 1, "it waits for its owner");
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), Some(TurnEnd::Answered), "{transcript:#?}");
    let texts: Vec<_> = transcript.items.iter().filter_map(text_of).collect();
    assert_eq!(texts, ["The whole answer."], "nothing of the first is left");
    let log = ana.log(&posted.turn).await;
    assert_eq!(count(&log, "round.discarded"), 1, "{:?}", names(&log));
    assert_eq!(count(&log, "round.finished"), 1);
    let requests = world.model().requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
    world.finish().await;
}

fn text_of(item: &Item) -> Option<&str> {
    match item {
        Item::Round(round) => Some(round.text.as_str()),
        Item::Call(_) | Item::Notice { .. } => None,
    }
}

#[tokio::test]
async fn what_was_being_stopped_is_stopped_by_the_next_start() {
    let fake = hanging().await;
    let mut world = build()
        .server("Hangs", fake.url())
        .start_with_process()
        .await;
    let ana = world.ana();
    let posted = begin_hanging(&world, &ana, &fake).await;
    let mut log = ana.events(&posted.turn, 0).await;
    assert_eq!(ana.cancel(&posted.turn).await.status, 202);
    let seen = log.until(|frame| frame.event == "turn.cancelling").await;
    world.toolgate().kill().await;
    assert!(!seen.iter().any(|frame| frame.event == "turn.finished"));
    drop(log);
    world.toolgate().start().await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(
        end(&transcript),
        Some(TurnEnd::Cancelled),
        "{transcript:#?}"
    );
    assert_eq!(transcript.cancelling, Some(CancelBy::User));
    let call = transcript.calls().next().unwrap();
    assert!(
        matches!(outcome(call), Outcome::Unknown | Outcome::Cancelled),
        "{call:#?}"
    );
    assert_eq!((fake.calls().len(), world.model().received()), (1, 1));
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn sigterm_puts_a_turn_down_and_the_next_start_goes_on_when_its_owner_comes() {
    let fake = hanging().await;
    let mut world = build()
        .server("Hangs", fake.url())
        .start_with_process()
        .await;
    let ana = world.ana();
    let posted = begin_hanging(&world, &ana, &fake).await;
    // Readers do not hold it up.
    let mut log = ana.events(&posted.turn, 0).await;
    let page = ana.page_stream(&posted.conversation).await;
    let told = Instant::now();
    let status = world.toolgate().terminate().await;
    assert!(status.success(), "{status}");
    // Far more than it needs, far less than a call may take.
    assert!(told.elapsed() < Duration::from_secs(30));
    let seen = log.rest().await;
    assert!(!seen.iter().any(|frame| frame.event == "turn.finished"));
    drop((log, page));
    world.toolgate().start().await;
    assert_eq!(world.model().received(), 1, "it waits for its owner");
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), Some(TurnEnd::Answered), "{transcript:#?}");
    assert_eq!(
        outcome(transcript.calls().next().unwrap()),
        Outcome::Unknown
    );
    assert_eq!(fake.calls().len(), 1);
    world.finish().await;
    fake.end().await;
}

/// What a reader saw: the committed events, and the text that all pieces make.
#[derive(Default)]
struct Read {
    last_id: Option<String>,
    log: Vec<Logged>,
    texts: BTreeMap<RoundId, String>,
}

impl Read {
    fn take(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            let logged: Logged = serde_json::from_str(&frame.data).unwrap();
            self.take_text(&logged.event);
            if frame.id.is_some() {
                self.last_id = frame.id;
                self.log.push(logged);
            }
        }
    }

    fn take_text(&mut self, event: &Event) {
        if let Event::TextDelta(delta) = event {
            let text = self.texts.entry(delta.round).or_default();
            assert!(delta.offset <= text.len(), "a piece is missing");
            text.truncate(delta.offset);
            text.push_str(&delta.text);
        }
        if let Event::RoundDiscarded { round } = event {
            self.texts.remove(round);
        }
    }

    fn is_whole(&self) -> bool {
        let last = self.log.last().map(|logged| &logged.event);
        matches!(last, Some(Event::TurnFinished { .. }))
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_sees_everything_once() {
    let mut world = World::build()
        .model_delay(Duration::from_millis(40))
        .start_with_process()
        .await;
    let ana = world.ana();
    let posted = ana
        .ask("Which tables are there, and what is in the largest?")
        .await;
    let mut read = Read::default();
    let path = format!("/api/turns/{}/events", posted.turn);
    let mut kills = 0;
    while !read.is_whole() {
        let mut request = ana.request(Method::GET, &path).headers(
            [(http::header::ACCEPT, "text/event-stream".parse().unwrap())]
                .into_iter()
                .collect(),
        );
        if let Some(id) = &read.last_id {
            request = request.header("last-event-id", id);
        }
        let mut events = ana.stream_of(request).await;
        if kills < 3 {
            // Some way into what is new.
            let mut committed = 0;
            let seen = events.until(|frame| {
                committed += usize::from(frame.id.is_some());
                committed > 2
            });
            read.take(seen.await);
            world.toolgate().kill().await;
            read.take(events.rest().await);
            drop(events);
            world.toolgate().start().await;
            kills += 1;
        } else {
            read.take(events.rest().await);
        }
    }
    assert_eq!(kills, 3, "the turn ended too soon to show anything");
    let structural = |log: Vec<Logged>| -> Vec<Logged> {
        let mut log = log;
        log.retain(|logged| logged.event.is_structural());
        log
    };
    let numbers: Vec<u64> = read.log.iter().map(|logged| logged.seq).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "twice: {numbers:?}");
    let whole = ana.log(&posted.turn).await;
    assert_eq!(structural(read.log), structural(whole));
    let transcript = ana.turn(&posted.turn).await;
    for item in &transcript.items {
        if let Item::Round(round) = item {
            let text = read.texts.get(&round.round).map_or("", String::as_str);
            assert_eq!(text, round.text);
        }
    }
    world.finish().await;
}
