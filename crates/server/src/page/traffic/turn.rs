//! `/traffic/{turn}`: the exchanges of a turn as a waterfall.

use askama::Template;
use chat::{
    ids::{Subject, TurnId},
    shape::ShapeStep,
    transcript::{CallItem, CallState, Transcript},
};
use store::{StoreError, traffic::ExchangeRow};

use super::{
    Fact, in_conversation, list,
    waterfall::{self, Axis, Row, Tick},
    words,
};
use crate::{
    clock,
    context::Context,
    page::{assets, render, visible},
    traffic::OUTSIDE,
};

/// Exchanges on a page: more than a turn at its limits has.
const EXCHANGES: u32 = 1000;

/// Exchanges outside of turns on a page.
const EXCHANGES_OUTSIDE: u32 = 200;

#[derive(Template)]
#[template(path = "traffic_turn.html")]
pub(super) struct Page {
    version: &'static str,
    title: String,
    notices: Vec<String>,
    part: String,
    conversation: Option<String>,
    turn: String,
}

/// What changes while the turn runs.
#[derive(Template)]
#[template(path = "traffic_part.html")]
struct Part {
    running: bool,
    facts: Vec<Fact>,
    none: &'static str,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    calls: Vec<Call>,
}

/// A call with a result.
struct Call {
    number: u32,
    href: String,
    tool: String,
    server: String,
    /// How much of the result the model saw.
    shown: String,
}

/// A turn with its exchanges.
pub(super) struct Turn {
    id: Option<TurnId>,
    transcript: Option<Transcript>,
    rows: Vec<ExchangeRow>,
}

impl Turn {
    /// The turn, or without an id what was outside of turns; none when the person has no such turn.
    pub(super) async fn find(
        context: &Context,
        subject: &Subject,
        id: Option<TurnId>,
    ) -> Result<Option<Self>, StoreError> {
        let limit = match id {
            Some(_) => EXCHANGES,
            None => EXCHANGES_OUTSIDE,
        };
        let rows = context
            .traffic
            .exchanges(subject, id.as_ref(), limit)
            .await?;
        let transcript = match &id {
            Some(id) => context.store.transcript(subject, id).await?,
            None => None,
        };
        // Of a turn whose conversation was deleted nothing is shown.
        let is_there = id.is_none() || transcript.is_some();
        Ok(is_there.then_some(Self {
            id,
            transcript,
            rows,
        }))
    }

    /// All of the page.
    pub(super) fn page(&self, notices: Vec<String>) -> String {
        let started = self.transcript.as_ref().and_then(|it| it.started.as_ref());
        let conversation = started.and_then(|started| started.conversation.as_ref());
        let place = conversation.zip(self.id.as_ref());
        render(&Page {
            version: assets::version(),
            title: match &self.id {
                Some(_) => list::question(started),
                None => "Outside of turns".to_owned(),
            },
            notices,
            part: self.part(),
            conversation: place.map(|(conversation, turn)| in_conversation(conversation, turn)),
            turn: self.id.as_ref().map_or(OUTSIDE, TurnId::as_str).to_owned(),
        })
    }

    /// What changes while the turn runs.
    pub(super) fn part(&self) -> String {
        let now = clock::now();
        let transcript = self.transcript.as_ref();
        // What is outside of turns may be days apart.
        let axis = self.id.as_ref().filter(|_| !self.rows.is_empty()).map(|_| {
            Axis::of(
                transcript.map(|transcript| transcript.started_at),
                &self.rows,
                now,
            )
        });
        let row = |row| waterfall::row(row, transcript, axis, now);
        let is_open = |row: &ExchangeRow| row.end.is_none();
        render(&Part {
            running: self.id.is_some()
                && (transcript.is_some_and(Transcript::is_open) || self.rows.iter().any(is_open)),
            facts: self.facts(now),
            none: match transcript {
                Some(transcript) if transcript.is_open() => "Nothing has been sent yet.",
                _ => "No requests of it are recorded.",
            },
            ticks: axis.map(Axis::ticks).unwrap_or_default(),
            rows: self.rows.iter().map(row).collect(),
            calls: self.calls(),
        })
    }

    fn facts(&self, now: i64) -> Vec<Fact> {
        let sum = |of: fn(&ExchangeRow) -> u64| words::size(self.rows.iter().map(of).sum());
        let mut facts = Vec::new();
        if let Some(transcript) = &self.transcript {
            let end = transcript.end.as_ref().map(|end| end.end);
            facts.push(Fact::new("Turn", list::end(end).1));
            if let Some(started) = &transcript.started {
                facts.push(Fact::new("Model", visible(&started.model)));
            }
            facts.push(Fact::at("Began", transcript.started_at));
            let until = transcript.end.as_ref().map_or(now, |end| end.at);
            let ms = u64::try_from(until - transcript.started_at).unwrap_or_default();
            facts.push(Fact::new("Took", words::duration(ms * 1000)));
        }
        let failed = self.rows.iter().filter(|row| row.failed()).count();
        facts.push(Fact::new("Requests", self.rows.len().to_string()));
        facts.push(Fact::new("Errors", failed.to_string()));
        facts.push(Fact::new("Sent", sum(|row| row.bytes_out)));
        facts.push(Fact::new("Received", sum(|row| row.bytes_in)));
        facts
    }

    fn calls(&self) -> Vec<Call> {
        let (Some(transcript), Some(turn)) = (&self.transcript, &self.id) else {
            return Vec::new();
        };
        let ended = |call: &&CallItem| matches!(call.state, CallState::Finished { .. });
        let call = |call: &CallItem| Call {
            number: call.call.0,
            href: format!("/traffic/{turn}/calls/{}", call.call),
            tool: match &call.target {
                Some(target) => visible(&target.tool),
                None => visible(&call.function),
            },
            server: call
                .target
                .as_ref()
                .map(|it| visible(&it.server))
                .unwrap_or_default(),
            shown: shown(call),
        };
        transcript.calls().filter(ended).map(call).collect()
    }
}

fn shown(call: &CallItem) -> String {
    let cut = call.steps.iter().find_map(|step| match step {
        ShapeStep::Truncated { from, .. } => Some(words::size(*from as u64)),
        ShapeStep::Structured | ShapeStep::Omitted { .. } => None,
    });
    let size = words::size(call.shown.len() as u64);
    match cut {
        Some(from) => format!("shown cut, {size} of {from}"),
        None => format!("shown {size}"),
    }
}
