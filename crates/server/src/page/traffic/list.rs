//! `/traffic`: the turns of a person, the newest first.

use askama::Template;
use chat::{
    event::TurnStarted,
    ids::{Subject, TurnId},
    outcome::TurnEnd,
};
use serde::Deserialize;
use store::{StoreError, TurnHead, traffic::TrafficTurn};
use url::form_urlencoded;

use super::words;
use crate::{
    clock,
    context::Context,
    page::{assets, visible},
};

/// Turns on a page.
const TURNS: usize = 40;

/// Turns that a page looks through for those that are wanted: the next page looks further.
const LOOKED_THROUGH: usize = 400;

/// Characters of a question on its line.
const QUESTION_CHARS: usize = 200;

/// Bytes of what is searched for.
const SEARCH_BYTES: usize = 1024;

/// Which turns are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// Those with this in their question or their model's name, in any case.
    #[serde(default)]
    search: String,
    /// Only those with failed exchanges; any text says so.
    #[serde(default)]
    errors: Option<String>,
    /// Only those older than this one.
    #[serde(default)]
    before: Option<TurnId>,
}

#[derive(Template)]
#[template(path = "traffic.html")]
pub(super) struct List {
    version: &'static str,
    notices: Vec<String>,
    search: String,
    errors: bool,
    turns: Vec<Turn>,
    none: &'static str,
    older: Option<String>,
}

/// A turn in the list.
struct Turn {
    id: TurnId,
    question: String,
    datetime: String,
    moment: String,
    is_api: bool,
    /// For style: `open`, `answered`, `other`, `failed`.
    end_kind: &'static str,
    end: &'static str,
    model: String,
    exchanges: String,
    errors: Option<String>,
    size: String,
    duration: String,
}

/// The list, as far as a page shows it.
pub(super) async fn list(
    context: &Context,
    subject: &Subject,
    wanted: &Wanted,
    notices: Vec<String>,
) -> Result<List, StoreError> {
    let search = chat::limits::clip(wanted.search.trim().to_owned(), SEARCH_BYTES);
    let folded = store::folded(&search);
    let mut before = wanted.before.clone();
    let (mut turns, mut looked, mut is_end) = (Vec::new(), 0, false);
    while turns.len() < TURNS && looked < LOOKED_THROUGH && !is_end {
        let page = u32::try_from(TURNS).unwrap_or(u32::MAX);
        let rows = context
            .traffic
            .turns(subject, before.as_ref(), page)
            .await?;
        is_end = rows.len() < TURNS;
        looked += rows.len();
        // Of turns whose conversation was deleted nothing is shown.
        let ids: Vec<_> = rows.iter().map(|row| row.turn.clone()).collect();
        let heads = context.store.turn_heads(subject, &ids).await?;
        for row in rows {
            if turns.len() == TURNS {
                is_end = false;
                break;
            }
            before = Some(row.turn.clone());
            if wanted.errors.is_some() && row.errors == 0 {
                continue;
            }
            let Some(head) = heads.iter().find(|head| head.turn == row.turn) else {
                continue;
            };
            let turn = Turn::new(row, head);
            if turn.fits(&folded) {
                turns.push(turn);
            }
        }
    }
    let is_filtered = !search.is_empty() || wanted.errors.is_some() || wanted.before.is_some();
    Ok(List {
        version: assets::version(),
        notices,
        errors: wanted.errors.is_some(),
        turns,
        none: if is_filtered {
            "No such turns here."
        } else {
            "Nothing is recorded so far."
        },
        older: before
            .filter(|_| !is_end)
            .map(|before| older(&search, wanted.errors.is_some().then_some("on"), &before)),
        search,
    })
}

fn older(search: &str, errors: Option<&str>, before: &TurnId) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !search.is_empty() {
        query.append_pair("search", search);
    }
    if let Some(errors) = errors {
        query.append_pair("errors", errors);
    }
    query.append_pair("before", before.as_str());
    format!("/traffic?{}", query.finish())
}

impl Turn {
    fn new(row: TrafficTurn, head: &TurnHead) -> Self {
        let started = head.started.as_ref();
        let (end_kind, end) = end(head.end);
        let lasted = row.ended_at.map(|ended| ended - row.started_at);
        let lasted = lasted.and_then(|ms| u64::try_from(ms).ok());
        Self {
            question: question(started),
            datetime: clock::rfc3339(row.started_at),
            moment: words::moment(row.started_at),
            is_api: started.is_some_and(|started| started.request.is_some()),
            end_kind,
            end,
            model: started.map(|it| visible(&it.model)).unwrap_or_default(),
            exchanges: words::count(row.exchanges, "request", "requests"),
            errors: (row.errors > 0).then(|| words::count(row.errors, "error", "errors")),
            size: words::size(row.bytes_in + row.bytes_out),
            duration: lasted
                .map(|ms| words::duration(ms * 1000))
                .unwrap_or_default(),
            id: row.turn,
        }
    }

    /// Whether what is searched for is in it.
    fn fits(&self, folded: &str) -> bool {
        let has = |text: &str| store::folded(text).contains(folded);
        folded.is_empty() || has(&self.question) || has(&self.model)
    }
}

/// What was asked, on one line.
pub(super) fn question(started: Option<&TurnStarted>) -> String {
    let Some(started) = started else {
        return "A question that cannot be read".to_owned();
    };
    let mut line = String::new();
    for word in started.message.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // Enough to be cut; every character has a byte.
        if line.len() > 4 * QUESTION_CHARS {
            break;
        }
    }
    if line.is_empty() {
        return "A request without a question".to_owned();
    }
    words::beginning(&line, QUESTION_CHARS)
}

/// How the turn ended: for style, and in words.
pub(super) fn end(end: Option<TurnEnd>) -> (&'static str, &'static str) {
    match end {
        None => ("open", "Running"),
        Some(TurnEnd::Answered) => ("answered", "Answered"),
        Some(TurnEnd::Cancelled) => ("other", "Stopped"),
        Some(TurnEnd::Limit) => ("other", "Ended at a limit"),
        Some(TurnEnd::Failed) => ("failed", "Failed"),
        Some(TurnEnd::Interrupted) => ("failed", "Interrupted"),
    }
}
