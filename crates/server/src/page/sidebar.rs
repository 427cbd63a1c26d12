//! The list of conversations and the servers, beside every conversation.

use askama::Template;
use chat::{
    event::{ParkReason, ServerState},
    failure::{Failure, Layer},
    ids::{ConversationId, Subject},
    limits::clip,
    tool::BrokenTool,
    transcript::{CallState, Transcript},
};
use store::ConversationRow;
use url::Url;

use super::{fingerprint, render, visible};
use crate::{
    app::App,
    servers::{Known, UserServers},
};

/// Bytes of a tool's description on the page.
const DESCRIPTION_BYTES: usize = 300;

/// The id of the list's element.
pub(super) const CONVERSATIONS: &str = "conversations";

/// The id of the servers' element.
pub(super) const SERVERS: &str = "servers";

/// What stands beside a conversation in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    None,
    /// It is being answered.
    Running,
    /// It waits for its user.
    NeedsYou,
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct Conversations<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    id: &'a ConversationId,
    title: String,
    current: bool,
    mark: Mark,
}

#[derive(Template)]
#[template(path = "servers.html")]
struct List {
    answers: Answers,
    unlisted: Option<Failure>,
    servers: Vec<Server>,
}

struct Server {
    id: String,
    /// As requests name it.
    key: String,
    name: String,
    description: String,
    kind: &'static str,
    symbol: &'static str,
    word: &'static str,
    failure: Option<Failure>,
    /// Why it cannot be used, as far as its word and its button do not say it.
    reason: Option<String>,
    /// Set when an account has to be connected first.
    connect: Option<Connect>,
    /// Trying again is all that can be done.
    failed: bool,
    /// Pomerium keeps an account of the user's for it.
    connected: bool,
    tools: Vec<Tool>,
    broken: Vec<BrokenTool>,
}

struct Tool {
    key: String,
    title: String,
    description: String,
    /// It is refused to the user, by policy or by the server.
    denied: Option<Failure>,
}

impl Tool {
    /// Who refuses it, for its `denied`.
    fn refused(&self) -> &'static str {
        refused_by(self.denied.as_ref().map(|failure| failure.layer))
    }
}

/// The way to connect an account to a server.
pub(super) struct Connect {
    /// As requests name the server.
    pub(super) key: String,
    /// For people.
    pub(super) name: String,
    /// Where the browser goes.
    pub(super) url: Url,
}

impl Connect {
    /// The way to connect an account to the server; none where Pomerium knows of no accounts.
    pub(super) fn of(known: &Known) -> Option<Self> {
        Some(Self {
            key: known.route.name.clone(),
            name: visible(&known.route.name),
            url: known.connect_url.clone()?,
        })
    }
}

impl Mark {
    /// The mark of a conversation whose running turn stands so.
    pub(super) fn of(transcript: &Transcript) -> Self {
        let needs = |state| {
            matches!(
                state,
                CallState::Asking { .. }
                    | CallState::Parked {
                        reason: ParkReason::NeedsConnect
                    }
            )
        };
        if transcript.end.is_some() {
            Self::None
        } else if transcript.calls().any(|call| needs(call.state)) {
            Self::NeedsYou
        } else {
            Self::Running
        }
    }
}

/// The list, the `current` conversation marked as such.
pub(super) fn conversations(
    rows: &[(&ConversationRow, Mark)],
    current: Option<&ConversationId>,
) -> String {
    let entries = rows
        .iter()
        .map(|(row, mark)| Entry {
            id: &row.id,
            title: visible(&row.title),
            current: current == Some(&row.id),
            mark: *mark,
        })
        .collect();
    render(&Conversations { entries })
}

/// Whether Pomerium lets Toolgate's answers through to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// As far as is known.
    Whole,
    /// They break off after 30 s.
    Cut,
}

/// The user's servers and how they are.
pub(super) fn servers_of(app: &App, subject: &Subject, user: &UserServers) -> String {
    let answers = if app.route_is_cut(subject) {
        Answers::Cut
    } else {
        Answers::Whole
    };
    servers(user.all(), user.unlisted_because(), answers)
}

fn servers(known: Vec<Known>, unlisted: Option<Failure>, answers: Answers) -> String {
    let servers = known.into_iter().map(server).collect();
    render(&List {
        answers,
        unlisted,
        servers,
    })
}

fn server(known: Known) -> Server {
    let layer = known.failure.as_ref().map(|failure| failure.layer);
    let (kind, symbol, word) = words(known.state, layer);
    let connect = (known.state == ServerState::NeedsConnect)
        .then(|| Connect::of(&known))
        .flatten();
    let failure = known.failure.map(|failure| plain(known.state, failure));
    let reason = failure.as_ref();
    let reason = reason.and_then(|failure| reason_in_short(known.state, failure));
    let fine = matches!(known.state, ServerState::Ready | ServerState::Connecting);
    let catalog = known.catalog.as_deref();
    let tools = catalog.map(|catalog| catalog.tools.as_slice());
    let tools = tools.unwrap_or_default().iter().map(|tool| Tool {
        key: self::tool(&known.route.name, &tool.name),
        title: visible(tool.title.as_ref().unwrap_or(&tool.name)),
        description: visible(&glimpse(tool.description.as_deref().unwrap_or_default())),
        denied: known.denied.get(&tool.name).cloned(),
    });
    Server {
        id: format!("server-{}", fingerprint(&known.route.name)),
        name: visible(&known.route.name),
        description: visible(known.route.description.as_deref().unwrap_or_default()),
        kind,
        symbol,
        word,
        reason: reason.filter(|_| connect.is_none()),
        failed: !fine && connect.is_none(),
        connect,
        connected: known.route.connected,
        tools: tools.collect(),
        broken: catalog
            .map(|catalog| catalog.broken.clone())
            .unwrap_or_default(),
        failure,
        key: known.route.name,
    }
}

/// What a tool is known by on the page, wherever it is named.
pub(super) fn tool(server: &str, tool: &str) -> String {
    fingerprint(&format!("{server}\0{tool}"))
}

/// `layer` is whose word it is that the server cannot be used.
fn words(state: ServerState, layer: Option<Layer>) -> (&'static str, &'static str, &'static str) {
    match state {
        ServerState::Connecting => ("connecting", "○", "connecting"),
        ServerState::Ready => ("ready", "●", "ready"),
        ServerState::NeedsConnect => ("needs-connect", "◐", "not connected"),
        ServerState::Forbidden => ("forbidden", "⊘", refused_by(layer)),
        ServerState::Unavailable => ("unavailable", "✗", "not available"),
    }
}

fn refused_by(layer: Option<Layer>) -> &'static str {
    match layer {
        Some(Layer::Pomerium) => "denied by policy",
        Some(Layer::Server) => "refused by the server",
        Some(Layer::Model | Layer::Toolgate) | None => "refused",
    }
}

/// A server's failure as it is shown: that no account is connected is no fault, whatever status
/// carried the news.
pub(super) fn plain(state: ServerState, failure: Failure) -> Failure {
    Failure {
        status: failure
            .status
            .filter(|_| state != ServerState::NeedsConnect),
        ..failure
    }
}

/// What stands below a server's name while its details are closed. What "denied by policy" says
/// already is not said again.
fn reason_in_short(state: ServerState, failure: &Failure) -> Option<String> {
    let denied = state == ServerState::Forbidden && failure.layer == Layer::Pomerium;
    match state {
        ServerState::Ready => None,
        ServerState::Forbidden if denied && !failure.advice.is_empty() => {
            Some(failure.advice.clone())
        }
        ServerState::Connecting
        | ServerState::NeedsConnect
        | ServerState::Forbidden
        | ServerState::Unavailable => Some(failure.message.clone()),
    }
}

/// The beginning of a tool's description: every page holds all of them.
fn glimpse(description: &str) -> String {
    clip(description.to_owned(), DESCRIPTION_BYTES)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use chat::{ids::TurnId, tool::Catalog};
    use wire::pomerium::Route;

    use super::*;

    fn row(title: &str, open: Option<&str>) -> ConversationRow {
        ConversationRow {
            id: "01".into(),
            title: title.to_owned(),
            created_at: 0,
            updated_at: 0,
            open_turn: open.map(TurnId::from),
        }
    }

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
    fn titles_are_text_and_marks_are_words() {
        let running = row("<script>alert(1)</script>\u{202e}", Some("t"));
        let html = conversations(&[(&running, Mark::Running)], Some(&"01".into()));
        assert!(!html.contains("<script"));
        assert!(!html.contains('\u{202e}'));
        assert!(html.contains("aria-current=\"page\""));
        assert!(html.contains("being answered"));
        let html = conversations(&[(&running, Mark::NeedsYou)], None);
        assert!(html.contains("needs you"));
        assert!(!html.contains("aria-current"));
        assert!(conversations(&[], None).contains("None yet."));
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
            let html = servers(vec![known], None, Answers::Whole);
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
        let html = servers(vec![refused], None, Answers::Whole);
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
        );
        assert!(html.contains("0 tools"));
        assert!(html.contains("&#60;bad&#62;</bdi>: its schema is a list"));
        assert!(!html.contains("<img"));
    }

    #[test]
    fn what_can_be_done_about_a_server_stands_with_it() {
        let html_of = |known| servers(vec![known], None, Answers::Whole);
        let offers = |html: &str, what: &str| html.contains(&format!("data-do=\"{what}\""));

        let mut wants = known(ServerState::NeedsConnect, None, None);
        wants.connect_url = Some("https://db.example.com/?a=1&b=%22".parse().unwrap());
        let html = html_of(wants.clone());
        assert!(offers(&html, "connect") && !offers(&html, "look"));
        let link =
            "href=\"https://db.example.com/?a=1&#38;b=%22\" target=\"_blank\" rel=\"noopener\"";
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
        let whole = servers(Vec::new(), None, Answers::Whole);
        assert!(!whole.contains("timeout"));
        let cut = servers(Vec::new(), None, Answers::Cut);
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
        let html = servers(vec![database], None, Answers::Whole);
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
        let html = servers(vec![database], None, Answers::Whole);
        assert!(html.contains("refused by the server"), "{html}");
        assert!(!html.contains("policy"), "{html}");
    }

    #[test]
    fn a_list_that_cannot_be_had_says_so() {
        let failure = Failure::new(Layer::Pomerium, "No list.", "Later.");
        let html = servers(Vec::new(), Some(failure), Answers::Whole);
        assert!(html.contains("No list."));
        assert!(!html.contains("None known yet."));
    }
}
