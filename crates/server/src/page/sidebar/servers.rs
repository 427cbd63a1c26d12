//! The servers, and how they are.

use askama::Template;
use chat::{
    event::{ServerState, Target},
    failure::{Failure, Layer},
    ids::Subject,
    limits::clip,
    selection::Selection,
    tool::BrokenTool,
};
use url::Url;

use crate::{
    app::App,
    page::{fingerprint, render, visible},
    servers::{Known, UserServers},
};

/// Bytes of a tool's description on the page.
const DESCRIPTION_BYTES: usize = 300;

/// The id of the servers' element.
pub(in crate::page) const SERVERS: &str = "servers";

#[derive(Template)]
#[template(path = "servers.html")]
struct List {
    answers: Answers,
    unlisted: Option<Failure>,
    servers: Vec<Server>,
    /// What is switched off in the conversation, as JSON: scripts go by it.
    off: String,
}

struct Server {
    id: String,
    /// As requests name it.
    key: String,
    name: String,
    description: String,
    state: ServerState,
    /// Its state, as scripts and style sheets name it.
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
    offered: Offered,
}

/// Whether a conversation is offered a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    /// It is, but for its tools that are off by themselves.
    On,
    /// It is switched off with all its tools.
    Off,
}

struct Tool {
    key: String,
    /// As requests name it.
    name: String,
    title: String,
    description: String,
    /// It is refused to the user, by policy or by the server.
    denied: Option<Failure>,
    /// It is switched off in the conversation, by itself.
    is_off: bool,
}

impl Server {
    /// How many of its tools are offered. Scripts write the same.
    fn count(&self) -> String {
        let (all, on) = (
            self.tools.len(),
            self.tools.iter().filter(|tool| !tool.is_off),
        );
        let (on, word) = (on.count(), if all == 1 { "tool" } else { "tools" });
        if self.offered == Offered::Off {
            "off".to_owned()
        } else if self.state != ServerState::Ready {
            String::new()
        } else if on == all {
            format!("{all} {word}")
        } else {
            format!("{on} of {all} {word}")
        }
    }
}

impl Tool {
    /// Who refuses it, for its `denied`.
    fn refused(&self) -> &'static str {
        refused_by(self.denied.as_ref().map(|failure| failure.layer))
    }
}

/// The way to connect an account to a server.
pub(in crate::page) struct Connect {
    /// As requests name the server.
    pub(in crate::page) key: String,
    /// For people.
    pub(in crate::page) name: String,
    /// Where the browser goes.
    pub(in crate::page) url: Url,
}

impl Connect {
    /// The way to connect an account to the server; none where Pomerium knows of no accounts.
    pub(in crate::page) fn of(known: &Known) -> Option<Self> {
        Some(Self {
            key: known.route.name.clone(),
            name: visible(&known.route.name),
            url: known.connect_url.clone()?,
        })
    }
}

/// Whether Pomerium lets Toolgate's answers through to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::page) enum Answers {
    /// As far as is known.
    Whole,
    /// They break off after 30 s.
    Cut,
}

/// The user's servers, how they are, and what of them a conversation is not offered.
pub(in crate::page) fn servers_of(
    app: &App,
    subject: &Subject,
    user: &UserServers,
    off: &Selection,
) -> String {
    let answers = if app.route_is_cut(subject) {
        Answers::Cut
    } else {
        Answers::Whole
    };
    servers(user.all(), user.unlisted_because(), answers, off)
}

fn servers(
    known: Vec<Known>,
    unlisted: Option<Failure>,
    answers: Answers,
    off: &Selection,
) -> String {
    let servers = known.into_iter().map(|known| server(known, off)).collect();
    render(&List {
        answers,
        unlisted,
        servers,
        // It is sets of strings: serializing it cannot fail.
        off: serde_json::to_string(off).unwrap_or_default(),
    })
}

fn server(known: Known, off: &Selection) -> Server {
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
        is_off: off.tools.contains(&Target {
            server: known.route.name.clone(),
            tool: tool.name.clone(),
        }),
        name: tool.name.clone(),
    });
    Server {
        id: format!("server-{}", fingerprint(&known.route.name)),
        name: visible(&known.route.name),
        description: visible(known.route.description.as_deref().unwrap_or_default()),
        state: known.state,
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
        offered: if off.is_server_off(&known.route.name) {
            Offered::Off
        } else {
            Offered::On
        },
        key: known.route.name,
    }
}

/// What a tool is known by on the page, wherever it is named.
pub(in crate::page) fn tool(server: &str, tool: &str) -> String {
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
pub(in crate::page) fn plain(state: ServerState, failure: Failure) -> Failure {
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
mod tests;
