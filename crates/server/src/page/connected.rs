//! `GET /connected?server=NAME`: where Pomerium sends the browser back to when an account was to be
//! connected. How it went is found out by looking at the server: Pomerium says nothing when it went
//! well, and what the query says can come from anybody.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{Html, IntoResponse as _, Response},
};
use chat::{event::ServerState, failure::Failure, limits::clip};

use super::{assets, render, sidebar::Connect, visible};
use crate::{app::AppState, gate::Caller, servers::Known};

/// Bytes of what the query says that are shown.
const QUOTED_BYTES: usize = 400;

/// What came back with the browser.
struct Back {
    server: String,
    /// Pomerium's words when it could not begin (v0.33, `handler_connect.go`), or anybody's.
    connect_error: Option<String>,
}

#[derive(Template)]
#[template(path = "connected.html")]
struct Connected {
    version: &'static str,
    /// As requests name the server; empty when there is no such server.
    key: String,
    title: String,
    words: &'static str,
    /// The server can be used.
    good: bool,
    quote: Option<String>,
    failure: Option<Failure>,
    connect: Option<Connect>,
}

/// The handler; see the module.
pub(crate) async fn connected(
    State(app): State<AppState>,
    Query(mut query): Query<HashMap<String, String>>,
    caller: Caller,
) -> Response {
    let back = Back {
        server: query.remove("server").unwrap_or_default(),
        connect_error: query.remove("connect_error"),
    };
    let looked = app.look(&caller.session, &back.server).await;
    let page = render(&outcome(back, looked));
    Html(page).into_response()
}

fn outcome(back: Back, looked: Result<Option<Known>, Failure>) -> Connected {
    let name = visible(&clip(back.server, QUOTED_BYTES));
    let quote = back
        .connect_error
        .map(|words| visible(&clip(words, QUOTED_BYTES)))
        .filter(|words| !words.trim().is_empty());
    let mut page = Connected {
        version: assets::version(),
        key: String::new(),
        title: format!("{name} was not connected"),
        words: "",
        good: false,
        quote,
        failure: None,
        connect: None,
    };
    match looked {
        Err(failure) => {
            page.title = format!("Toolgate cannot tell whether {name} was connected");
            page.failure = Some(failure);
        }
        Ok(None) => {
            "There is no such server".clone_into(&mut page.title);
            page.words = "Pomerium does not list a server of that name.";
        }
        Ok(Some(known)) => judge(&mut page, known, &name),
    }
    page
}

fn judge(page: &mut Connected, known: Known, name: &str) {
    page.good = known.state == ServerState::Ready;
    page.key.clone_from(&known.route.name);
    let account = known.route.connected;
    match known.state {
        ServerState::Ready if account => {
            page.title = format!("{name} is connected");
            page.words = "What waited for it goes on by itself.";
        }
        ServerState::Ready => {
            page.title = format!("{name} can be used");
            page.words = "No account is connected to it, and it does not ask for one.";
        }
        ServerState::NeedsConnect if account => {
            page.title = format!("{name} does not take the account");
            page.words = "An account is connected, but the server still asks for one. Perhaps it \
                          is the wrong account, or it lacks a permission.";
        }
        ServerState::NeedsConnect => {
            page.words = "No account is connected yet. You can try again.";
        }
        ServerState::Connecting | ServerState::Forbidden | ServerState::Unavailable if account => {
            page.title = format!("{name} cannot be used now");
            page.words = "Your account is connected, but the server cannot be used.";
        }
        ServerState::Connecting | ServerState::Forbidden | ServerState::Unavailable => {
            page.words = "The server cannot be used now.";
        }
    }
    if known.state == ServerState::NeedsConnect {
        page.connect = Connect::of(&known);
    } else {
        page.failure = known.failure;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chat::failure::Layer;
    use wire::pomerium::Route;

    use super::*;

    fn back(server: &str, error: Option<&str>) -> Back {
        Back {
            server: server.to_owned(),
            connect_error: error.map(str::to_owned),
        }
    }

    /// What Pomerium says of the user's account.
    #[derive(Clone, Copy, PartialEq)]
    enum Account {
        Connected,
        None,
    }

    fn known(state: ServerState, account: Account) -> Known {
        let url = "https://notes.example.com/mcp".parse().unwrap();
        let route = Route {
            name: "Notes".to_owned(),
            description: None,
            url,
            host: "notes.example.com".to_owned(),
            connected: account == Account::Connected,
        };
        let connect_url = route.connect_url(&"https://chat.example.com/connected".parse().unwrap());
        let failure = Failure::new(Layer::Pomerium, "It says no.", "Ask somebody.");
        Known {
            route,
            connect_url,
            state,
            failure: (state != ServerState::Ready).then_some(failure),
            failed_at: None,
            catalog: None,
            denied: BTreeMap::new(),
        }
    }

    fn page(error: Option<&str>, looked: Result<Option<Known>, Failure>) -> Connected {
        outcome(back("Notes", error), looked)
    }

    #[test]
    fn what_the_query_says_is_quoted_as_text_and_short() {
        let words = "<script>alert(1)</script>\u{202e}".to_owned() + &"x".repeat(100_000);
        let looked = Ok(Some(known(ServerState::NeedsConnect, Account::None)));
        let html = render(&page(Some(&words), looked));
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("&#60;script&#62;"));
        assert!(!html.contains('\u{202e}'));
        assert!(html.len() < 5_000, "{} bytes", html.len());

        let hostile = "\"><img src=x onerror=alert(1)>".repeat(10_000);
        let html = render(&outcome(back(&hostile, None), Ok(None)));
        assert!(!html.contains("<img src=x"));
        assert!(html.contains("There is no such server"));
        assert!(html.len() < 5_000, "{} bytes", html.len());
    }

    #[test]
    fn how_it_went_is_what_the_server_shows_not_what_the_query_says() {
        let page_of = |error, state, account| page(error, Ok(Some(known(state, account))));
        let fine = page_of(None, ServerState::Ready, Account::Connected);
        assert_eq!(fine.title, "Notes is connected");
        assert!(fine.good && fine.quote.is_none());

        let forged = page_of(Some("It failed."), ServerState::Ready, Account::Connected);
        assert_eq!(forged.title, "Notes is connected");
        assert_eq!(forged.quote.as_deref(), Some("It failed."));

        let silent = page_of(None, ServerState::NeedsConnect, Account::None);
        assert_eq!(silent.title, "Notes was not connected");
        assert!(!silent.good && silent.connect.is_some());

        let wrong = page_of(None, ServerState::NeedsConnect, Account::Connected);
        assert_eq!(wrong.title, "Notes does not take the account");
        assert!(!wrong.good);

        let down = page_of(None, ServerState::Unavailable, Account::Connected);
        assert!(!down.good);
        assert!(render(&down).contains("Ask somebody."));

        let unlisted = Failure::new(Layer::Pomerium, "No list.", "Later.");
        let unknown = page(None, Err(unlisted));
        assert!(!unknown.good);
        assert!(render(&unknown).contains("No list."));
    }
}
