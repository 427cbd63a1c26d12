//! Posting messages: what is refused and how, what is harmless twice, and who may have how many.

use chat::{ids::TurnId, limits::MESSAGE_BYTES, outcome::TurnEnd, transcript::CallState};
use demo::model::Reply;
use futures_util::future::join_all;
use harness::{Posted, Response, User, World};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::look::{SALES, WRITE, accepted, ask_in_vain, end, outcomes, problem, queries};

const URL: &str = "/api/messages";

fn message(text: &str) -> Value {
    json!({ "message_id": Uuid::now_v7(), "message": text })
}

async fn conversations(user: &User) -> Vec<Value> {
    user.get_json("/api/conversations").await
}

/// Nothing came of a refused message.
async fn assert_nothing_happened(world: &World, user: &User) {
    assert_eq!(conversations(user).await, [] as [Value; 0]);
    assert_eq!(world.model().received(), 0);
    assert_eq!(world.journal().calls.len(), 0);
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_words() {
    let world = World::start().await;
    let ana = world.ana();
    let raw = async |body: String| {
        let request = ana
            .request(Method::POST, URL)
            .header("content-type", "application/json");
        ana.send(request.body(body)).await
    };
    let longest = "x".repeat(MESSAGE_BYTES);
    // The second is so long that it is not even kept until it can be read.
    for body in [format!("{longest}x"), longest.repeat(12)] {
        let refused = problem(&ana.post(URL, &message(&body)).await, 413, "too_large");
        assert!(refused.detail.contains("256 KiB"), "{refused:?}");
        assert!(refused.advice.contains("Shorten"), "{refused:?}");
    }
    for body in [
        message(""),
        message(" \n\t"),
        json!({ "message_id": "", "message": "Hello" }),
        json!({ "message_id": "x".repeat(65), "message": "Hello" }),
        json!({ "message_id": "ünique", "message": "Hello" }),
        json!({ "message": "Hello" }),
        json!({ "message_id": "one" }),
        json!({ "message_id": "one", "message": 1 }),
        json!({ "message_id": "one", "message": "Hello", "colour": "blue" }),
        json!([]),
    ] {
        problem(&raw(body.to_string()).await, 400, "bad_request");
    }
    for body in [
        "",
        "{",
        "{\"message_id\": \"one\", \"message\": \"Hel",
        "\u{0}",
        "hello",
    ] {
        problem(&raw(body.to_owned()).await, 400, "bad_request");
    }
    let nowhere = json!({
        "message_id": "one", "message": "Hello", "conversation": Uuid::now_v7(),
    });
    problem(&ana.post(URL, &nowhere).await, 404, "not_found");
    let nonsense = json!({ "message_id": "one", "message": "Hello", "conversation": "../etc" });
    problem(&ana.post(URL, &nonsense).await, 404, "not_found");
    assert_nothing_happened(&world, &ana).await;

    // The longest that is allowed, each byte escaped.
    let escaped = format!(
        "{{\"message_id\": \"long\", \"message\": \"{}\"}}",
        "\\u0041".repeat(MESSAGE_BYTES)
    );
    let posted: Posted = raw(escaped).await.expect(202).json();
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(transcript.started.unwrap().message.len(), MESSAGE_BYTES);
    world.finish().await;
}

#[tokio::test]
async fn urls_that_lead_nowhere_say_so() {
    let world = World::start().await;
    let ana = world.ana();
    let turn = Uuid::now_v7();
    for path in [
        format!("/api/turns/{turn}"),
        format!("/api/turns/{turn}/events"),
        format!("/api/turns/{turn}/calls/1/result"),
        "/api/turns/nonsense".to_owned(),
        format!("/api/conversations/{turn}"),
        "/api/nothing".to_owned(),
    ] {
        problem(&ana.get(&path).await, 404, "not_found");
    }
    let answer = json!({ "kind": "approve" });
    for path in [
        format!("/api/turns/{turn}/cancel"),
        format!("/api/turns/{turn}/questions/1"),
    ] {
        problem(&ana.post(&path, &answer).await, 404, "not_found");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_same_message_again_is_the_same_turn() {
    let world = World::start().await;
    let ana = world.ana();
    let body = message(SALES);
    let first: Posted = ana.post(URL, &body).await.expect(202).json();
    let second: Posted = ana.post(URL, &body).await.expect(202).json();
    assert_eq!(first, second);
    ana.wait_end(&first.turn).await;
    let third: Posted = ana.post(URL, &body).await.expect(202).json();
    assert_eq!(first, third);

    let body = message(SALES);
    let at_once = join_all((0..10).map(|_| ana.post(URL, &body))).await;
    let turns: Vec<Posted> = at_once.into_iter().map(|r| r.expect(202).json()).collect();
    assert!(turns.iter().all(|posted| *posted == turns[0]), "{turns:?}");
    assert_ne!(turns[0], first);
    ana.wait_end(&turns[0].turn).await;

    // The ids are each user's own.
    let bens: Posted = world.ben().post(URL, &body).await.expect(202).json();
    assert_ne!(bens, turns[0]);
    world.ben().wait_end(&bens.turn).await;
    assert_eq!(conversations(&ana).await.len(), 2);
    assert_eq!(world.journal().calls.len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_finds_its_turn_also_at_a_limit() {
    let world = World::build()
        .setting("TOOLGATE_MAX_TURNS_PER_USER", "1")
        .start()
        .await;
    let ana = world.ana();
    world.model().queue(Reply::hang());
    let body = message("Hello");
    let first: Posted = ana.post(URL, &body).await.expect(202).json();
    let again: Posted = ana.post(URL, &body).await.expect(202).json();
    assert_eq!(first, again);
    stop(&ana, &first.turn).await;
    world.finish().await;
}

#[tokio::test]
async fn a_second_message_waits_for_its_turn_and_is_not_lost() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ask_in_vain(&world, &ana, "First").await;
    let second = json!({
        "message_id": Uuid::now_v7(), "message": "Second", "conversation": posted.conversation,
    });
    let busy = problem(&ana.post(URL, &second).await, 409, "busy");
    assert_eq!(busy.turn.as_ref(), Some(&posted.turn));
    assert!(busy.advice.contains("send again"), "{busy:?}");
    assert_eq!(ana.conversation(&posted.conversation).await.turns.len(), 1);
    stop(&ana, &posted.turn).await;

    let sent: Posted = ana.post(URL, &second).await.expect(202).json();
    assert_eq!(sent.conversation, posted.conversation);
    let transcript = ana.wait_end(&sent.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    let started = transcript.started.unwrap();
    assert_eq!(
        (started.message.as_str(), started.parent),
        ("Second", Some(posted.turn))
    );

    // Ten at once: one wins, the others are told which one.
    world.model().queue(Reply::hang());
    let bodies: Vec<_> = (0..10)
        .map(|n| {
            json!({
                "message_id": Uuid::now_v7(), "message": format!("Third {n}"),
                "conversation": posted.conversation,
            })
        })
        .collect();
    let answers = join_all(bodies.iter().map(|body| ana.post(URL, body))).await;
    let (won, lost): (Vec<Response>, _) =
        answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(won.len(), 1, "{won:?}");
    let won: Posted = won[0].json();
    for lost in lost {
        assert_eq!(problem(&lost, 409, "busy").turn.as_ref(), Some(&won.turn));
    }
    stop(&ana, &won.turn).await;
    assert_eq!(ana.conversation(&posted.conversation).await.turns.len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn each_limit_of_turns_at_once_says_which_it_is() {
    let world = World::build()
        .setting("TOOLGATE_MAX_TURNS_PER_USER", "1")
        .setting("TOOLGATE_MAX_TURNS", "2")
        .start()
        .await;
    let (ana, ben) = (world.ana(), world.ben());
    let anas = ask_in_vain(&world, &ana, "First").await;
    let own = problem(
        &ana.post(URL, &message("Second")).await,
        429,
        "too_many_turns",
    );
    assert!(own.detail.contains("1 of your conversations"), "{own:?}");
    assert!(!own.advice.is_empty());
    assert_eq!(conversations(&ana).await.len(), 1);

    let bens = ask_in_vain(&world, &ben, "First").await;
    let all = problem(
        &ben.post(URL, &message("Second")).await,
        429,
        "too_many_turns",
    );
    assert!(all.detail.contains("Toolgate is answering 2"), "{all:?}");
    stop(&ana, &anas.turn).await;
    stop(&ben, &bens.turn).await;

    // At once, too.
    world.model().queue(Reply::hang());
    let bodies: Vec<_> = (0..10).map(|n| message(&format!("Race {n}"))).collect();
    let answers = join_all(bodies.iter().map(|body| ana.post(URL, body))).await;
    let won: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 202)
        .collect();
    assert_eq!(won.len(), 1, "{answers:#?}");
    stop(&ana, &won[0].json::<Posted>().turn).await;
    world.finish().await;
}

#[tokio::test]
async fn turns_that_wait_for_a_person_do_not_count() {
    let world = World::build()
        .setting("TOOLGATE_MAX_TURNS_PER_USER", "1")
        .setting("TOOLGATE_MAX_TURNS", "1")
        .start()
        .await;
    let ana = world.ana();
    let mut asking = Vec::new();
    for _ in 0..3 {
        world
            .model()
            .queue(queries(WRITE, &["DELETE FROM products"]));
        let posted = ana.ask("Delete everything").await;
        ana.wait_question(&posted.turn).await;
        asking.push(posted);
    }
    let posted = ana.ask(SALES).await;
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Answered);
    for posted in asking {
        stop(&ana, &posted.turn).await;
    }
    assert_eq!(world.journal().calls.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn what_another_site_makes_a_browser_send_does_nothing() {
    let world = World::start().await;
    let ana = world.ana();
    let body = message(SALES).to_string();
    let json = ("content-type", "application/json");
    for headers in [
        vec![json, ("origin", "http://evil.example")],
        vec![json, ("origin", "null")],
        vec![json, ("origin", "http://chat.localhost.evil.example")],
        vec![json, ("sec-fetch-site", "cross-site")],
        vec![
            json,
            ("sec-fetch-site", "same-site"),
            ("origin", ana.origin.as_str()),
        ],
        vec![
            json,
            ("origin", ana.origin.as_str()),
            ("origin", "http://evil.example"),
        ],
        vec![json, ("content-type", "text/plain")],
        vec![("content-type", "text/plain")],
        vec![("content-type", "text/plain; application/json")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "multipart/form-data; boundary=x")],
        vec![],
    ] {
        let refused = post_with(&ana, URL, &headers, &body).await;
        let refused = problem(&refused, 403, "cross_site");
        assert!(refused.detail.contains("another site"), "{refused:?}");
    }
    assert_nothing_happened(&world, &ana).await;

    // Neither stops a turn nor approves a call.
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM products"]));
    let posted = ana.ask("Delete everything").await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    let evil = [json, ("origin", "http://evil.example")];
    let approve = format!("/api/turns/{}/questions/{question}", posted.turn);
    let refused = post_with(&ana, &approve, &evil, "{\"kind\": \"approve\"}").await;
    problem(&refused, 403, "cross_site");
    let cancel = format!("/api/turns/{}/cancel", posted.turn);
    for headers in [&evil[..], &[("content-type", "text/plain")]] {
        problem(
            &post_with(&ana, &cancel, headers, "{}").await,
            403,
            "cross_site",
        );
    }
    let transcript = ana.turn(&posted.turn).await;
    let call = transcript.calls().next().unwrap();
    assert_eq!(call.state, CallState::Asking { question });
    assert_eq!(transcript.cancelling, None);

    // The page itself and programs may.
    let own = [
        json,
        ("origin", ana.origin.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    accepted(&post_with(&ana, &cancel, &own, "{}").await);
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Cancelled);
    world.finish().await;
}

#[tokio::test]
async fn markup_comes_back_as_it_was_written() {
    const HOSTILE: &str = "</script><script>alert(\"title\")</script> & <b>bold</b> \u{202e}é🙂";
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(Reply::text(HOSTILE));
    let posted = ana.ask(HOSTILE).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(transcript.started.as_ref().unwrap().message, HOSTILE);
    assert_eq!(crate::look::answer(&transcript), HOSTILE);
    assert!(outcomes(&transcript).is_empty());
    let conversation = ana.conversation(&posted.conversation).await;
    // A title is one line of plain text, which nothing in it may turn around.
    let title = HOSTILE.replace('\u{202e}', "");
    assert_eq!(conversation.title, title);
    assert_eq!(conversations(&ana).await[0]["title"], title);
    let response = ana
        .get(&format!("/api/conversations/{}", posted.conversation))
        .await;
    assert_eq!(response.headers["content-type"], "application/json");
    assert_eq!(response.headers["x-content-type-options"], "nosniff");
    let asked = world.model().requests()[0].messages();
    assert_eq!(asked.last().unwrap()["content"], HOSTILE);
    world.finish().await;
}

async fn post_with(user: &User, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut request = user.request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    user.send(request.body(body.to_owned())).await
}

async fn stop(user: &User, turn: &TurnId) {
    accepted(&user.cancel(turn).await);
    assert_eq!(end(&user.wait_end(turn).await), TurnEnd::Cancelled);
}
