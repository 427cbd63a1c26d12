//! The harness: what goes wrong in a tab is noticed.

use harness::{World, browser::Visitor};

#[tokio::test]
async fn all_trouble_is_noticed() {
    let world = World::start().await;
    let visitor = Visitor::arrive(&world).await;
    let tab = visitor.open("/").await;
    assert_eq!(tab.troubles().await, <[String; 0]>::default());
    for (provoke, noticed) in [
        ("console.error('a cry')", "a cry"),
        ("console.warn('a sigh')", "a sigh"),
        ("setTimeout(() => { throw new Error('a fall') })", "a fall"),
        ("Promise.reject(new Error('a stumble')) && 0", "a stumble"),
        ("fetch('/static/nothing').then(() => 0)", "404"),
        (
            "fetch('http://elsewhere.test/').catch(() => 0)",
            "http://elsewhere.test/",
        ),
    ] {
        tab.eval(provoke).await;
        let troubles = tab.troubles().await;
        assert!(
            troubles.iter().any(|trouble| trouble.contains(noticed)),
            "{provoke}: {troubles:?}"
        );
    }
    tab.allow("");
    visitor.leave().await;
    world.finish().await;
}
