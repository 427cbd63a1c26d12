//! Signed out in the middle: what that session started stops asking servers, and nobody else's
//! token is used for it until its owner comes.

use std::{sync::Arc, time::Duration};

use chat::{
    event::{Event, ParkReason},
    ids::TurnId,
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, Transcript},
};
use demo::{
    model::{Call, ChatRequest, Reply},
    pomerium::DemoUser,
};
use harness::User;
use http::Method;
use serde_json::json;

use super::Program;
use crate::{
    fake::{Fake, tool},
    look::{end, eventually, outcomes},
    servers::build,
    v1::{CHAT, asking, newest_turn},
};

/// Two calls, one after the other, that say from whom they come.
fn two_calls(request: &ChatRequest) -> Reply {
    let messages = request.messages();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    if results.count() == 2 {
        return Reply::text("Done.");
    }
    let question = messages.iter().find(|message| message["role"] == "user");
    let from = question.expect("a question")["content"].clone();
    Reply::calls([Call::new("Fake__work", &json!({ "from": from }))])
}

fn parked(transcript: &Transcript) -> bool {
    let stale = CallState::Parked {
        reason: ParkReason::StaleToken,
    };
    transcript.calls().any(|call| call.state == stale)
}

/// The Pomerium sessions of the calls that came from this turn.
fn sids(fake: &Fake, from: &str) -> Vec<String> {
    let calls = fake.calls().into_iter();
    calls
        .filter(|seen| seen.body["params"]["arguments"]["from"] == from)
        .map(|seen| seen.claim("sid"))
        .collect()
}

async fn resumed(user: &User, turn: &TurnId) -> Vec<Option<String>> {
    let log = user.log(turn).await.into_iter();
    let resumed = log.filter_map(|logged| {
        let Event::CallResumed { sid, .. } = logged.event else {
            return None;
        };
        Some(sid.map(|sid| sid.0))
    });
    resumed.collect()
}

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_a_session_started_waits_when_it_ends_and_the_others_go_on() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build()
        .server("Fake", fake.url())
        .script(Arc::new(two_calls))
        .model_delay(NEVER)
        .start()
        .await;
    let (laptop, phone, ben) = (world.ana(), world.ana(), world.ben());
    let of_laptop = laptop.ask("laptop").await;
    let of_phone = phone.ask("phone").await;
    let of_ben = ben.ask("ben").await;
    world.model().wait_received(3).await;
    let mut page = laptop.page_stream(&of_laptop.conversation).await;

    world.standin().end_session(laptop.sid);
    world.model().set_delay(Duration::ZERO);
    for (user, turn) in [(&phone, &of_phone.turn), (&ben, &of_ben.turn)] {
        assert_eq!(end(&user.wait_end(turn).await), TurnEnd::Answered);
    }
    // The phone reads it, asks about everything else of hers, and Ben does too: none of that is
    // her coming back to it.
    phone.wait_until(&of_laptop.turn, parked).await;
    page.rest().await;
    let page_of_phone = phone.page_stream(&of_phone.conversation).await;
    let bens = ben.page_stream(&of_laptop.conversation).await;
    for user in [&phone, &ben] {
        user.get("/").await.expect(200);
        user.post("/api/servers", &json!({})).await.expect(200);
    }
    laptop.get("/api/session").await.expect(401);
    phone.log(&of_laptop.turn).await;
    let events = phone.events(&of_laptop.turn, 0).await;
    // None of it takes any time: to see that nothing comes of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(parked(&phone.turn(&of_laptop.turn).await));
    assert_eq!(sids(&fake, "laptop"), Vec::<String>::new());
    let own = |user: &User| vec![user.sid.to_string(); 2];
    assert_eq!(sids(&fake, "phone"), own(&phone));
    assert_eq!(sids(&fake, "ben"), own(&ben));
    assert!(resumed(&phone, &of_laptop.turn).await.is_empty());

    // She opens it on her phone.
    let opened = phone.page_stream(&of_laptop.conversation).await;
    let transcript = phone.wait_end(&of_laptop.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(sids(&fake, "laptop"), own(&phone));
    assert_eq!(
        resumed(&phone, &of_laptop.turn).await,
        [Some(phone.sid.to_string())]
    );
    drop((page_of_phone, bens, events, opened));
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_program_that_is_signed_out_borrows_nobodys_session() {
    let fake = Fake::plain(&[tool("work")]).await;
    // A call of the API is parked for a thirtieth of it.
    let world = build()
        .server("Fake", fake.url())
        .script(Arc::new(two_calls))
        .token_life(Duration::from_mins(1))
        .model_delay(NEVER)
        .start()
        .await;
    let (laptop, ben) = (world.ana(), world.ben());
    let program = Program::sign_in(&world, DemoUser::Ana);
    let request = program.request(Method::POST, CHAT).json(&asking("program"));
    let ask = program.user.send(request);
    let signed_out = async {
        world.model().wait_received(1).await;
        let turn = newest_turn(&world);
        world.standin().end_session(program.user.sid);
        world.model().set_delay(Duration::ZERO);
        // Her laptop is at it all the time, and so is Ben.
        laptop
            .wait_until(&turn, |transcript| {
                parked(transcript) || !transcript.is_open()
            })
            .await;
        let seen = || fake.seen().len();
        let before = seen();
        for user in [&laptop, &ben] {
            user.post("/api/servers", &json!({})).await.expect(200);
        }
        eventually("the others' tokens reach the server", || seen() > before).await;
        turn
    };
    let (response, turn) = tokio::join!(ask, signed_out);
    assert_eq!(response.status, 200, "{}", response.body);
    let transcript = laptop.turn(&turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::TokenExpired; 2]);
    assert_eq!(sids(&fake, "program"), Vec::<String>::new());
    let again = program.request(Method::POST, CHAT).json(&asking("again"));
    let again = program.user.send(again).await;
    assert_eq!(again.status, 401, "{}", again.body);
    world.finish().await;
    fake.end().await;
}
