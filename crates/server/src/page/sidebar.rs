//! The list of conversations and the servers, beside every conversation.

use askama::Template;
use chat::{
    event::{ParkReason, ServerState},
    failure::Failure,
    ids::ConversationId,
    tool::BrokenTool,
    transcript::{CallState, Transcript},
};
use store::ConversationRow;

use super::{render, visible};
use crate::servers::UserServers;

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
struct Servers {
    unlisted: Option<Failure>,
    servers: Vec<Server>,
}

struct Server {
    name: String,
    description: String,
    kind: &'static str,
    symbol: &'static str,
    word: &'static str,
    failure: Option<Failure>,
    tools: Vec<Tool>,
    broken: Vec<BrokenTool>,
}

struct Tool {
    title: String,
    description: String,
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

/// The servers and how they are.
pub(super) fn servers(user: &UserServers) -> String {
    let servers = user
        .all()
        .into_iter()
        .map(|known| {
            let (kind, symbol, word) = words(known.state);
            let catalog = known.catalog.as_deref();
            let tools = catalog.map(|catalog| catalog.tools.as_slice());
            Server {
                name: visible(&known.route.name),
                description: visible(known.route.description.as_deref().unwrap_or_default()),
                kind,
                symbol,
                word,
                failure: known.failure.clone(),
                tools: tools
                    .unwrap_or_default()
                    .iter()
                    .map(|tool| Tool {
                        title: visible(tool.title.as_ref().unwrap_or(&tool.name)),
                        description: visible(tool.description.as_deref().unwrap_or_default()),
                    })
                    .collect(),
                broken: catalog
                    .map(|catalog| catalog.broken.clone())
                    .unwrap_or_default(),
            }
        })
        .collect();
    render(&Servers {
        unlisted: user.unlisted_because(),
        servers,
    })
}

fn words(state: ServerState) -> (&'static str, &'static str, &'static str) {
    match state {
        ServerState::Connecting => ("connecting", "○", "connecting"),
        ServerState::Ready => ("ready", "●", "ready"),
        ServerState::NeedsConnect => ("needs-connect", "◐", "not connected"),
        ServerState::Forbidden => ("forbidden", "⊘", "not allowed"),
        ServerState::Unavailable => ("unavailable", "✗", "not available"),
    }
}
