//! A call as HTML: one card in its place.

mod arguments;
mod failed;
mod status;

use askama::Template;
use chat::{
    event::{Answer, ParkReason, Progress, ServerState},
    failure::Failure,
    ids::{QuestionId, TurnId},
    outcome::Outcome,
    shape::ShapeStep,
    transcript::{CallItem, CallState},
};

use self::{failed::failure, status::Status};
use super::{
    render,
    sidebar::{self, Connect},
    visible, waited, words,
};
use crate::servers::Known;

pub(super) use arguments::Arguments;
pub(super) use status::table_size;

/// A result of so many images is opened at once: they are what was asked for.
const OPENED_IMAGES: std::ops::RangeInclusive<usize> = 1..=4;

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
    arguments: Arguments,
    status: Status,
    /// What came back.
    came: Option<String>,
    duration: Option<String>,
    /// How long it waited for its user.
    waited: Option<String>,
    progress: String,
    waits: Option<Waits>,
    question: Option<QuestionId>,
    denied_because: Option<String>,
    told: Option<Told>,
    failure: Option<Failure>,
    has_result: bool,
    /// The details begin open.
    opened: bool,
    /// The account that would have been needed.
    connect: Option<Connect>,
    again: Option<String>,
}

/// What the model was shown of a finished call.
struct Told {
    shown: String,
    steps: Vec<String>,
}

/// What a parked call waits for.
struct Waits {
    /// As far as the card's state does not say it.
    why: Option<&'static str>,
    connect: Option<Connect>,
    /// Of the answer that refused the call.
    request_id: Option<String>,
}

#[derive(Template)]
#[template(path = "call_progress.html")]
struct Bar<'a> {
    id: &'a str,
    progress: Option<&'a Progress>,
    /// Of what there is to do, if that is known.
    percent: Option<String>,
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
    let arguments = Arguments::of(&item.arguments);
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
        title: titled(item, servers).map_or(tool, |title| visible(&title)),
        untitled: untitled(item, servers),
        waits: waits(item, servers),
        server,
        function: visible(&item.function),
        glance: arguments.glance.clone(),
        status: status::status(item.state),
        came: status::came(&item.facts).filter(|_| is_ok(item.state)),
        waited: waited::words(item.waited_ms),
        duration: ran.map(|(from, to)| words::millis(u64::try_from(to - from).unwrap_or_default())),
        progress: progress(id, item.state, item.progress.as_ref()),
        question,
        denied_because: denied_because(item.answer.as_ref()),
        told: finished.then(|| Told {
            shown: visible(&item.shown),
            steps: item.steps.iter().map(step).collect(),
        }),
        failure: failure(item),
        has_result: has_result(item.state),
        opened: question.is_some()
            || is_ok(item.state) && OPENED_IMAGES.contains(&item.facts.images),
        connect: missing(item, servers),
        again: again(item, &arguments.json),
        arguments,
    })
}

/// The progress of a call with its element; empty unless it runs and its server says how far it
/// is.
pub(super) fn progress(card: &str, state: CallState, progress: Option<&Progress>) -> String {
    render(&Bar {
        id: &progress_element(card),
        percent: progress.and_then(percent),
        progress: progress.filter(|_| state == CallState::Running),
    })
}

/// The id of the progress in a card.
pub(super) fn progress_element(card: &str) -> String {
    format!("{card}-progress")
}

/// What a call is called, for people.
pub(super) fn title(item: &CallItem, servers: &[Known]) -> String {
    let tool = item.target.as_ref().map_or(&item.function, |it| &it.tool);
    let title = titled(item, servers);
    visible(title.as_ref().unwrap_or(tool))
}

/// How much of the work is done; none if nobody knows how much there is.
fn percent(progress: &Progress) -> Option<String> {
    let total = progress.total.filter(|total| *total > 0.0)?;
    let percent = (progress.progress / total * 100.0).clamp(0.0, 100.0);
    Some(format!("{percent:.0} %"))
}

fn titled(item: &CallItem, servers: &[Known]) -> Option<String> {
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

/// The way to connect the account that a call lacked, as long as it is lacking.
fn missing(item: &CallItem, servers: &[Known]) -> Option<Connect> {
    let lacked = matches!(
        item.state,
        CallState::Finished {
            outcome: Outcome::NeedsConnect
        }
    );
    let known = server(item, servers).filter(|_| lacked)?;
    (known.state == ServerState::NeedsConnect)
        .then(|| Connect::of(known))
        .flatten()
}

fn is_ok(state: CallState) -> bool {
    matches!(
        state,
        CallState::Finished {
            outcome: Outcome::Ok
        }
    )
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

fn denied_because(answer: Option<&Answer>) -> Option<String> {
    match answer {
        Some(Answer::Deny { reason }) if !reason.trim().is_empty() => Some(reason.clone()),
        Some(Answer::Deny { .. } | Answer::Approve) | None => None,
    }
}

/// What was done to a result before the model was shown it.
pub(super) fn step(step: &ShapeStep) -> String {
    match step {
        ShapeStep::Structured => {
            "The model was shown the structured content as JSON, without text that only repeats it."
                .to_owned()
        }
        ShapeStep::Omitted { mime, bytes } => {
            format!(
                "{}, {}, was not shown to the model.",
                visible(mime),
                words::size(*bytes as u64)
            )
        }
        ShapeStep::Truncated { from, to } => {
            format!("The text was cut from {from} to {to} bytes for the model.")
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

#[cfg(test)]
mod tests;
