//! The whole result of a call, readable: a page of its own, and the fragment that its card loads
//! when somebody opens it.
//!
//! A result can have megabytes. It is read when it is asked for, rendered away from the threads
//! that serve everybody, and only so much of it is sent as somebody reads at once.

mod asked;
mod blocks;
mod chart;
mod content;
mod csv;
mod date;
mod file;
mod rows;
mod tree;
mod view;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::{Html, IntoResponse, Response},
};
use chat::{
    ids::{CallId, ConversationId, TurnId},
    shape::table::{documents, tables},
};
use serde_json::Value;

use self::{
    asked::{Asked, Format, Of, Part},
    chart::{Chart, Drawing, Place},
    rows::Rows,
};
use super::{assets, call::Arguments, problem, render, visible};
use crate::{
    app::{App, AppState},
    error::Problem,
    extract::Path,
    gate::Caller,
};

pub(crate) use content::content;
pub(crate) use file::attachment;

const CSV: &str = "text/csv; charset=utf-8; header=present";
const SVG: &str = "image/svg+xml";

#[derive(Template)]
#[template(path = "result_page.html")]
struct ResultPage {
    version: &'static str,
    title: String,
    server: String,
    conversation: Option<ConversationId>,
    arguments: Option<Arguments>,
    result: String,
    json: String,
}

/// `GET /calls/{turn}/{call}`: what came back from a call. With `?part` only its HTML, with
/// `?format` one of its tables as a file.
pub(crate) async fn page(
    State(app): State<AppState>,
    Path((turn, call)): Path<(TurnId, CallId)>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Response {
    let asked = Asked::read(&query.unwrap_or_default());
    let answer = answer(&app, &caller, (turn, call), asked).await;
    answer.unwrap_or_else(|failed| problem(&failed))
}

async fn answer(
    app: &AppState,
    caller: &Caller,
    (turn, call): (TurnId, CallId),
    asked: Asked,
) -> Result<Response, Problem> {
    let raw = raw(app, caller, &turn, call).await?;
    let page = match (asked.part, asked.format) {
        (None, None) => Some(page_of(app, caller, &turn, call).await?),
        (Some(_), _) | (None, Some(_)) => None,
    };
    let rendering = app.context.tasks.spawn_blocking(move || {
        let of = Of { turn: &turn, call };
        if let Some(format) = asked.format {
            return download(of, &raw, &asked, format);
        }
        let html = match asked.part {
            None | Some(Part::Whole) => Some(view::whole(of, &raw, &asked)),
            Some(Part::Table) => view::table(of, &raw, &asked),
            Some(Part::Tree) => view::entries(of, &raw, &asked),
        }?;
        let html = match page {
            Some(page) => render(&ResultPage {
                result: html,
                ..page
            }),
            None => html,
        };
        Some(Html(html).into_response())
    });
    let rendered = rendering.await.map_err(|error| Problem::internal(&error))?;
    rendered.ok_or_else(|| Problem::not_found("part of the result"))
}

/// What the server sent; null when nothing came back.
async fn raw(app: &App, caller: &Caller, turn: &TurnId, call: CallId) -> Result<Value, Problem> {
    let subject = &caller.person.subject;
    let finished = app.context.store.call_result(subject, turn, call).await?;
    let finished = finished.ok_or_else(|| Problem::not_found("result"))?;
    Ok(finished.result.raw)
}

/// The page around the result.
async fn page_of(
    app: &AppState,
    caller: &Caller,
    turn: &TurnId,
    call: CallId,
) -> Result<ResultPage, Problem> {
    let subject = &caller.person.subject;
    let transcript = app.context.store.transcript(subject, turn).await?;
    let transcript = transcript.unwrap_or_default();
    let servers = app.context.servers.of(subject).all();
    let started = transcript.started.as_ref();
    let item = transcript.call(call);
    let target = item.and_then(|item| item.target.as_ref());
    Ok(ResultPage {
        version: assets::version(),
        title: item.map_or_else(String::new, |item| super::call::title(item, &servers)),
        server: target.map_or_else(String::new, |target| visible(&target.server)),
        conversation: started.and_then(|started| started.conversation.clone()),
        arguments: item.map(|item| Arguments::of(&item.arguments)),
        result: String::new(),
        json: Of { turn, call }.json(),
    })
}

/// A table as a file.
fn download(of: Of<'_>, raw: &Value, asked: &Asked, format: Format) -> Option<Response> {
    let documents = documents(raw);
    let tables = tables(&documents);
    let table = tables.get(asked.table)?;
    let rows = Rows::new(table, asked.sort);
    let named = file::name(&table.name).unwrap_or_else(|| format!("result-{}", of.call));
    Some(match format {
        Format::Csv => {
            let text = csv::csv(&rows);
            file::attachment(CSV, &format!("{named}.csv"), text.into_bytes())
        }
        Format::Svg => {
            let drawn = asked.chart.clone().unwrap_or_default();
            let chart = Chart::of(&rows, &drawn)?;
            let svg = render(&Drawing::of(&chart, "chart", Place::File));
            file::attachment(SVG, &format!("{named}.svg"), svg.into_bytes())
        }
    })
}
