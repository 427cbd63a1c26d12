//! A call as HTML: one card in its place.

use askama::Template;
use chat::{
    event::{Answer, ParkReason, Progress},
    failure::{Failure, Layer},
    ids::{QuestionId, TurnId},
    outcome::Outcome,
    shape::ShapeStep,
    transcript::{CallItem, CallState},
};

use super::{
    render,
    round::seconds,
    sidebar::{self, Connect},
    visible,
};
use crate::servers::Known;

/// Characters of the arguments that the card's one line shows.
const GLANCE_CHARS: usize = 90;

/// Characters of a failure on the card: its details have it whole.
const FAILURE_CHARS: usize = 400;

/// The state of a call whose end nobody saw.
const UNKNOWN: CallState = CallState::Finished {
    outcome: Outcome::Unknown,
};

#[derive(Template)]
#[template(path = "call.html")]
struct Card<'a> {
    id: &'a str,
    turn: &'a TurnId,
    call: u32,
    server: String,
    title: String,
    /// What the tool is called is not known yet: the page finds out when its server is.
    untitled: Option<String>,
    function: String,
    glance: String,
    arguments: String,
    status: Status,
    duration: Option<String>,
    progress: String,
    waits: Option<Waits>,
    question: Option<QuestionId>,
    denied_because: Option<String>,
    finished: bool,
    shown: &'a str,
    steps: Vec<String>,
    failure: Option<Failure>,
    has_result: bool,
    again: Option<String>,
}

/// What a parked call waits for.
struct Waits {
    /// As far as the card's state does not say it.
    why: Option<&'static str>,
    connect: Option<Connect>,
    /// Of the answer that refused the call.
    request_id: Option<String>,
}

/// How a call stands, in a word.
#[derive(Clone, Copy)]
struct Status {
    kind: &'static str,
    symbol: &'static str,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "call_progress.html")]
struct Bar<'a> {
    id: &'a str,
    progress: Option<&'a Progress>,
}

/// A notice among the items of a turn.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice<'a> {
    pub(super) id: &'a str,
    pub(super) text: &'a str,
}

/// The card of a call.
pub(super) fn card(id: &str, turn: &TurnId, item: &CallItem, servers: &[Known]) -> String {
    let (server, tool) = match &item.target {
        Some(target) => (visible(&target.server), visible(&target.tool)),
        None => (String::new(), visible(&item.function)),
    };
    let arguments = visible(&pretty(&item.arguments));
    let (question, finished) = match item.state {
        CallState::Asking { question } => (Some(question), false),
        CallState::Requested | CallState::Running | CallState::Parked { .. } => (None, false),
        CallState::Finished { .. } => (None, true),
    };
    // When an unknown call ended, nobody saw.
    let seen = item.state != UNKNOWN;
    let ran = item.started_at.zip(item.finished_at).filter(|_| seen);
    render(&Card {
        id,
        turn,
        call: item.call.0,
        title: title(item, servers).map_or(tool, |title| visible(&title)),
        untitled: untitled(item, servers),
        waits: waits(item, servers),
        server,
        function: visible(&item.function),
        glance: glance(&item.arguments),
        status: status(item.state),
        duration: ran.map(|(from, to)| duration(u64::try_from(to - from).unwrap_or_default())),
        progress: progress(id, item.state, item.progress.as_ref()),
        question,
        denied_because: denied_because(item.answer.as_ref()),
        finished,
        shown: &item.shown,
        steps: item.steps.iter().map(step).collect(),
        failure: failure(item),
        has_result: has_result(item.state),
        again: again(item, &arguments),
        arguments,
    })
}

/// The progress of a call with its element; empty unless it runs and its server says how far it
/// is.
pub(super) fn progress(card: &str, state: CallState, progress: Option<&Progress>) -> String {
    render(&Bar {
        id: &progress_element(card),
        progress: progress.filter(|_| state == CallState::Running),
    })
}

/// The id of the progress in a card.
pub(super) fn progress_element(card: &str) -> String {
    format!("{card}-progress")
}

fn title(item: &CallItem, servers: &[Known]) -> Option<String> {
    let catalog = server(item, servers)?.catalog.as_ref()?;
    let target = item.target.as_ref()?;
    let tool = catalog.tools.iter().find(|tool| tool.name == target.tool)?;
    tool.title.clone().filter(|title| !title.trim().is_empty())
}

fn untitled(item: &CallItem, servers: &[Known]) -> Option<String> {
    let known = server(item, servers).is_some_and(|known| known.catalog.is_some());
    let target = item.target.as_ref().filter(|_| !known)?;
    Some(sidebar::tool(&target.server, &target.tool))
}

fn server<'a>(item: &CallItem, servers: &'a [Known]) -> Option<&'a Known> {
    let target = item.target.as_ref()?;
    let mut servers = servers.iter();
    servers.find(|known| known.route.name == target.server)
}

/// What a parked call waits for, and what its user can do about it.
fn waits(item: &CallItem, servers: &[Known]) -> Option<Waits> {
    let CallState::Parked { reason } = item.state else {
        return None;
    };
    Some(match reason {
        ParkReason::StaleToken => Waits {
            why: Some(
                "Pomerium wants a fresh token of your session. This page brings one by itself.",
            ),
            connect: None,
            request_id: None,
        },
        ParkReason::NeedsConnect => {
            let known = server(item, servers);
            let failure = known.and_then(|known| known.failure.as_ref());
            Waits {
                why: None,
                connect: known.and_then(Connect::of),
                request_id: failure.and_then(|failure| failure.request_id.clone()),
            }
        }
    })
}

fn status(state: CallState) -> Status {
    let (kind, symbol, word) = match state {
        CallState::Requested => ("waits", "○", "Next"),
        CallState::Asking { .. } => ("asks", "?", "Needs your approval"),
        CallState::Running => ("runs", "●", "Running"),
        CallState::Parked {
            reason: ParkReason::StaleToken,
        } => ("waits", "○", "Waiting for a fresh token"),
        CallState::Parked {
            reason: ParkReason::NeedsConnect,
        } => ("connect", "◐", "Waiting until your account is connected"),
        CallState::Finished { outcome } => outcome_words(outcome),
    };
    Status { kind, symbol, word }
}

fn outcome_words(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Ok => ("ok", "✓", "Done"),
        Outcome::ToolError => ("failed", "✗", "The tool failed"),
        Outcome::InvalidArguments => ("failed", "✗", "Not run: invalid arguments"),
        Outcome::UnknownFunction => ("failed", "✗", "Not run: no such function"),
        Outcome::DeniedByUser => ("stopped", "⊘", "Denied by you"),
        Outcome::ApprovalRequired => ("failed", "✗", "Not run: approval needed"),
        Outcome::DeniedByPolicy => ("failed", "⊘", "Denied by policy"),
        Outcome::Timeout => ("failed", "✗", "Timed out"),
        Outcome::Cancelled => ("stopped", "■", "Stopped"),
        Outcome::TokenExpired => ("failed", "✗", "Not run: session token expired"),
        Outcome::NeedsConnect => ("failed", "✗", "Not run: account not connected"),
        Outcome::Unavailable => ("failed", "✗", "Not run: server not available"),
        Outcome::ProtocolError => ("failed", "✗", "The server's answer is not MCP"),
        Outcome::Limit => ("failed", "✗", "Ended by a limit"),
        Outcome::Unknown => ("unknown", "?", "Unknown: it may or may not have run"),
    }
}

/// What went wrong with a call, in words for its user.
fn failure(item: &CallItem) -> Option<Failure> {
    let CallState::Finished { outcome } = item.state else {
        return None;
    };
    let (layer, advice) = match outcome {
        Outcome::Ok | Outcome::DeniedByUser | Outcome::Cancelled => return None,
        Outcome::ToolError | Outcome::ProtocolError => (
            Layer::Server,
            "Nothing to do: the model was told, and can try another way.",
        ),
        Outcome::InvalidArguments | Outcome::UnknownFunction => (
            Layer::Model,
            "Nothing to do: the model was told, and can correct itself.",
        ),
        Outcome::DeniedByPolicy | Outcome::TokenExpired => (Layer::Pomerium, ""),
        Outcome::NeedsConnect | Outcome::Timeout | Outcome::Unavailable => (Layer::Server, ""),
        Outcome::Limit | Outcome::ApprovalRequired => (Layer::Toolgate, ""),
        Outcome::Unknown => (
            Layer::Toolgate,
            "Check whether it had its effect before you run it again.",
        ),
    };
    let known = item.failure.clone();
    let mut failure = known.unwrap_or_else(|| Failure::new(layer, item.shown.as_str(), ""));
    if failure.advice.is_empty() {
        advice.clone_into(&mut failure.advice);
    }
    if let Some((end, _)) = failure.message.char_indices().nth(FAILURE_CHARS) {
        failure.message.truncate(end);
        failure.message.push('…');
    }
    Some(failure)
}

/// Whether a result of the server's is stored.
fn has_result(state: CallState) -> bool {
    matches!(
        state,
        CallState::Finished {
            outcome: Outcome::Ok | Outcome::ToolError
        }
    )
}

/// How long a call took.
fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{} s", seconds(ms)),
        _ => format!("{} min", ms / 60_000),
    }
}

fn denied_because(answer: Option<&Answer>) -> Option<String> {
    match answer {
        Some(Answer::Deny { reason }) if !reason.trim().is_empty() => Some(reason.clone()),
        Some(Answer::Deny { .. } | Answer::Approve) | None => None,
    }
}

fn step(step: &ShapeStep) -> String {
    match step {
        ShapeStep::Structured => {
            "The structured content is shown as JSON; text that only repeats it is left out."
                .to_owned()
        }
        ShapeStep::Omitted { mime, bytes } => {
            format!("{} of {bytes} bytes was left out.", visible(mime))
        }
        ShapeStep::Truncated { from, to } => {
            format!("The text was cut from {from} to {to} bytes.")
        }
    }
}

/// The message that asks for a call again whose end nobody knows.
fn again(item: &CallItem, arguments: &str) -> Option<String> {
    (item.state == UNKNOWN).then(|| {
        let mut fence = "```".to_owned();
        while arguments.contains(&fence) {
            fence.push('`');
        }
        format!(
            "Run `{}` again with exactly these arguments:\n\n{fence}json\n{arguments}\n{fence}",
            item.function
        )
    })
}

/// The arguments as people read them; as they stand when they are no JSON.
fn pretty(arguments: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(arguments);
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| arguments.to_owned())
}

/// The arguments on one short line: an object's only text by itself.
fn glance(arguments: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(arguments).unwrap_or_default();
    let only = value.as_object().filter(|object| object.len() == 1);
    let text = only.and_then(|object| object.values().next()?.as_str().map(str::to_owned));
    let text = text.unwrap_or_else(|| match &value {
        serde_json::Value::Object(object) if object.is_empty() => String::new(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => arguments.to_owned(),
    });
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() > GLANCE_CHARS {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(GLANCE_CHARS));
    }
    visible(&line)
}
