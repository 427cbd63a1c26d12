//! `GET /connected?server=NAME`: where Pomerium sends the browser back to when an account was to be
//! connected. How it went is found out by looking at the server: Pomerium says nothing when it went
//! well, and what the query says can come from anybody.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{Html, IntoResponse as _, Response},
};
use chat::{
    event::ServerState,
    failure::{Failure, Layer},
    limits::clip,
};

use super::{assets, render, sidebar::Connect, visible};
use crate::{app::AppState, gate::Caller, servers::Known};

/// Bytes of what the query says that are shown.
const QUOTED_BYTES: usize = 400;

/// Where to look instead.
const LISTED: &str = "Your servers stand beside the chat.";

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
    outcome: Outcome,
    title: String,
    words: &'static str,
    quote: Option<String>,
    failure: Option<Failure>,
    connect: Option<Connect>,
}

/// How it went; the other tabs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The server can be used.
    Ready,
    /// An account is connected, and the server still asks for one.
    NotTaken,
    /// No account is connected.
    NeedsConnect,
    /// Somebody refuses the server to the user.
    Forbidden,
    /// The server cannot be used now.
    Unavailable,
    /// Nobody knows, or there is no such server.
    Error,
}

impl Outcome {
    fn of(known: &Known) -> Self {
        match known.state {
            ServerState::Ready => Self::Ready,
            ServerState::NeedsConnect if known.route.connected => Self::NotTaken,
            ServerState::NeedsConnect => Self::NeedsConnect,
            ServerState::Forbidden => Self::Forbidden,
            ServerState::Connecting | ServerState::Unavailable => Self::Unavailable,
        }
    }

    /// As the page's script knows it.
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotTaken => "not_taken",
            Self::NeedsConnect => "needs_connect",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::Error => "error",
        }
    }
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
    let looked = if back.server.is_empty() {
        Ok(None)
    } else {
        app.look(&caller.session, &back.server).await
    };
    let page = render(&page(back, looked));
    Html(page).into_response()
}

fn page(back: Back, looked: Result<Option<Known>, Failure>) -> Connected {
    let named = !back.server.is_empty();
    let server = clip(back.server, QUOTED_BYTES);
    let name = visible(&server);
    let quote = back
        .connect_error
        .map(|words| visible(&clip(words, QUOTED_BYTES)))
        .filter(|words| !words.trim().is_empty());
    let mut page = Connected {
        version: assets::version(),
        key: String::new(),
        outcome: Outcome::Error,
        title: String::new(),
        words: "",
        quote,
        failure: None,
        connect: None,
    };
    match looked {
        Err(failure) => {
            page.key = server;
            page.title = format!("Toolgate cannot tell whether {name} was connected");
            page.failure = Some(failure);
        }
        Ok(None) if named => {
            "There is no server of that name".clone_into(&mut page.title);
            page.words = LISTED;
        }
        Ok(None) => {
            "No server was named".clone_into(&mut page.title);
            page.words = LISTED;
        }
        Ok(Some(known)) => judge(&mut page, known, &name),
    }
    page
}

fn judge(page: &mut Connected, known: Known, name: &str) {
    page.outcome = Outcome::of(&known);
    page.key.clone_from(&known.route.name);
    let account = known.route.connected;
    let kept = if account {
        "Your account is connected."
    } else {
        ""
    };
    (page.title, page.words) = match page.outcome {
        Outcome::Ready if account => (
            format!("{name} is connected"),
            "What waited for it goes on by itself.",
        ),
        Outcome::Ready => (
            format!("{name} can be used"),
            "No account is connected to it, and it does not ask for one.",
        ),
        Outcome::NotTaken => (
            format!("{name} does not take the account"),
            "An account is connected, but the server still asks for one. Perhaps it is the wrong \
             account, or it lacks a permission.",
        ),
        Outcome::NeedsConnect => (
            format!("{name} was not connected"),
            "No account is connected yet. You can try again.",
        ),
        Outcome::Forbidden => (refused(known.failure.as_ref(), name), kept),
        Outcome::Unavailable | Outcome::Error => (format!("{name} cannot be used now"), kept),
    };
    if known.state == ServerState::NeedsConnect {
        page.connect = Connect::of(&known);
    } else {
        page.failure = known.failure;
    }
}

/// Who does not let the user in.
fn refused(failure: Option<&Failure>, name: &str) -> String {
    match failure.map(|failure| failure.layer) {
        Some(Layer::Pomerium) => format!("Policy denies you {name}"),
        Some(Layer::Server) => format!("{name} refused you"),
        Some(Layer::Model | Layer::Toolgate) | None => format!("{name} is refused to you"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    fn page_of(error: Option<&str>, looked: Result<Option<Known>, Failure>) -> Connected {
        page(back("Notes", error), looked)
    }

    #[test]
    fn what_the_query_says_is_quoted_as_text_and_short() {
        let words = "<script>alert(1)</script>\u{202e}".to_owned() + &"x".repeat(100_000);
        let looked = Ok(Some(known(ServerState::NeedsConnect, Account::None)));
        let html = render(&page_of(Some(&words), looked));
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("&#60;script&#62;"));
        assert!(!html.contains('\u{202e}'));
        assert!(html.len() < 5_000, "{} bytes", html.len());

        let hostile = "\"><img src=x onerror=alert(1)>".repeat(10_000);
        let unlisted = || Failure::new(Layer::Pomerium, "No list.", "Later.");
        for looked in [Ok(None), Err(unlisted())] {
            let html = render(&page(back(&hostile, None), looked));
            assert!(!html.contains("<img src=x"));
            assert!(html.len() < 5_000, "{} bytes", html.len());
        }
    }

    #[test]
    fn how_it_went_is_what_the_server_shows_not_what_the_query_says() {
        let ready = known(ServerState::Ready, Account::Connected);
        let forged = page_of(Some("It failed."), Ok(Some(ready)));
        assert_eq!(forged.title, "Notes is connected");
        assert_eq!(forged.outcome, Outcome::Ready);
        assert_eq!(forged.quote.as_deref(), Some("It failed."));
    }

    #[test]
    fn every_state_has_its_words_and_its_outcome() {
        use Account::{Connected, None as Nobody};
        use ServerState::{Connecting, Forbidden, NeedsConnect, Ready, Unavailable};
        for (state, account, title, outcome) in [
            (Ready, Connected, "Notes is connected", "ready"),
            (Ready, Nobody, "Notes can be used", "ready"),
            (
                NeedsConnect,
                Connected,
                "Notes does not take the account",
                "not_taken",
            ),
            (
                NeedsConnect,
                Nobody,
                "Notes was not connected",
                "needs_connect",
            ),
            (Forbidden, Connected, "Policy denies you Notes", "forbidden"),
            (Forbidden, Nobody, "Policy denies you Notes", "forbidden"),
            (
                Unavailable,
                Connected,
                "Notes cannot be used now",
                "unavailable",
            ),
            (
                Unavailable,
                Nobody,
                "Notes cannot be used now",
                "unavailable",
            ),
            (
                Connecting,
                Nobody,
                "Notes cannot be used now",
                "unavailable",
            ),
        ] {
            let page = page_of(None, Ok(Some(known(state, account))));
            assert_eq!(page.title, title);
            let wants = state == NeedsConnect;
            assert_eq!(page.connect.is_some(), wants, "{title}");
            let html = render(&page);
            let told = format!("data-server=\"Notes\" data-outcome=\"{outcome}\"");
            assert!(html.contains(&told), "{html}");
            // What can be done comes first, and only who is done is sent away.
            let explained = html.find("Ask somebody.");
            assert_eq!(explained.is_some(), state != Ready && !wants, "{html}");
            let back = html.find("Back to the chat").unwrap();
            assert!(explained.is_none_or(|at| back < at), "{html}");
            let closes = html.contains("You can close this tab.");
            assert_eq!(closes, state == Ready, "{html}");
        }
    }

    #[test]
    fn who_refuses_is_named() {
        for (layer, title) in [
            (Layer::Pomerium, "Policy denies you Notes"),
            (Layer::Server, "Notes refused you"),
            (Layer::Toolgate, "Notes is refused to you"),
        ] {
            let mut refused = known(ServerState::Forbidden, Account::Connected);
            refused.failure = Some(Failure::new(layer, "No.", "Ask somebody."));
            assert_eq!(page_of(None, Ok(Some(refused))).title, title);
        }
    }

    #[test]
    fn who_cannot_be_told_of_a_server_is_told_why() {
        let unlisted = Failure::new(Layer::Pomerium, "No list.", "Later.");
        let unknown = page_of(None, Err(unlisted));
        assert_eq!(
            (unknown.outcome, unknown.key.as_str()),
            (Outcome::Error, "Notes")
        );
        assert!(render(&unknown).contains("No list."));

        let missing = page_of(None, Ok(None));
        assert_eq!(missing.title, "There is no server of that name");
        assert!(!render(&missing).contains("Pomerium"));

        let unnamed = page(back("", None), Ok(None));
        assert_eq!(unnamed.title, "No server was named");
        for page in [missing, unnamed] {
            assert_eq!((page.outcome, page.key.as_str()), (Outcome::Error, ""));
            assert!(!render(&page).contains("You can close this tab."));
        }
    }
}
