//! `/traffic/{turn}/calls/{call}`: what a server sent beside what the model saw of it.

use askama::Template;
use chat::{
    event::CallFinished,
    exchange::Peer,
    ids::{RoundId, TurnId},
    transcript::{CallItem, Transcript},
};
use store::traffic::ExchangeRow;

use super::{body::raw, card, sheet, waterfall, words};
use crate::page::{call::step, json::folded, render, visible};

/// Bytes of a result that is shown folded; a larger one is downloaded.
const FOLDED_BYTES: usize = 4 * 1024 * 1024;

#[derive(Template)]
#[template(path = "traffic_call.html")]
struct Part {
    /// Begins the ids of the elements.
    id: String,
    /// Where, and what is there.
    links: Vec<(String, String)>,
    sent_size: String,
    sent: Option<String>,
    raw: Option<String>,
    download: Option<String>,
    shown_size: String,
    steps: Vec<String>,
    shown: String,
}

/// A call, and what is known of its result.
pub(super) struct Compared<'a> {
    pub(super) turn: &'a TurnId,
    pub(super) transcript: &'a Transcript,
    pub(super) item: &'a CallItem,
    /// None while there is none.
    pub(super) finished: Option<CallFinished>,
    /// The turn's exchanges.
    pub(super) rows: &'a [ExchangeRow],
}

impl Compared<'_> {
    /// All of the page.
    pub(super) fn page(&self) -> String {
        let title = format!("Call {}: {}", self.item.call, visible(&self.item.function));
        sheet(self.turn.as_str(), title, self.part())
    }

    /// What a row opens to.
    pub(super) fn part(&self) -> String {
        let result = self.finished.as_ref().map(|finished| &finished.result.raw);
        let json = result.filter(|raw| !raw.is_null()).map(ToString::to_string);
        let call = self.item.call;
        render(&Part {
            id: format!("o-c{call}"),
            links: self.links(),
            sent_size: match &json {
                Some(json) => words::size(json.len() as u64),
                None => "Nothing: the server sent no result.".to_owned(),
            },
            sent: json
                .as_deref()
                .filter(|json| json.len() <= FOLDED_BYTES)
                .and_then(folded),
            raw: json.as_deref().map(raw),
            download: json
                .is_some()
                .then(|| format!("/api/turns/{}/calls/{call}/result?download", self.turn)),
            shown_size: words::size(self.item.shown.len() as u64),
            steps: self.item.steps.iter().map(step).collect(),
            shown: raw(&self.item.shown),
        })
    }

    /// To the request that brought the result, to those that carried it to the model, and to the
    /// call's card.
    fn links(&self) -> Vec<(String, String)> {
        let next = RoundId(self.item.round.0.saturating_add(1));
        let brought = |row: &&ExchangeRow| row.call == Some(self.item.call);
        let carried = |row: &&ExchangeRow| row.peer == Peer::Model && row.round == Some(next);
        let mut links = Vec::new();
        for row in self.rows.iter().filter(brought) {
            links.push((
                waterfall::href(row),
                format!("Request: {}", waterfall::label(row)),
            ));
        }
        for row in self.rows.iter().filter(carried) {
            let words = format!("Model request that carried it (round {next})");
            links.push((waterfall::href(row), words));
        }
        let started = self.transcript.started.as_ref();
        if let Some(conversation) = started.and_then(|started| started.conversation.as_ref()) {
            let card = card(conversation, self.turn, self.item.call);
            links.push((card, "The call in the conversation".to_owned()));
        }
        links
    }
}
