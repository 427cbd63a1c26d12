//! A turn as HTML: the question, which of its versions it is, and what came of the servers.

use askama::Template;
use chat::{
    event::{ServerState, ServerStateChanged},
    failure::{Failure, Layer},
    ids::{ConversationId, TurnId},
    transcript::Transcript,
};
use store::TurnRow;

use super::{
    render,
    sidebar::{Connect, plain},
    visible,
};
use crate::servers::Known;

/// The element that holds the turns of a conversation.
pub(super) const TURNS: &str = "turns";

/// A message of at most so many bytes and lines fits in its place, also on a phone.
const LONG_BYTES: usize = 400;
const LONG_LINES: usize = 10;

/// The id of a turn's element; those inside it add to it.
pub(super) fn element(turn: &TurnId) -> String {
    format!("t-{turn}")
}

/// A whole turn.
#[derive(Template)]
#[template(path = "turn.html")]
pub(super) struct Whole<'a> {
    pub(super) id: &'a str,
    pub(super) turn: &'a TurnId,
    pub(super) message: &'a str,
    /// The message scrolls in its place, so whoever has no mouse must get there.
    pub(super) is_long: bool,
    pub(super) versions: Option<Versions<'a>>,
    pub(super) head: &'a str,
    pub(super) items: &'a str,
    pub(super) foot: &'a str,
}

/// Whether a message of so many letters or lines may be taller than its place.
pub(super) fn is_long(message: &str) -> bool {
    message.len() > LONG_BYTES || message.lines().nth(LONG_LINES).is_some()
}

/// A turn and its place in the conversation.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) turn: TurnId,
    /// All turns that follow the same one, oldest first, this one among them.
    pub(super) siblings: Vec<TurnId>,
}

impl Placed {
    /// Where the turn is.
    pub(super) fn of(row: &TurnRow) -> Self {
        Self {
            turn: row.turn.clone(),
            siblings: row.siblings.clone(),
        }
    }
}

/// Where a turn stands among those that answer the same place of its conversation.
pub(super) struct Versions<'a> {
    conversation: &'a ConversationId,
    /// From 1.
    number: usize,
    count: usize,
    previous: Option<&'a TurnId>,
    next: Option<&'a TurnId>,
}

impl<'a> Versions<'a> {
    /// Which one the turn is; none when it is the only one.
    pub(super) fn of(
        Placed { turn, siblings }: &'a Placed,
        conversation: &'a ConversationId,
    ) -> Option<Self> {
        let index = siblings.iter().position(|sibling| sibling == turn)?;
        let count = siblings.len();
        let before = index.checked_sub(1);
        (count > 1).then(|| Self {
            conversation,
            number: index + 1,
            count,
            previous: before.and_then(|before| siblings.get(before)),
            next: siblings.get(index + 1),
        })
    }
}

/// What the question met: servers that were not there, or too many of them.
#[derive(Debug)]
pub(super) struct Heading {
    servers: Vec<ServerStateChanged>,
    left_out: Vec<String>,
}

#[derive(Template)]
#[template(path = "turn_head.html")]
struct Head<'a> {
    id: &'a str,
    troubles: Vec<Trouble>,
    left_out: String,
}

struct Trouble {
    /// As requests name the server.
    key: String,
    server: String,
    words: &'static str,
    failure: Option<Failure>,
    /// It was left out for want of an account.
    wants: bool,
    /// The way to connect one.
    connect: Option<Connect>,
    /// It can be used by now.
    ready: bool,
}

impl Heading {
    /// What the turn's question met.
    pub(super) fn of(transcript: &Transcript) -> Self {
        let servers = transcript.servers.iter();
        Self {
            servers: servers
                .filter(|server| trouble(server).is_some())
                .cloned()
                .collect(),
            left_out: transcript.left_out.clone(),
        }
    }

    /// Whether what is known of the servers shows in it.
    pub(super) fn names_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// What stands between the question and the answer.
    pub(super) fn html(self, id: &str, known: &[Known]) -> String {
        let troubles = self.servers.into_iter();
        let left_out: Vec<_> = self.left_out.iter().map(|name| visible(name)).collect();
        render(&Head {
            id,
            troubles: troubles
                .filter_map(|server| Trouble::of(server, known))
                .collect(),
            left_out: left_out.join(", "),
        })
    }
}

impl Trouble {
    fn of(server: ServerStateChanged, known: &[Known]) -> Option<Self> {
        let words = trouble(&server)?;
        let wants = server.state == ServerState::NeedsConnect;
        let known = known.iter().find(|known| known.route.name == server.server);
        Some(Self {
            words,
            server: visible(&server.server),
            failure: server.failure.map(|failure| plain(server.state, failure)),
            connect: known.filter(|_| wants).and_then(Connect::of),
            ready: known.is_some_and(|known| known.state == ServerState::Ready),
            wants,
            key: server.server,
        })
    }
}

/// What was the matter with a server; none when it could be used.
fn trouble(server: &ServerStateChanged) -> Option<&'static str> {
    let layer = server.failure.as_ref().map(|failure| failure.layer);
    match server.state {
        ServerState::Connecting | ServerState::Ready => None,
        ServerState::NeedsConnect => Some("wants you to connect your account"),
        ServerState::Forbidden => Some(match layer {
            Some(Layer::Pomerium) => "is denied to you by policy",
            Some(Layer::Server) => "refused you",
            Some(Layer::Model | Layer::Toolgate) | None => "is refused to you",
        }),
        ServerState::Unavailable => Some("is not available"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::pomerium::Route;

    use super::*;

    fn known(state: ServerState) -> Known {
        let route = Route {
            name: "<i>Notes".to_owned(),
            description: None,
            url: "https://notes.example.com/mcp".parse().unwrap(),
            host: "notes.example.com".to_owned(),
            connected: false,
        };
        let connect_url = route.connect_url(&"https://chat.example.com/connected".parse().unwrap());
        Known {
            route,
            connect_url,
            state,
            failure: None,
            failed_at: None,
            catalog: None,
            denied: BTreeMap::new(),
        }
    }

    fn head(state: ServerState, layer: Layer, known: &[Known]) -> String {
        let failure = Failure::new(layer, "It says no.", "Ask somebody.").with_status(401);
        let transcript = Transcript {
            servers: vec![ServerStateChanged {
                server: "<i>Notes".to_owned(),
                state,
                failure: Some(failure),
            }],
            ..Transcript::default()
        };
        Heading::of(&transcript).html("head", known)
    }

    #[test]
    fn a_server_left_out_for_want_of_an_account_offers_to_connect_one_and_to_ask_again() {
        let wants = |known: &[Known]| head(ServerState::NeedsConnect, Layer::Pomerium, known);
        let html = wants(&[known(ServerState::NeedsConnect)]);
        let (before, connect) = html.split_once("data-do=\"connect\"").unwrap();
        assert!(before.contains("</details>"), "it is seen at once: {html}");
        assert!(before.contains("<div class=\"wanted\">"), "{html}");
        let (_, again) = connect.split_once("class=\"again\"").unwrap();
        assert!(again.contains("hidden>") && again.contains("data-do=\"try-again\""));
        assert!(
            !html.contains("HTTP 401") && !html.contains("<i>"),
            "{html}"
        );

        let html = wants(&[known(ServerState::Ready)]);
        assert!(html.contains("<div class=\"wanted\" hidden>"), "{html}");
        assert!(
            html.contains("<p class=\"again\" role=\"status\">"),
            "{html}"
        );
        // A page that comes before anything is known of the servers.
        let html = wants(&[]);
        assert!(!html.contains("data-do=\"connect\""), "{html}");
    }

    #[test]
    fn who_left_a_server_out_is_told_apart() {
        use ServerState::{Connecting, Forbidden, Ready, Unavailable};
        let known = [known(Ready)];
        for (state, layer, words) in [
            (Forbidden, Layer::Pomerium, "is denied to you by policy"),
            (Forbidden, Layer::Server, "refused you"),
            (Forbidden, Layer::Toolgate, "is refused to you"),
            (Unavailable, Layer::Server, "is not available"),
        ] {
            let html = head(state, layer, &known);
            assert!(html.contains(words) && html.contains("HTTP 401"), "{html}");
            assert!(!html.contains("data-do"), "{html}");
        }
        for fine in [Connecting, Ready] {
            assert!(!head(fine, Layer::Server, &known).contains("server-trouble"));
        }
    }
}
