//! An empty conversation.

use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Scheme, View, Visitor},
};

use super::SALES;

#[tokio::test]
async fn it_greets_by_name_and_a_question_is_asked_by_pressing_it() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text(&format!("Hello, {}.", DemoUser::Ana.name()))
        .await;
    tab.find("button", "Raise prices by 5 %").await;
    tab.write("a draft").await;
    tab.look(View::Phone, Scheme::Light).await;
    tab.keep_picture("greeting-phone").await;
    tab.look(View::Desk, Scheme::Light).await;
    tab.keep_picture("greeting").await;
    tab.click("button", SALES).await;
    tab.find("table", "").await;
    tab.wait_end().await;
    tab.wait_no_text("Hello, ").await;
    assert_eq!(
        tab.find("textbox", "Message").await.value().await,
        "a draft"
    );
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn without_a_setting_it_asks_about_the_servers_there_are() {
    let world = World::build()
        .setting("TOOLGATE_EXAMPLES", "\n")
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.find("button", "What is in Database? Give me a short overview.")
        .await;
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn a_question_that_could_not_be_asked_is_in_the_box() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.allow("ERR_INTERNET_DISCONNECTED");
    tab.find("button", SALES).await;
    tab.set_offline(harness::browser::Offline::Yes).await;
    tab.click("button", SALES).await;
    let alert = tab.find("alert", "").await.text().await;
    assert!(alert.contains("could not be reached"), "{alert}");
    assert_eq!(tab.find("textbox", "Message").await.value().await, SALES);
    tab.set_offline(harness::browser::Offline::No).await;
    ana.leave().await;
    world.finish().await;
}
