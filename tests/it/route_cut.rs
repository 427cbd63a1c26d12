//! Toolgate's own route without `timeout: 0s`.

use std::time::Duration;

use demo::Answers;
use harness::{User, World};
use http::{Method, header};

/// Longer than Pomerium lets an answer take.
const OVER_30_S: Duration = Duration::from_mins(1);

const SAID: &str = "Pomerium cuts Toolgate’s answers after 30 seconds";

async fn page_says_so(user: &User) -> bool {
    let request = user
        .request(Method::GET, "/")
        .header(header::ACCEPT, "text/html");
    let page = user.send(request).await.expect(200).body;
    page.contains(SAID)
}

async fn until_it_ends(user: &User) {
    let mut stream = user.stream("/api/events").await;
    let ends = async { while let Some(Some(_)) = stream.next_within(OVER_30_S).await {} };
    tokio::time::timeout(OVER_30_S, ends).await.unwrap();
}

#[tokio::test]
async fn a_route_that_cuts_answers_at_30_s_is_recognised_by_whom_it_happens_to() {
    let cut = |options: &mut demo::Options| options.answers = Answers::Cut;
    let world = World::build().options(cut).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    tokio::join!(until_it_ends(&ana), until_it_ends(&ana));
    assert!(page_says_so(&ana).await);
    assert!(!page_says_so(&ben).await, "it may be a proxy of hers");
    world.finish().await;
}
