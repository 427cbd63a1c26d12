use std::{collections::BTreeMap, sync::Arc};

use chat::tool::Catalog;
use wire::pomerium::Route;

use super::*;

fn known(state: ServerState, failure: Option<Failure>, catalog: Option<Catalog>) -> Known {
    let route = Route {
        name: "<i>db</i>".to_owned(),
        description: Some("<u>sales</u>".to_owned()),
        url: "https://db.example.com/mcp".parse().unwrap(),
        host: "db.example.com".to_owned(),
        connected: false,
    };
    Known {
        route,
        connect_url: None,
        state,
        failure,
        failed_at: None,
        catalog: catalog.map(Arc::new),
        denied: BTreeMap::new(),
    }
}

#[test]
fn a_server_that_is_not_ready_says_why_and_what_to_do() {
    for (state, word) in [
        (ServerState::Connecting, "connecting"),
        (ServerState::NeedsConnect, "not connected"),
        (ServerState::Forbidden, "denied by policy"),
        (ServerState::Unavailable, "not available"),
    ] {
        let failure = Failure::new(Layer::Pomerium, "It <b>says</b> no.", "Ask somebody.")
            .with_request_id(Some("id-7".to_owned()));
        let html = servers(
            vec![known(state, Some(failure), None)],
            None,
            Answers::Whole,
            &Selection::default(),
        );
        assert!(html.contains(word), "{html}");
        for part in [
            "It &#60;b&#62;says&#60;/b&#62; no.",
            "Ask somebody.",
            "id-7",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
    }
}

#[test]
fn a_closed_row_says_what_its_word_does_not() {
    let reason = |state, layer| {
        let failure = Failure::new(layer, "It says no.", "Ask somebody.").with_status(401);
        let mut known = known(state, Some(failure), None);
        known.connect_url = Some("https://db.example.com/".parse().unwrap());
        let html = servers(vec![known], None, Answers::Whole, &Selection::default());
        let wants = state == ServerState::NeedsConnect;
        assert_eq!(html.contains("HTTP 401"), !wants, "{html}");
        let (_, reason) = html.split_once("<p class=\"reason\" dir=\"auto\">")?;
        Some(reason.split_once("</p>").unwrap().0.to_owned())
    };
    let (message, advice) = (Some("It says no."), Some("Ask somebody."));
    for (state, layer, said) in [
        (ServerState::Forbidden, Layer::Pomerium, advice),
        (ServerState::Forbidden, Layer::Server, message),
        (ServerState::Unavailable, Layer::Pomerium, message),
        (ServerState::NeedsConnect, Layer::Pomerium, None),
        (ServerState::Ready, Layer::Pomerium, None),
    ] {
        assert_eq!(reason(state, layer).as_deref(), said, "{state:?}");
    }
}

#[test]
fn what_a_server_refuses_itself_is_not_called_policy() {
    let reason = "the server refuses this (403: <b>not</b> you)";
    let failure = Failure::new(Layer::Server, reason, "Ask whoever runs the server.");
    let refused = known(ServerState::Forbidden, Some(failure), None);
    let html = servers(vec![refused], None, Answers::Whole, &Selection::default());
    assert!(html.contains("refused by the server"), "{html}");
    assert!(html.contains("&#60;b&#62;not&#60;/b&#62; you"), "{html}");
    assert!(html.contains("Ask whoever runs the server."), "{html}");
    assert!(!html.contains("policy"), "{html}");
}

#[test]
fn a_ready_server_counts_its_tools_and_names_the_broken_ones() {
    let broken = BrokenTool {
        name: "<bad>".to_owned(),
        reason: "its schema is a list".to_owned(),
    };
    let catalog = Catalog::new("<img src=x>", Vec::new(), vec![broken]);
    let html = servers(
        vec![known(ServerState::Ready, None, Some(catalog))],
        None,
        Answers::Whole,
        &Selection::default(),
    );
    assert!(html.contains("0 tools"));
    assert!(html.contains("&#60;bad&#62;</bdi>: its schema is a list"));
    assert!(!html.contains("<img"));
}

#[test]
fn what_can_be_done_about_a_server_stands_with_it() {
    let html_of = |known| servers(vec![known], None, Answers::Whole, &Selection::default());
    let offers = |html: &str, what: &str| html.contains(&format!("data-do=\"{what}\""));

    let mut wants = known(ServerState::NeedsConnect, None, None);
    wants.connect_url = Some("https://db.example.com/?a=1&b=%22".parse().unwrap());
    let html = html_of(wants.clone());
    assert!(offers(&html, "connect") && !offers(&html, "look"));
    let link = "href=\"https://db.example.com/?a=1&#38;b=%22\" target=\"_blank\" rel=\"noopener\"";
    assert!(html.contains(link), "{html}");
    // A server of the operator's own has no account at Pomerium.
    wants.connect_url = None;
    let html = html_of(wants);
    assert!(!offers(&html, "connect") && offers(&html, "look"));

    let html = html_of(known(ServerState::Unavailable, None, None));
    assert!(offers(&html, "look") && !offers(&html, "disconnect"));

    let mut ready = known(ServerState::Ready, None, None);
    assert!(!html_of(ready.clone()).contains("data-do"));
    ready.route.connected = true;
    let html = html_of(ready);
    assert!(offers(&html, "disconnect") && !offers(&html, "look"));
}

#[test]
fn a_route_that_cuts_answers_is_said_to_and_how_to_mend_it() {
    let whole = servers(Vec::new(), None, Answers::Whole, &Selection::default());
    assert!(!whole.contains("timeout"));
    let cut = servers(Vec::new(), None, Answers::Cut, &Selection::default());
    assert!(cut.contains("<code>timeout: 0s</code> and <code>idle_timeout: 0s</code>"));
}

#[test]
fn a_denied_tool_is_called_denied() {
    let tool = |name: &str| chat::tool::Tool {
        name: name.to_owned(),
        title: None,
        description: None,
        input_schema: serde_json::Map::new(),
        output_schema: None,
        hints: chat::tool::Hints::default(),
    };
    let catalog = Catalog::new("db", vec![tool("drop_table"), tool("read")], Vec::new());
    let mut database = known(ServerState::Ready, None, Some(catalog));
    let failure = Failure::new(Layer::Pomerium, "policy denies this", "Ask for access.")
        .with_request_id(Some("id-8".to_owned()));
    database.denied.insert("drop_table".to_owned(), failure);
    let html = servers(vec![database], None, Answers::Whole, &Selection::default());
    let (before, after) = html.split_once("drop_table").unwrap();
    assert!(!before.contains("denied by policy"));
    let (denied, other) = after.split_once("</li>").unwrap();
    for part in ["denied by policy", "Ask for access.", "id-8"] {
        assert!(denied.contains(part), "{denied}");
        assert!(!other.contains(part), "{other}");
    }
}

#[test]
fn a_tool_that_the_server_refuses_is_not_called_denied_by_policy() {
    let tool = chat::tool::Tool {
        name: "drop_table".to_owned(),
        title: None,
        description: None,
        input_schema: serde_json::Map::new(),
        output_schema: None,
        hints: chat::tool::Hints::default(),
    };
    let catalog = Catalog::new("db", vec![tool], Vec::new());
    let mut database = known(ServerState::Ready, None, Some(catalog));
    let failure = Failure::new(Layer::Server, "the server refuses this (403)", "Ask.");
    database.denied.insert("drop_table".to_owned(), failure);
    let html = servers(vec![database], None, Answers::Whole, &Selection::default());
    assert!(html.contains("refused by the server"), "{html}");
    assert!(!html.contains("policy"), "{html}");
}

#[test]
fn a_list_that_cannot_be_had_says_so() {
    let failure = Failure::new(Layer::Pomerium, "No list.", "Later.");
    let html = servers(
        Vec::new(),
        Some(failure),
        Answers::Whole,
        &Selection::default(),
    );
    assert!(html.contains("No list."));
    assert!(!html.contains("None known yet."));
}

#[test]
fn what_is_switched_off_is_counted_and_said() {
    let tool = |name: &str| chat::tool::Tool {
        name: name.to_owned(),
        title: None,
        description: None,
        input_schema: serde_json::Map::new(),
        output_schema: None,
        hints: chat::tool::Hints::default(),
    };
    let catalog = Catalog::new("<i>db</i>", vec![tool("drop"), tool("read")], Vec::new());
    let database = known(ServerState::Ready, None, Some(catalog));
    let html = |off: serde_json::Value| {
        let off = serde_json::from_value(off).unwrap();
        servers(vec![database.clone()], None, Answers::Whole, &off)
    };
    let switch = |html: &str, name: &str| {
        let (_, switch) = html
            .split_once(&format!("aria-label=\"Offer {name}"))
            .unwrap();
        switch.split_once('>').unwrap().0.contains("checked")
    };
    let server = "&#60;i&#62;db&#60;/i&#62;";
    let all = html(serde_json::json!({}));
    assert!(all.contains(">2 tools<"), "{all}");
    assert!(switch(&all, "drop") && switch(&all, "read") && switch(&all, server));
    let some = html(serde_json::json!({ "tools": [{ "server": "<i>db</i>", "tool": "drop" }] }));
    assert!(some.contains(">1 of 2 tools<"), "{some}");
    assert!(!switch(&some, "drop") && switch(&some, "read") && switch(&some, server));
    let none = html(serde_json::json!({ "servers": ["<i>db</i>"] }));
    assert!(
        none.contains(">off<") && none.contains(" data-off"),
        "{none}"
    );
    assert!(!switch(&none, server) && !none.contains("<i>"), "{none}");
}
