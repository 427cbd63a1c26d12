//! A question, and what the page shows of its answer.

use demo::pomerium::DemoUser;
use harness::{World, browser::Visitor};

use super::SALES;

#[tokio::test]
async fn the_sales_question_from_sign_in_to_the_table() {
    let world = World::start().await;
    let ana = Visitor::arrive(&world).await;
    let tab = ana.open("/").await;
    tab.sign_in(DemoUser::Ana).await;
    tab.wait_text("What do you want to know?").await;
    tab.ask(SALES).await;
    tab.find("region", "Read query").await;
    tab.find("table", "").await;
    tab.wait_end().await;
    println!("{}", tab.text().await);
    ana.leave().await;
    world.finish().await;
}
