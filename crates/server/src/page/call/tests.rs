use std::collections::BTreeMap;

use chat::{failure::Layer, shape::facts::Facts};
use serde_json::{Value, json};
use wire::pomerium::Route;

use super::*;

fn item(state: &Value) -> CallItem {
    let item = json!({
        "call": 1, "round": 1, "model_id": "m", "function": "db__read",
        "target": { "server": "db", "tool": "read" }, "arguments": "{\"sql\":\"SELECT 1\"}",
        "extras": {}, "state": state, "answer": null, "progress": null, "shown": "1", "steps": [],
        "failure": null, "requested_at": 0, "started_at": 0, "finished_at": 12,
    });
    serde_json::from_value(item).unwrap()
}

fn finished(outcome: Outcome) -> CallItem {
    item(&json!({ "kind": "finished", "outcome": outcome }))
}

fn html(item: &CallItem, servers: &[Known]) -> String {
    card("t-1-c1", &TurnId::from("1"), item, servers)
}

fn known(state: ServerState) -> Known {
    let route = Route {
        name: "db".to_owned(),
        description: None,
        url: "https://db.example.com/mcp".parse().unwrap(),
        host: "db.example.com".to_owned(),
        connected: false,
    };
    Known {
        route,
        connect_url: Some("https://db.example.com/connect".parse().unwrap()),
        state,
        failure: None,
        failed_at: None,
        catalog: None,
        denied: BTreeMap::new(),
    }
}

#[test]
fn a_call_that_lacked_an_account_leads_to_it_while_it_is_lacking() {
    let call = finished(Outcome::NeedsConnect);
    let lacking = html(&call, &[known(ServerState::NeedsConnect)]);
    assert!(
        lacking.contains("href=\"https://db.example.com/connect\""),
        "{lacking}"
    );
    for servers in [vec![known(ServerState::Ready)], Vec::new()] {
        let html = html(&call, &servers);
        assert!(!html.contains("/connect"), "{html}");
    }
}

#[test]
fn only_a_call_with_a_result_has_one_to_be_read() {
    for (outcome, expected) in [
        (Outcome::Ok, true),
        (Outcome::ToolError, true),
        (Outcome::Timeout, false),
        (Outcome::DeniedByUser, false),
    ] {
        let html = html(&finished(outcome), &[]);
        let found = html.contains("data-load=\"/calls/1/1?part\"");
        assert_eq!(found, expected, "{outcome:?}: {html}");
        assert_eq!(html.contains("id=\"t-1-c1-told\" open"), !expected);
    }
}

#[test]
fn a_card_says_what_came_back_and_opens_for_pictures() {
    let mut call = finished(Outcome::Ok);
    call.facts = Facts {
        images: 2,
        ..Facts::default()
    };
    let with_pictures = html(&call, &[]);
    assert!(with_pictures.contains("2 images"), "{with_pictures}");
    assert!(with_pictures.contains("-details\" open data-opened"));
    call.facts.images = 50;
    assert!(!html(&call, &[]).contains("-details\" open"));
    call.state = finished(Outcome::ToolError).state;
    assert!(!html(&call, &[]).contains("50 images"));
}

#[test]
fn an_error_says_whose_it_is_with_status_and_request() {
    let mut call = finished(Outcome::Unavailable);
    let failure = Failure::new(Layer::Pomerium, "no route", "Ask.").with_status(503);
    call.failure = Some(failure.with_request_id(Some("req-9".to_owned())));
    let html = html(&call, &[]);
    for part in [
        "Pomerium</span>",
        "HTTP 503",
        "req-9</code>",
        "data-copy=\"req-9\"",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[test]
fn progress_is_told_in_per_cent_where_the_end_is_known() {
    let mut call = item(&json!({ "kind": "running" }));
    for (done, total, expected) in [
        (1.0, Some(3.0), Some("33 %")),
        (9.0, Some(3.0), Some("100 %")),
        (1.0, Some(0.0), None),
        (1.0, None, None),
    ] {
        let progress = Progress {
            call: call.call,
            progress: done,
            total,
            message: None,
        };
        call.progress = Some(progress);
        let html = html(&call, &[]);
        assert!(html.contains("<progress"), "{html}");
        assert_eq!(html.contains(" %<"), expected.is_some(), "{html}");
        assert!(html.contains(expected.unwrap_or_default()), "{html}");
    }
}
