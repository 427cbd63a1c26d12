//! What a conversation is answered with: the model, and the servers and tools that are offered.

use demo::{
    model::{CapturedRequest, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Key, Scheme, Tab, View, Visitor},
};

use super::SALES;
use crate::look::last_request;

/// The names of the functions that a model was offered.
fn functions(request: &CapturedRequest) -> Vec<String> {
    let body = request.json();
    let tools = body["tools"].as_array().into_iter().flatten();
    tools
        .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Opens a server's row in the list.
async fn open_server(tab: &Tab, name: &str) {
    tab.wait_text(name).await;
    let open = format!(
        "[...document.querySelectorAll('#servers details')].find((d) => d.querySelector('.name').textContent === {name:?}).open = true"
    );
    tab.eval(&open).await;
}

#[tokio::test]
async fn a_model_is_chosen_and_remembered() {
    let world = World::build()
        .options(|options| {
            options.model.models = vec!["first-model".to_owned(), "second-model".to_owned()];
        })
        .start()
        .await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    let select = tab.find("combobox", "Model").await;
    assert_eq!(select.value().await, "first-model");
    tab.find("combobox", "Model").await.focus().await;
    tab.insert("s").await;
    let choose = "(() => { const s = document.getElementById('model'); s.value = 'second-model';
                  s.dispatchEvent(new Event('change', { bubbles: true })); })()";
    tab.eval(choose).await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    assert_eq!(last_request(world.model()).json()["model"], "second-model");
    tab.keep_picture("models").await;

    // The conversation keeps its own, new chats begin with what was chosen last.
    let conversation = tab.path().await;
    tab.click("link", "New chat").await;
    tab.find("heading", "New chat").await;
    let select = tab.find("combobox", "Model").await;
    assert_eq!(select.value().await, "second-model");
    tab.eval(&choose.replace("second", "first")).await;
    tab.go(&conversation).await;
    let select = tab.find("combobox", "Model").await;
    assert_eq!(select.value().await, "second-model");
    tab.ask("Hello").await;
    tab.wait_end().await;
    assert_eq!(last_request(world.model()).json()["model"], "second-model");
    ana.leave().await;
    world.finish().await;
}

#[tokio::test]
async fn servers_and_tools_are_switched_off_and_on() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.wait_text("5 tools").await;
    open_server(&tab, "Database").await;
    // For the first message of a new chat.
    tab.click("checkbox", "Offer Write query in this conversation")
        .await;
    tab.wait_text("4 of 5 tools").await;
    tab.keep_picture("tools-off").await;
    tab.ask(SALES).await;
    tab.wait_end().await;
    let offered = functions(&last_request(world.model()));
    assert!(offered.contains(&super::READ.to_owned()), "{offered:?}");
    assert!(
        !offered.iter().any(|name| name.contains("write_query")),
        "{offered:?}"
    );
    tab.reload().await;
    tab.wait_text("4 of 5 tools").await;

    // The whole server, without a mouse, and seen in another tab.
    let other = ana.open(&tab.path().await).await;
    let switch = "Offer Database in this conversation";
    tab.find("switch", switch).await.focus().await;
    tab.press(Key::Space).await;
    // The list may be rendered anew at this moment; the focus stays all the same.
    tab.wait_true("document.activeElement.dataset.offer === 'server'")
        .await;
    other
        .wait_true("document.querySelector('#servers [data-offer=\"server\"]').checked === false")
        .await;
    tab.keep_picture("server-off").await;
    tab.ask("Hello").await;
    tab.wait_end().await;
    assert_eq!(functions(&last_request(world.model())), [""; 0]);

    // While a turn runs it says from when it counts.
    world.model().queue(Reply::hang());
    tab.ask("Think about it").await;
    tab.find("button", "Stop").await;
    tab.find("switch", switch).await.focus().await;
    tab.press(Key::Space).await;
    tab.wait_text("from the model’s next step on").await;
    tab.click("button", "Stop").await;
    tab.wait_end().await;
    other.wait_text("4 of 5 tools").await;

    // A new conversation begins with everything.
    tab.look(View::Phone, Scheme::Dark).await;
    tab.go("/").await;
    tab.click("button", "Conversations and servers").await;
    tab.wait_text("5 tools").await;
    open_server(&tab, "Database").await;
    tab.keep_picture("tools-phone-dark").await;
    ana.leave().await;
    world.finish().await;
}
