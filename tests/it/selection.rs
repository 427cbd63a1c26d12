//! Servers and tools switched off and on in a conversation: at its beginning, between turns and in
//! the middle of one.

use std::future::ready;

use chat::{
    event::{Answer, Target},
    ids::ConversationId,
    outcome::{Outcome, TurnEnd},
    selection::Selection,
};
use demo::model::{Call, Reply};
use harness::{Posted, User, World};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    fake::{Fake, bare, tool},
    look::{READ, WRITE, end, last_request, outcomes, problem, queries, results},
    servers::{build, functions},
};

fn off(servers: &[&str], tools: &[(&str, &str)]) -> Value {
    let tools = tools.iter();
    let tools: Vec<_> = tools
        .map(|(server, tool)| json!({ "server": server, "tool": tool }))
        .collect();
    json!({ "servers": servers, "tools": tools })
}

async fn select(user: &User, conversation: &ConversationId, off: Value) {
    let path = format!("/api/conversations/{conversation}");
    let row = user.patch(&path, &json!({ "off": off })).await.expect(200);
    let row: Value = row.json();
    assert_eq!(row["off"], off);
}

async fn ask(world: &World, user: &User, body: &Value) -> Posted {
    world.model().queue(Reply::text("Yes."));
    let posted: Posted = user.ask_with("Well?", body).await.expect(202).json();
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    posted
}

fn offers(world: &World, prefix: &str) -> bool {
    functions(world).iter().any(|name| name.starts_with(prefix))
}

/// What the model was told before the conversation, the last time.
fn system(world: &World) -> String {
    let messages = last_request(world.model()).messages();
    messages[0]["content"].as_str().unwrap().to_owned()
}

/// A server whose tool waits until it may end.
async fn slow() -> (Fake, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let fake = Fake::start(move |seen| {
        let mut gate = gate.clone();
        async move {
            if seen.method() == "tools/call" {
                gate.wait_for(|open| *open).await.ok();
            }
            seen.plain(&[tool("work")])
        }
    });
    (fake.await, open)
}

#[tokio::test]
async fn a_server_that_is_off_is_not_offered_not_named_and_not_connected_to() {
    let mail = Fake::plain(&[tool("send")]).await;
    let down = Fake::start(|_| ready(bare(500))).await;
    let world = build()
        .server("Mail", mail.url())
        .server("Down", down.url())
        .start()
        .await;
    let ana = world.ana();
    let body = json!({ "off": off(&["Down", "Mail"], &[]) });
    let posted = ask(&world, &ana, &body).await;
    assert!(offers(&world, "Database__") && !offers(&world, "Mail__"));
    assert!(!system(&world).contains("Down"), "{}", system(&world));
    assert!(mail.seen().is_empty() && down.seen().is_empty());
    let conversation = ana.conversation(&posted.conversation).await;
    assert_eq!(json!(conversation.off), off(&["Down", "Mail"], &[]));

    // In a new conversation all are on.
    ask(&world, &ana, &json!({})).await;
    assert!(offers(&world, "Mail__send"));
    assert!(system(&world).contains("Down"), "{}", system(&world));
    // That they are known by now changes nothing for the other.
    let here = json!({ "conversation": posted.conversation });
    ask(&world, &ana, &here).await;
    assert!(!offers(&world, "Mail__") && !system(&world).contains("Down"));

    select(&ana, &posted.conversation, off(&[], &[])).await;
    ask(&world, &ana, &here).await;
    assert!(offers(&world, "Mail__send") && system(&world).contains("Down"));
    world.finish().await;
    mail.end().await;
    down.end().await;
}

#[tokio::test]
async fn a_tool_that_is_off_is_not_offered_and_a_call_of_it_is_of_no_function() {
    let world = build().start().await;
    let ana = world.ana();
    let posted = ask(&world, &ana, &json!({})).await;
    assert!(offers(&world, WRITE));
    select(
        &ana,
        &posted.conversation,
        off(&[], &[("Database", "write_query")]),
    )
    .await;
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM Products"]));
    world.model().queue(Reply::text("No."));
    let more = ana.ask_in(&posted.conversation, "Delete").await;
    let transcript = ana.wait_end(&more.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::UnknownFunction]);
    assert!(offers(&world, READ) && !offers(&world, WRITE));
    assert!(results(&last_request(world.model()))[0].contains("no such function"));
    assert!(world.journal().calls.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn in_the_middle_of_a_turn_it_counts_from_the_next_round() {
    let (slow, gate) = slow().await;
    let late = Fake::plain(&[tool("send")]).await;
    let world = build()
        .server("Slow", slow.url())
        .server("Late", late.url())
        .start()
        .await;
    let ana = world.ana();
    world
        .model()
        .queue(Reply::calls([Call::new("Slow__work", &json!({}))]));
    world.model().queue(queries(READ, &["SELECT 1"]));
    world.model().queue(Reply::text("Done."));
    let body = json!({ "off": off(&["Late"], &[]) });
    let posted: Posted = ana.ask_with("Work", &body).await.expect(202).json();
    crate::look::eventually("the call is out", || slow.calls().len() == 1).await;
    assert!(offers(&world, READ) && !offers(&world, "Late__"));
    assert!(late.seen().is_empty());

    select(
        &ana,
        &posted.conversation,
        off(&["Slow"], &[("Database", "read_query")]),
    )
    .await;
    crate::look::eventually("what was switched on is listed", || {
        late.seen().iter().any(|seen| seen.method() == "tools/list")
    })
    .await;
    // What runs is not stopped.
    ana.wait_until(&posted.turn, |turn| {
        turn.servers.iter().any(|server| server.server == "Late")
    })
    .await;
    gate.send_replace(true);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(
        outcomes(&transcript),
        [Outcome::Ok, Outcome::UnknownFunction]
    );
    let offered = functions(&world);
    assert!(offered.contains(&"Late__send".to_owned()), "{offered:?}");
    assert!(!offered.contains(&READ.to_owned()), "{offered:?}");
    assert!(!offers(&world, "Slow__") && offers(&world, WRITE));
    assert!(world.journal().calls.is_empty());
    world.finish().await;
    slow.end().await;
    late.end().await;
}

#[tokio::test]
async fn a_call_that_has_not_begun_when_its_tool_is_switched_off_does_not() {
    let world = World::start().await;
    let ana = world.ana();
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM Products"]));
    world.model().queue(Reply::text("Then not."));
    let posted = ana.ask("Delete").await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    let written = off(&[], &[("Database", "write_query")]);
    select(&ana, &posted.conversation, written).await;
    ana.answer(&posted.turn, question, &Answer::Approve)
        .await
        .expect(202);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::SwitchedOff]);
    let told = results(&last_request(world.model())).remove(0);
    assert!(told.contains("switched this tool off"), "{told}");
    assert!(world.journal().calls.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_restart_keeps_what_is_off() {
    let mail = Fake::plain(&[tool("send")]).await;
    let mut world = World::build()
        .server("Mail", mail.url())
        .start_with_process()
        .await;
    let ana = world.ana();
    let body = json!({ "off": off(&["Mail"], &[]) });
    let before = world.model().received();
    world.model().queue(Reply::hang());
    let posted: Posted = ana.ask_with("Wait", &body).await.expect(202).json();
    world.model().wait_received(before + 1).await;
    world.toolgate().kill().await;
    world.model().queue(Reply::text("Here."));
    world.toolgate().start().await;
    // This brings a token. A page would also look at every server.
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert!(!offers(&world, "Mail__"), "{:?}", functions(&world));
    assert!(mail.seen().is_empty(), "{:?}", mail.seen());
    let kept = ana.conversation(&posted.conversation).await.off;
    let mail_off = Selection {
        servers: ["Mail".to_owned()].into(),
        tools: std::collections::BTreeSet::<Target>::new(),
    };
    assert_eq!(kept, mail_off);
    world.finish().await;
    mail.end().await;
}

#[tokio::test]
async fn a_selection_that_is_none_is_refused() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ask(&world, &ana, &json!({})).await;
    let many: Vec<_> = (0..300).map(|n| format!("s{n}")).collect();
    for wrong in [
        json!({ "servers": many }),
        json!({ "servers": [""] }),
        json!({ "servers": ["x".repeat(1000)] }),
        json!({ "tools": ["write_query"] }),
        json!({ "on": [] }),
        json!("Mail"),
    ] {
        let told = ana.ask_with("Well?", &json!({ "off": wrong })).await;
        problem(&told, 400, "bad_request");
        let path = format!("/api/conversations/{}", posted.conversation);
        let told = ana.patch(&path, &json!({ "off": wrong })).await;
        problem(&told, 400, "bad_request");
    }
    let both = json!({ "conversation": posted.conversation, "off": {} });
    problem(&ana.ask_with("Well?", &both).await, 400, "bad_request");
    assert!(ana.conversation(&posted.conversation).await.off.is_empty());
    world.finish().await;
}
