//! Assertions and tokens that were stolen, and are sent to Toolgate's own port in a new mixture.
//!
//! Whoever holds a person's assertion and gets around Pomerium is that person to Toolgate for as
//! long as it lives: that nobody gets there is what the deployment is for. What is held here is
//! that it goes no further: a token is kept under the one whom the assertion names and nobody else,
//! gives the person's calls no rights but its own, and the person's next request puts it right.

use std::time::Duration;

use chat::{
    event::{Event, Logged, ParkReason},
    outcome::{Outcome, TurnEnd},
};
use demo::model::{Call, Reply};
use harness::{Posted, User, World};
use http::Method;
use serde_json::json;

use super::{ASSERTION, CHAT_HOST, Direct};
use crate::{
    fake::{Fake, tool},
    look::{end, outcomes},
    servers::build,
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

/// A world in which a call of Ana's is about to be asked for.
struct Scene {
    world: World,
    fake: Fake,
    direct: Direct,
    ana: User,
    ben: User,
}

impl Scene {
    async fn set() -> Self {
        let fake = Fake::plain(&[tool("work")]).await;
        let mut world = build()
            .server("Fake", fake.url())
            .model_delay(NEVER)
            .start_with_process()
            .await;
        let direct = Direct::to(&mut world);
        let (ana, ben) = (world.ana(), world.ben());
        Self {
            world,
            fake,
            direct,
            ana,
            ben,
        }
    }

    /// A turn of the user's that stands before its first call.
    async fn before_a_call(&self, user: &User) -> Posted {
        let model = self.world.model();
        model.set_delay(NEVER);
        model.queue(Reply::calls([Call::new("Fake__work", &json!({}))]));
        model.queue(Reply::text("Done."));
        let before = model.received();
        let posted = user.ask("Work").await;
        model.wait_received(before + 1).await;
        posted
    }

    fn go_on(&self) {
        self.world.model().set_delay(Duration::ZERO);
    }

    /// A request around Pomerium as `who`, with this for their token.
    async fn send(&self, who: &User, authorization: &str) {
        let assertion = self.world.standin().assertion(who.sid, CHAT_HOST);
        let request = self
            .direct
            .request(Method::GET, "/api/session")
            .header(ASSERTION, assertion.unwrap())
            .header("authorization", authorization);
        who.send(request).await.expect(200);
    }

    fn bearer(&self, of: &User) -> String {
        format!("Bearer {}", self.world.standin().issue_te(of.sid).unwrap())
    }

    /// In whose sessions the calls came, in their order.
    fn sids(&self) -> Vec<String> {
        let calls = self.fake.calls();
        calls.iter().map(|seen| seen.claim("sid")).collect()
    }

    async fn end(self) {
        self.world.finish().await;
        self.fake.end().await;
    }
}

fn parkings(log: &[Logged]) -> usize {
    let stale = ParkReason::StaleToken;
    let parked =
        |it: &&Logged| matches!(&it.event, Event::CallParked { reason, .. } if *reason == stale);
    log.iter().filter(parked).count()
}

#[tokio::test]
async fn anas_assertion_with_bens_token_gives_her_call_his_rights_until_she_is_back() {
    let scene = Scene::set().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let posted = scene.before_a_call(ana).await;
    let bens = scene.bearer(ben);
    scene.send(ana, &bens).await;
    scene.go_on();
    // Nobody looks, for that would bring a token of hers.
    let fake = &scene.fake;
    crate::look::eventually("the call", || fake.calls().len() == 1).await;
    // The worst: it ran as him who sent the token, with what is his and none of hers.
    assert_eq!(scene.sids(), [ben.sid.to_string()]);
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Answered);

    // She looked: from then on it is hers again, and it never was for her other session or for him.
    let phone = scene.world.ana();
    for user in [ana, &phone, ben] {
        let posted = scene.before_a_call(user).await;
        scene.go_on();
        assert_eq!(end(&user.wait_end(&posted.turn).await), TurnEnd::Answered);
        assert_eq!(scene.sids().last(), Some(&user.sid.to_string()));
    }
    scene.end().await;
}

#[tokio::test]
async fn bens_assertion_with_anas_token_does_nothing_to_her() {
    let scene = Scene::set().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let posted = scene.before_a_call(ana).await;
    let hers = scene.bearer(ana);
    scene.send(ben, &hers).await;
    let phone = scene.world.ana();
    let of_phone = scene.bearer(&phone);
    scene.send(ben, &of_phone).await;
    scene.go_on();
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Answered);
    assert_eq!(scene.sids(), [ana.sid.to_string()]);
    // His own next request takes it from him again.
    let posted = scene.before_a_call(ben).await;
    scene.go_on();
    assert_eq!(end(&ben.wait_end(&posted.turn).await), TurnEnd::Answered);
    assert_eq!(scene.sids().last(), Some(&ben.sid.to_string()));
    scene.end().await;
}

#[tokio::test]
async fn garbage_in_place_of_a_token_parks_a_call_until_she_is_back() {
    let scene = Scene::set().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let ended = scene.world.ben();
    let of_ended = scene.bearer(&ended);
    scene.world.standin().end_session(ended.sid);
    let recalled = scene.bearer(ana);
    scene.world.standin().recall_tes(ana.sid);
    for garbage in ["Bearer garbage", &of_ended, &recalled, "bearer \u{21}"] {
        let before = scene.sids().len();
        let posted = scene.before_a_call(ana).await;
        let mut page = ana.page_stream(&posted.conversation).await;
        let mut log = ana.events(&posted.turn, 0).await;
        scene.send(ana, garbage).await;
        scene.go_on();
        log.until(|frame| frame.event == "call.parked").await;
        assert_eq!(scene.sids().len(), before, "it did not run with {garbage}");
        // Her page is asked to come back, which it does, with a token of hers.
        page.rest().await;
        let page = ana.page_stream(&posted.conversation).await;
        log.rest().await;
        let transcript = ana.turn(&posted.turn).await;
        assert_eq!(end(&transcript), TurnEnd::Answered);
        assert_eq!(outcomes(&transcript), [Outcome::Ok]);
        assert_eq!(parkings(&ana.log(&posted.turn).await), 1, "{garbage}");
        assert_eq!(scene.sids().len(), before + 1);
        assert_eq!(scene.sids().last(), Some(&ana.sid.to_string()));
        drop(page);
    }
    // Others did not notice.
    let posted = scene.before_a_call(ben).await;
    scene.send(ana, "Bearer garbage").await;
    scene.go_on();
    assert_eq!(end(&ben.wait_end(&posted.turn).await), TurnEnd::Answered);
    assert_eq!(parkings(&ben.log(&posted.turn).await), 0);
    scene.end().await;
}

#[tokio::test]
async fn what_is_no_token_takes_hers_from_nobody() {
    let scene = Scene::set().await;
    let ana = &scene.ana;
    let posted = scene.before_a_call(ana).await;
    for none in ["", "Bearer", "Bearer ", "Basic YW5hOmFuYQ==", "Digest x"] {
        scene.send(ana, none).await;
    }
    let assertion = scene.world.standin().assertion(ana.sid, CHAT_HOST).unwrap();
    let request = scene.direct.request(Method::GET, "/api/session");
    ana.send(request.header(ASSERTION, assertion))
        .await
        .expect(200);
    scene.go_on();
    let fake = &scene.fake;
    crate::look::eventually("the call", || fake.calls().len() == 1).await;
    assert_eq!(scene.sids(), [ana.sid.to_string()]);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(parkings(&ana.log(&posted.turn).await), 0);
    scene.end().await;
}

#[tokio::test]
async fn a_flood_of_garbage_costs_a_call_at_most_and_nothing_after_it() {
    let scene = Scene::set().await;
    let ana = &scene.ana;
    let posted = scene.before_a_call(ana).await;
    let flood = async {
        loop {
            scene.send(ana, "Bearer garbage").await;
        }
    };
    let held_out = async {
        for _ in 0..5 {
            scene.send(ana, "Bearer garbage").await;
        }
        scene.go_on();
        ana.wait_end(&posted.turn).await
    };
    let transcript = tokio::select! {
        transcript = held_out => transcript,
        () = flood => unreachable!("it has no end"),
    };
    // Between two of them a token of hers may have come through.
    assert_eq!(end(&transcript), TurnEnd::Answered);
    let call = transcript.calls().next().unwrap();
    match outcomes(&transcript)[..] {
        [Outcome::Ok] => assert_eq!(scene.sids(), [ana.sid.to_string()]),
        [Outcome::TokenExpired] => {
            assert_eq!(scene.sids(), Vec::<String>::new());
            assert!(call.shown.contains("token expired"), "{}", call.shown);
        }
        _ => panic!("{call:#?}"),
    }
    assert!(parkings(&ana.log(&posted.turn).await) <= 2);
    let before = scene.sids().len();
    let posted = scene.before_a_call(ana).await;
    scene.go_on();
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(scene.sids()[before..], [ana.sid.to_string()]);
    scene.end().await;
}
