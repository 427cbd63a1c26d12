//! Readers of a turn: live, coming back, as JSON; and two users who see nothing of one another.

use std::{collections::BTreeMap, time::Duration};

use chat::{
    event::{Delta, Event, Logged},
    ids::RoundId,
    outcome::TurnEnd,
};
use harness::{Frame, World};
use serde_json::{Value, json};

use crate::look::{
    SALES, WRITE, accepted, answer, ask_in_vain, assert_numbered, end, events_after, names,
    problem, queries, rounds,
};

/// What a reader has put together from the frames it got.
#[derive(Default)]
struct Reader {
    last_id: Option<String>,
    /// The structural events, by their numbers.
    events: BTreeMap<u64, Event>,
    texts: BTreeMap<RoundId, String>,
    /// Frames that told nothing new on the same connection.
    repeated: usize,
}

impl Reader {
    fn take(&mut self, frame: &Frame) {
        let logged: Logged = serde_json::from_str(&frame.data).unwrap();
        assert_eq!(frame.event, logged.event.name());
        if let Some(id) = &frame.id {
            assert!(id.ends_with(&format!(".{}", logged.seq)), "{frame:?}");
            self.last_id = Some(id.clone());
        } else {
            assert!(!logged.event.is_structural(), "{frame:?}");
        }
        if let Event::TextDelta(delta) = logged.event {
            self.take_text(&delta);
        } else if logged.event.is_structural() {
            let last = self.events.last_key_value().map_or(0, |(seq, _)| *seq);
            assert!(logged.seq > last, "{} after {last}", logged.seq);
            self.events.insert(logged.seq, logged.event);
        }
    }

    fn take_text(&mut self, delta: &Delta) {
        let text = self.texts.entry(delta.round).or_default();
        assert!(
            delta.offset <= text.len(),
            "a gap: {delta:?} after {text:?}"
        );
        let known = &text[delta.offset..];
        if !known.is_empty() {
            self.repeated += 1;
            assert!(delta.text.starts_with(known) || known.starts_with(&delta.text));
        }
        if delta.text.len() > known.len() {
            text.truncate(delta.offset);
            text.push_str(&delta.text);
        }
    }

    /// It has all of the turn.
    fn assert_whole(&self, log: &[Logged]) {
        let structural = log.iter().filter(|logged| logged.event.is_structural());
        let expected: BTreeMap<_, _> = structural
            .map(|logged| (logged.seq, logged.event.clone()))
            .collect();
        assert_eq!(self.events, expected);
        let finished = log.iter().filter_map(|logged| {
            let Event::RoundFinished { round, message, .. } = &logged.event else {
                return None;
            };
            (!message.text.is_empty()).then(|| (*round, message.text.clone()))
        });
        assert_eq!(self.texts, finished.collect());
    }
}

#[tokio::test]
async fn a_reader_sees_every_event_once_and_the_text_without_a_gap() {
    let world = World::build()
        .model_delay(Duration::from_millis(5))
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask("Tell me a long story about a warehouse").await;
    let (mut first, mut second) =
        tokio::join!(ana.events(&posted.turn, 0), ana.events(&posted.turn, 0));
    let mut readers = [Reader::default(), Reader::default()];
    let (one, two) = tokio::join!(first.rest(), second.rest());
    for (reader, frames) in readers.iter_mut().zip([one, two]) {
        assert!(
            frames.iter().any(|frame| frame.id.is_none()),
            "nothing came live"
        );
        for frame in &frames {
            reader.take(frame);
        }
    }
    let log = ana.log(&posted.turn).await;
    assert_numbered(&log);
    for reader in readers {
        reader.assert_whole(&log);
        assert_eq!(reader.repeated, 0);
    }
    world.finish().await;
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_where_it_was() {
    let world = World::build()
        .model_delay(Duration::from_millis(1))
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask("Compare customers, products and suppliers").await;
    let mut reader = Reader::default();
    let mut connections = 0;
    // Each connection is lost after five frames.
    'all: loop {
        connections += 1;
        let last_id = reader.last_id.as_deref().unwrap_or_default();
        let request = events_after(&ana, &posted.turn, last_id);
        let mut events = ana.stream_of(request).await;
        for _ in 0..5 {
            let Some(frame) = events.next().await else {
                continue 'all;
            };
            reader.take(&frame);
            if frame.event == "turn.finished" {
                break 'all;
            }
        }
    }
    assert!(connections > 3, "{connections}");
    reader.assert_whole(&ana.log(&posted.turn).await);

    // At the end there is nothing to come back for.
    let request = events_after(&ana, &posted.turn, &reader.last_id.unwrap());
    assert_eq!(ana.send(request).await.status, 204);
    // An id that is not of this turn is none.
    let request = events_after(&ana, &posted.turn, "another-turn.3");
    let whole = ana.stream_of(request).await.rest().await;
    assert_eq!(whole[0].event, "turn.started");
    world.finish().await;
}

#[tokio::test]
async fn a_log_is_json_too_from_any_place() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    let log = ana.log(&posted.turn).await;
    assert_numbered(&log);
    let url = format!("/api/turns/{}/events", posted.turn);
    let after: Vec<Logged> = ana.get_json(&format!("{url}?after=3")).await;
    assert_eq!(after, log[3..]);
    let none: Vec<Logged> = ana.get_json(&format!("{url}?after=1000")).await;
    assert_eq!(none, []);
    let transcript = ana.turn(&posted.turn).await;
    assert_eq!(transcript.seq, log.len() as u64);
    let mut fold = chat::transcript::Transcript::default();
    for logged in &log {
        fold.apply(logged);
    }
    assert_eq!(fold, transcript);
    world.finish().await;
}

#[tokio::test]
async fn two_users_see_nothing_of_one_another() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let finished = ana.ask_to_end(SALES).await;
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM products"]));
    let asking = ana.ask("A secret of Ana's").await;
    let (question, _) = ana.wait_question(&asking.turn).await;
    let running = ask_in_vain(&world, &ana, "Another secret").await;
    let before = ana.log(&running.turn).await;

    for posted in [&finished, &asking, &running] {
        let turn = format!("/api/turns/{}", posted.turn);
        let conversation = format!("/api/conversations/{}", posted.conversation);
        for path in [
            turn.clone(),
            format!("{turn}/events"),
            format!("{turn}/events?after=1"),
            format!("{turn}/calls/1/result"),
            conversation,
        ] {
            problem(&ben.get(&path).await, 404, "not_found");
        }
        let request = events_after(&ben, &posted.turn, "");
        problem(&ben.send(request).await, 404, "not_found");
        for (path, body) in [
            (format!("{turn}/cancel"), json!({})),
            (
                format!("{turn}/questions/{question}"),
                json!({ "kind": "approve" }),
            ),
        ] {
            problem(&ben.post(&path, &body).await, 404, "not_found");
        }
        let message = json!({
            "message_id": uuid::Uuid::now_v7(), "message": "Let me in",
            "conversation": posted.conversation,
        });
        problem(&ben.post("/api/messages", &message).await, 404, "not_found");
    }
    assert_eq!(
        ben.get_json::<Vec<Value>>("/api/conversations").await,
        [] as [Value; 0]
    );
    // A page of Ben's at Ana's address shows him what is his.
    let mut page = ben.page_stream(&running.conversation).await;
    let bens = ben.ask("Ben's own question").await;
    let seen = page
        .until(|frame| frame.data.contains("own question"))
        .await;
    for frame in seen {
        for hers in [
            "secret",
            finished.turn.as_str(),
            asking.turn.as_str(),
            running.turn.as_str(),
        ] {
            assert!(!frame.data.contains(hers), "{hers}: {frame:?}");
        }
    }
    drop(page);
    ben.wait_end(&bens.turn).await;
    assert_eq!(ana.log(&running.turn).await, before);
    assert_eq!(world.journal().with("DELETE").len(), 0);

    // Both at once, each with their own answer.
    let (a, b) = tokio::join!(ana.ask(SALES), ben.ask("Compare customers and products"));
    let (a, b) = tokio::join!(ana.wait_end(&a.turn), ben.wait_end(&b.turn));
    assert_eq!((end(&a), end(&b)), (TurnEnd::Answered, TurnEnd::Answered));
    assert!(answer(&a).contains("| Year |"), "{a:#?}");
    assert!(answer(&b).contains("| What |"), "{b:#?}");
    assert_eq!((rounds(&a).len(), rounds(&b).len()), (2, 2));
    for request in world.model().requests() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!(body.contains("sales by year") && body.contains("Compare customers")));
    }
    for posted in [&asking, &running] {
        accepted(&ana.cancel(&posted.turn).await);
        ana.wait_end(&posted.turn).await;
        let names = names(&ana.log(&posted.turn).await);
        assert_eq!(names.last(), Some(&"turn.finished"));
    }
    world.finish().await;
}
