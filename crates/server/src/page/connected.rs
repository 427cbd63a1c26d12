//! `GET /connected?server=NAME`: where Pomerium sends the browser back to when an account was to be
//! connected. How it went is found out by looking at the server: Pomerium says nothing when it went
//! well, and what the query says can come from anybody.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{Html, IntoResponse as _, Response},
};
use chat::{event::ServerState, failure::Failure, limits::clip};
use serde::Deserialize;

use super::{assets, render, sidebar::Connect, visible};
use crate::{app::AppState, gate::Caller, servers::Known};

/// Bytes of what the query says that are shown.
const QUOTED_BYTES: usize = 400;

/// What came back with the browser.
#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    server: String,
    /// Pomerium's words when it could not begin (v0.33, `handler_connect.go`), or anybody's.
    #[serde(default)]
    connect_error: Option<String>,
}

#[derive(Template)]
#[template(path = "connected.html")]
struct Connected {
    version: &'static str,
    /// As requests name the server.
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
    Query(back): Query<Back>,
    caller: Caller,
) -> Response {
    let looked = app.look(&caller.session, &back.server).await;
    let page = render(&outcome(back, looked));
    Html(page).into_response()
}

fn outcome(back: Back, looked: Result<Option<Known>, Failure>) -> Connected {
    let name = visible(&clip(back.server.clone(), QUOTED_BYTES));
    let quote = back
        .connect_error
        .map(|words| visible(&clip(words, QUOTED_BYTES)))
        .filter(|words| !words.trim().is_empty());
    let mut page = Connected {
        version: assets::version(),
        key: back.server,
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
            page.title = "There is no such server".to_owned();
            page.words = "Pomerium does not list a server of that name.";
        }
        Ok(Some(known)) => judge(&mut page, known, &name),
    }
    page
}

fn judge(page: &mut Connected, known: Known, name: &str) {
    page.good = known.state == ServerState::Ready;
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
