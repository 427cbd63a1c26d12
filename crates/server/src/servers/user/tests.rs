use chat::{
    failure::Layer,
    tool::{Hints, Tool},
};

use super::*;

const NOTES: &str = "Notes";

/// What Pomerium says of the user's account.
#[derive(Clone, Copy, PartialEq)]
enum Account {
    Connected,
    None,
}

fn route(account: Account) -> (Route, Option<Url>) {
    let route = Route {
        name: NOTES.to_owned(),
        description: None,
        url: "https://notes.example.com/mcp".parse().unwrap(),
        host: "notes.example.com".to_owned(),
        connected: account == Account::Connected,
    };
    (route, None)
}

fn catalog() -> Arc<Catalog> {
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        title: None,
        description: None,
        input_schema: serde_json::Map::new(),
        output_schema: None,
        hints: Hints::default(),
    };
    Arc::new(Catalog::new(
        NOTES,
        vec![tool("list"), tool("add")],
        Vec::new(),
    ))
}

fn failure() -> Failure {
    Failure::new(Layer::Pomerium, "it wants an account", "Connect it.")
}

/// A server that lists its tools, with or without an account.
fn listed(account: Account) -> UserServers {
    let user = UserServers::default();
    user.list(vec![route(account)]);
    user.offer(NOTES, catalog());
    assert!(user.is_ready(NOTES));
    user
}

fn state(user: &UserServers) -> ServerState {
    user.get(NOTES).unwrap().state
}

#[test]
fn that_a_server_can_be_listed_is_no_account() {
    let user = listed(Account::None);
    user.want(NOTES, failure());
    assert_eq!(state(&user), ServerState::NeedsConnect);
    user.offer(NOTES, catalog());
    user.list(vec![route(Account::None)]);
    user.offer(NOTES, catalog());
    assert_eq!(state(&user), ServerState::NeedsConnect);
    assert_eq!(user.get(NOTES).unwrap().failure, Some(failure()));

    user.list(vec![route(Account::Connected)]);
    assert_eq!(state(&user), ServerState::Ready);
    assert_eq!(user.get(NOTES).unwrap().failure, None);
}

#[test]
fn an_account_that_was_connected_all_along_is_no_news() {
    let user = listed(Account::Connected);
    user.want(NOTES, failure());
    user.list(vec![route(Account::Connected)]);
    assert_eq!(state(&user), ServerState::NeedsConnect);
    user.list(vec![route(Account::None)]);
    user.list(vec![route(Account::Connected)]);
    assert_eq!(state(&user), ServerState::Ready);
}

#[test]
fn who_comes_back_from_connecting_is_believed() {
    let user = listed(Account::Connected);
    user.want(NOTES, failure());
    let changes = user.changes();
    user.connected(NOTES);
    assert_eq!(state(&user), ServerState::Ready);
    assert!(changes.has_changed().unwrap());
    let changes = user.changes();
    user.connected(NOTES);
    assert!(!changes.has_changed().unwrap(), "nothing waited for it");
}

#[test]
fn a_server_that_nobody_has_asked_yet_can_want_an_account() {
    // After a restart the call that waits is known before the list is.
    let user = UserServers::default();
    user.want(NOTES, failure());
    user.list(vec![route(Account::None)]);
    user.offer(NOTES, catalog());
    assert!(!user.is_ready(NOTES));
    user.list(vec![route(Account::Connected)]);
    assert!(user.is_ready(NOTES));

    user.want(NOTES, failure());
    user.list(Vec::new());
    user.list(vec![route(Account::None)]);
    user.offer(NOTES, catalog());
    assert!(user.is_ready(NOTES), "it was unlisted meanwhile");
}

#[test]
fn a_server_that_fails_otherwise_still_wants_its_account() {
    let user = listed(Account::None);
    user.want(NOTES, failure());
    user.fail(NOTES, ServerState::Unavailable, failure());
    user.offer(NOTES, catalog());
    assert_eq!(state(&user), ServerState::NeedsConnect);
}

#[test]
fn a_denied_tool_is_remembered_until_it_is_let_through() {
    let user = listed(Account::None);
    let denied = |user: &UserServers| user.get(NOTES).unwrap().denied;
    user.denied(NOTES, "add", failure());
    user.denied(NOTES, "no such tool", failure());
    assert_eq!(denied(&user).keys().collect::<Vec<_>>(), ["add"]);
    user.allowed(NOTES, "list");
    user.allowed(NOTES, "add");
    assert!(denied(&user).is_empty());

    // Of a server that is denied whole, that is what is said.
    user.fail(NOTES, ServerState::Forbidden, failure());
    user.denied(NOTES, "add", failure());
    assert!(denied(&user).is_empty());
}

#[test]
fn a_person_at_the_consent_page_is_not_disturbed() {
    let user = UserServers::default();
    user.list(vec![route(Account::None)]);
    assert_eq!(user.awaits_consent(NOTES), None, "it was not tried yet");
    user.fail(NOTES, ServerState::Unavailable, failure());
    assert_eq!(user.awaits_consent(NOTES), None);
    user.fail(NOTES, ServerState::NeedsConnect, failure());
    assert_eq!(user.awaits_consent(NOTES), Some(failure()));
    user.list(vec![route(Account::Connected)]);
    assert_eq!(user.awaits_consent(NOTES), None, "the consent was given");

    let open = listed(Account::None);
    open.want(NOTES, failure());
    assert_eq!(open.awaits_consent(NOTES), None, "looking disturbs nobody");
}

#[test]
fn an_account_that_is_not_taken_any_more_has_to_be_disconnected_first() {
    let user = listed(Account::Connected);
    let told = || user.get(NOTES).unwrap().failure.unwrap();
    user.want(NOTES, failure());
    assert!(told().advice.starts_with("Disconnect"), "{:?}", told());
    user.fail(NOTES, ServerState::NeedsConnect, failure());
    assert!(told().advice.starts_with("Disconnect"), "{:?}", told());
    user.list(vec![route(Account::None)]);
    user.offer(NOTES, catalog());
    assert_eq!(told(), failure());
}
