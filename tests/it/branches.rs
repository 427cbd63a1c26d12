//! Questions edited and asked again: each begins a branch, whose model requests hold what that
//! branch says and nothing else. And which model answers.

use std::slice;

use chat::{
    ids::{ConversationId, TurnId},
    outcome::TurnEnd,
};
use demo::model::{CapturedRequest, Reply};
use harness::{Conversation, Posted, User, World};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::look::{answer, ask_in_vain, end, last_request, problem};

/// Asks and waits for the answer, which is made of the question.
async fn ask(world: &World, user: &User, text: &str, body: Value) -> Posted {
    world.model().queue(Reply::text(format!("On {text}.")));
    let posted: Posted = user.ask_with(text, &body).await.expect(202).json();
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(answer(&transcript), format!("On {text}."));
    posted
}

/// What people and the model say in a request.
fn said(request: &CapturedRequest) -> Vec<String> {
    let messages = request.messages().into_iter();
    messages
        .filter(|message| message["role"] != "system")
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

async fn branch(user: &User, conversation: &ConversationId, through: &TurnId) -> Conversation {
    user.get_json(&format!("/api/conversations/{conversation}?turn={through}"))
        .await
}

fn turns(conversation: &Conversation) -> Vec<&TurnId> {
    conversation.turns.iter().map(|turn| &turn.id).collect()
}

#[tokio::test]
async fn a_branch_is_asked_with_its_own_turns_only() {
    let world = World::start().await;
    let ana = world.ana();
    let one = ask(&world, &ana, "one", json!({})).await;
    let conversation = one.conversation.clone();
    let here = |more: Value| {
        let mut body = json!({ "conversation": conversation });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let two = ask(&world, &ana, "two", here(json!({}))).await;
    assert_eq!(
        said(&last_request(world.model())),
        ["one", "On one.", "two"]
    );
    let edited = ask(&world, &ana, "two!", here(json!({ "edits": two.turn }))).await;
    assert_eq!(
        said(&last_request(world.model())),
        ["one", "On one.", "two!"]
    );

    // The newest branch is the edited one; the other is there, and goes on.
    let newest = ana.conversation(&conversation).await;
    assert_eq!(turns(&newest), [&one.turn, &edited.turn]);
    let both = [two.turn.clone(), edited.turn.clone()];
    assert_eq!(newest.turns[1].siblings, both);
    assert_eq!(newest.turns[0].siblings, slice::from_ref(&one.turn));
    let old = branch(&ana, &conversation, &two.turn).await;
    assert_eq!(turns(&old), [&one.turn, &two.turn]);
    assert_eq!(old.turns[1].siblings, both);
    let three = ask(&world, &ana, "three", here(json!({ "after": two.turn }))).await;
    assert_eq!(
        said(&last_request(world.model())),
        ["one", "On one.", "two", "On two.", "three"]
    );
    let four = ask(&world, &ana, "four", here(json!({}))).await;
    assert_eq!(said(&last_request(world.model())).len(), 7);
    let old = branch(&ana, &conversation, &two.turn).await;
    assert_eq!(turns(&old), [&one.turn, &two.turn, &three.turn, &four.turn]);

    // The first question, asked again as it was: nothing stands before it.
    let again = ask(&world, &ana, "one", here(json!({ "edits": one.turn }))).await;
    assert_eq!(said(&last_request(world.model())), ["one"]);
    let newest = ana.conversation(&conversation).await;
    assert_eq!(turns(&newest), [&again.turn]);
    assert_eq!(newest.turns[0].siblings, [one.turn.clone(), again.turn]);
    assert_eq!(newest.title, "one");
    world.finish().await;
}

#[tokio::test]
async fn after_an_error_the_same_question_takes_the_place_of_the_failed_one() {
    let world = World::start().await;
    let ana = world.ana();
    let refused = Reply::error(400, "invalid_request_error", "No.");
    world.model().queue(refused);
    let failed = ana.ask("Why?").await;
    let transcript = ana.wait_end(&failed.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Failed);
    let body = json!({ "conversation": failed.conversation, "edits": failed.turn });
    let retried = ask(&world, &ana, "Why?", body).await;
    assert_eq!(said(&last_request(world.model())), ["Why?"]);
    let newest = ana.conversation(&failed.conversation).await;
    assert_eq!(newest.turns[0].siblings, [failed.turn, retried.turn]);
    world.finish().await;
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ask(&world, &ana, "one", json!({})).await;
    let other = ask(&world, &ana, "other", json!({})).await;
    let (conversation, turn) = (&posted.conversation, &posted.turn);
    for (body, status, code) in [
        (
            json!({ "conversation": conversation, "edits": turn, "after": turn }),
            400,
            "bad_request",
        ),
        (json!({ "edits": turn }), 400, "bad_request"),
        (json!({ "after": turn }), 400, "bad_request"),
        (
            json!({ "conversation": conversation, "after": other.turn }),
            404,
            "not_found",
        ),
        (
            json!({ "conversation": conversation, "edits": Uuid::now_v7() }),
            404,
            "not_found",
        ),
        (
            json!({ "conversation": conversation, "edits": 1 }),
            400,
            "bad_request",
        ),
    ] {
        let asked = world.model().received();
        problem(&ana.ask_with("two", &body).await, status, code);
        assert_eq!(world.model().received(), asked, "{body}");
    }
    let body = json!({ "conversation": conversation, "edits": turn });
    let ben = world.ben().ask_with("Mine", &body).await;
    problem(&ben, 404, "not_found");

    // One turn runs in a conversation, whatever the branch.
    let running = ask_in_vain(&world, &ana, "hang").await;
    let body = json!({ "conversation": running.conversation, "edits": running.turn });
    let busy = problem(&ana.ask_with("hang!", &body).await, 409, "busy");
    assert_eq!(busy.turn.as_ref(), Some(&running.turn));
    ana.cancel(&running.turn).await.expect(202);
    ana.wait_end(&running.turn).await;
    world.finish().await;
}

#[tokio::test]
async fn an_id_of_a_message_is_for_one_text() {
    let world = World::start().await;
    let ana = world.ana();
    let id = json!({ "message_id": "m1" });
    let posted = ask(&world, &ana, "one", id.clone()).await;
    let again: Posted = ana.ask_with("one", &id).await.expect(202).json();
    assert_eq!(again, posted);
    let told = problem(&ana.ask_with("two", &id).await, 409, "conflict");
    assert!(told.detail.contains("another message"), "{told:?}");
    let rows: Vec<Value> = ana.get_json("/api/conversations").await;
    assert_eq!(rows.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn the_chosen_model_answers_and_stays_with_its_branch() {
    let world = World::build()
        .options(|options| {
            options.model.models = ["big", "small", "other"].map(str::to_owned).to_vec();
        })
        .start()
        .await;
    let ana = world.ana();
    let choices: Value = ana.get_json("/api/models").await;
    assert_eq!(choices["models"], json!(["big", "small", "other"]));
    assert_eq!(choices["default"], "big");
    let asked = || last_request(world.model()).json()["model"].clone();

    let one = ask(&world, &ana, "one", json!({ "model": "small" })).await;
    assert_eq!(asked(), "small");
    let here = json!({ "conversation": one.conversation });
    ask(&world, &ana, "two", here.clone()).await;
    assert_eq!(asked(), "small");
    let mut other = here.clone();
    other["model"] = json!("other");
    let three = ask(&world, &ana, "three", other).await;
    assert_eq!(asked(), "other");
    // By the branch, not by the conversation.
    let mut after = here;
    after["after"] = json!(one.turn);
    ask(&world, &ana, "two again", after).await;
    assert_eq!(asked(), "small");
    let started = ana.turn(&three.turn).await.started.unwrap();
    assert_eq!(started.model, "other");
    ask(&world, &ana, "anew", json!({})).await;
    assert_eq!(asked(), "big");

    for model in [
        json!("huge"),
        json!(""),
        json!("BIG"),
        json!("x".repeat(10_000)),
    ] {
        let told = ana.ask_with("one", &json!({ "model": model })).await;
        let told = problem(&told, 400, "model_not_found");
        assert!(told.detail.len() < 300, "{told:?}");
    }
    world.finish().await;
}
