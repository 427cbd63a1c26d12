//! Light or dark, as somebody chooses: without a reload, and in the first paint of the next page.

use demo::pomerium::DemoUser;
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};

async fn choose(tab: &Tab, theme: &str) {
    let chooser = tab.find("combobox", "Theme").await;
    chooser.focus().await;
    let choose = format!(
        "(() => {{ const chooser = document.activeElement; chooser.value = '{theme}';
           chooser.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    );
    tab.eval(&choose).await;
}

async fn background(tab: &Tab) -> String {
    let colour = tab
        .eval("getComputedStyle(document.body).backgroundColor")
        .await;
    colour.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_chosen_theme_stays_and_does_not_flash() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.look(View::Desk, Scheme::Light).await;
    let light = background(&tab).await;
    let other = ana.open("/").await;
    other.look(View::Desk, Scheme::Light).await;
    choose(&tab, "dark").await;
    let dark = background(&tab).await;
    assert_ne!(light, dark);
    // Every tab of the browser follows.
    other
        .wait_true("document.documentElement.dataset.theme === 'dark'")
        .await;
    assert_eq!(background(&other).await, dark);
    assert_eq!(other.find("combobox", "Theme").await.value().await, "dark");

    // The server knows it: without a script, so from the first paint on, on every page.
    tab.allow("status of 404");
    tab.forbid_scripts().await;
    for path in ["/", "/nowhere"] {
        tab.go(path).await;
        assert_eq!(background(&tab).await, dark, "{path}");
    }
    choose(&other, "light").await;
    other.look(View::Desk, Scheme::Dark).await;
    assert_eq!(background(&other).await, light);
    choose(&other, "system").await;
    assert_eq!(background(&other).await, dark);
    ana.leave().await;
    world.finish().await;
}
