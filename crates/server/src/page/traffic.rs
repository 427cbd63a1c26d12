//! `/traffic`: what was said to models, MCP servers and Pomerium, for those who want to know.
//!
//! Rendered by the server, and readable without a script; with `?part` a page gives only what its
//! script puts in place. Whatever is shown came from elsewhere: it is escaped, what hides is
//! spelled out, and no page grows with what a body holds.

mod exchange;
mod list;
mod turn;

mod compare;
mod waterfall;

mod assembled;
mod body;
mod curl;
mod frames;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse as _, Response},
};
use chat::ids::{CallId, ConversationId, TurnId};
use serde::Deserialize;
use store::traffic::{ExchangeId, Paused};

use self::{compare::Compared, exchange::Opened, turn::Turn};
use super::{assets, problem, render, turn::element, visible, words};
use crate::{
    app::{App, AppState},
    clock,
    config::TrafficMode,
    error::Problem,
    extract::{Path, Query},
    gate::Caller,
    traffic::{OUTSIDE, is_of},
};

pub(crate) use self::list::Wanted;

/// How much of a page is wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Part {
    /// Only what a script puts in place; any text says so.
    #[serde(default)]
    part: Option<String>,
    /// Events of a stream that are left out at its start.
    #[serde(default)]
    skip: usize,
}

/// `GET /traffic`: the caller's turns.
pub(crate) async fn turns(
    State(app): State<AppState>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Response {
    let subject = &caller.person.subject;
    let list = list::list(&app.context, subject, &wanted, notices(&app)).await;
    answer(list.map(|list| render(&list)).map_err(Problem::from))
}

/// `GET /traffic/{turn}`: the exchanges of a turn; of `outside` those outside of turns.
pub(crate) async fn turn(
    State(app): State<AppState>,
    Path(id): Path<TurnId>,
    Query(wanted): Query<Part>,
    caller: Caller,
) -> Response {
    let id = Some(id).filter(|id| id.as_str() != OUTSIDE);
    let found = Turn::find(&app.context, &caller.person.subject, id).await;
    answer(match found {
        Ok(Some(turn)) if wanted.part.is_some() => Ok(turn.part()),
        Ok(Some(turn)) => Ok(turn.page(notices(&app))),
        Ok(None) => Err(Problem::not_found("turn")),
        Err(error) => Err(error.into()),
    })
}

/// `GET /traffic/{turn}/{exchange}`: a request and its response.
pub(crate) async fn exchange(
    State(app): State<AppState>,
    Path((turn, id)): Path<(TurnId, String)>,
    Query(wanted): Query<Part>,
    caller: Caller,
) -> Response {
    let html = async {
        let subject = &caller.person.subject;
        let whole = app
            .context
            .traffic
            .exchange(subject, &ExchangeId(id))
            .await?;
        let whole = whole.filter(|whole| is_of(whole.row.turn.as_ref(), &turn));
        let whole = whole.ok_or_else(|| Problem::not_found("request"))?;
        let transcript = app.context.store.transcript(subject, &turn).await?;
        if transcript.is_none() && turn.as_str() != OUTSIDE {
            return Err(Problem::not_found("turn"));
        }
        let started = transcript.and_then(|transcript| transcript.started);
        let conversation = started.and_then(|started| started.conversation);
        let tasks = app.context.tasks.clone();
        let rendering = tasks.spawn_blocking(move || {
            let opened = Opened {
                app: &app,
                subject: &caller.person.subject,
                whole: &whole,
                conversation: conversation.as_ref(),
                skip: wanted.skip,
            };
            match wanted.part {
                Some(_) => opened.part(),
                None => opened.page(),
            }
        });
        rendering.await.map_err(|error| Problem::internal(&error))
    };
    answer(html.await)
}

/// `GET /traffic/{turn}/calls/{call}`: what the server sent beside what the model saw.
pub(crate) async fn call(
    State(app): State<AppState>,
    Path((turn, call)): Path<(TurnId, CallId)>,
    Query(wanted): Query<Part>,
    caller: Caller,
) -> Response {
    let html = async {
        let subject = &caller.person.subject;
        let (store, traffic) = (&app.context.store, &app.context.traffic);
        let transcript = store.transcript(subject, &turn).await?;
        let transcript = transcript.ok_or_else(|| Problem::not_found("turn"))?;
        let finished = store.call_result(subject, &turn, call).await?;
        let rows = traffic.exchanges(subject, Some(&turn), u32::MAX).await?;
        let rendering = app.context.tasks.spawn_blocking(move || {
            let item = transcript.call(call)?;
            let compared = Compared {
                turn: &turn,
                transcript: &transcript,
                item,
                finished,
                rows: &rows,
            };
            Some(match wanted.part {
                Some(_) => compared.part(),
                None => compared.page(),
            })
        });
        let html = rendering.await.map_err(|error| Problem::internal(&error))?;
        html.ok_or_else(|| Problem::not_found("call"))
    };
    answer(html.await)
}

/// What a page says of a turn or a request.
struct Fact {
    name: &'static str,
    words: String,
    /// Of a moment, for programs: a script then says it in its reader's own time.
    datetime: Option<String>,
}

impl Fact {
    fn new(name: &'static str, words: impl Into<String>) -> Self {
        Self {
            name,
            words: words.into(),
            datetime: None,
        }
    }

    /// A moment, milliseconds since 1970.
    fn at(name: &'static str, ms: i64) -> Self {
        Self {
            name,
            words: words::moment(ms),
            datetime: Some(clock::rfc3339(ms)),
        }
    }
}

/// A page below that of a turn.
#[derive(Template)]
#[template(path = "traffic_exchange.html")]
struct Sheet {
    version: &'static str,
    /// The page of the turn.
    place: String,
    title: String,
    part: String,
}

fn sheet(turn: &str, title: String, part: String) -> String {
    render(&Sheet {
        version: assets::version(),
        place: format!("/traffic/{turn}"),
        title,
        part,
    })
}

/// Where a turn stands in its conversation.
fn in_conversation(conversation: &ConversationId, turn: &TurnId) -> String {
    format!("/c/{conversation}?turn={turn}#{}", element(turn))
}

/// Where the card of a call stands.
fn card(conversation: &ConversationId, turn: &TurnId, call: CallId) -> String {
    format!("{}-c{call}", in_conversation(conversation, turn))
}

fn answer(html: Result<String, Problem>) -> Response {
    match html {
        Ok(html) => Html(html).into_response(),
        Err(failed) => problem(&failed),
    }
}

/// What is to be said about the recording as a whole.
fn notices(app: &App) -> Vec<String> {
    let traffic = &app.context.traffic;
    let (settings, dropped) = (traffic.settings(), traffic.dropped());
    let mut notices = Vec::new();
    match settings.mode {
        TrafficMode::Full => {}
        TrafficMode::Metadata => notices.push(
            "Recorded is who was asked, when and how it went, without any body: the operator set \
             TOOLGATE_TRAFFIC to metadata."
                .to_owned(),
        ),
        TrafficMode::Off => notices
            .push("Nothing is recorded: the operator set TOOLGATE_TRAFFIC to off.".to_owned()),
    }
    let less = |(server, mode): (&String, &TrafficMode)| match mode {
        TrafficMode::Full => None,
        TrafficMode::Metadata => Some(format!("of {} no bodies", visible(server))),
        TrafficMode::Off => Some(format!("of {} nothing", visible(server))),
    };
    if settings.mode == TrafficMode::Full {
        let mut less: Vec<_> = settings.servers.iter().filter_map(less).collect();
        less.sort();
        if !less.is_empty() {
            notices.push(format!(
                "The operator has less recorded {}.",
                less.join(", ")
            ));
        }
    }
    if let Some(paused) = dropped.paused {
        notices.push(
            match paused {
                Paused::DiskFull => {
                    "Nothing is recorded at the moment: the disk is almost full, and \
                                 what is left is for conversations. It goes on by itself when \
                                 there is room."
                }
                Paused::Failing => {
                    "Nothing is recorded at the moment: the traffic file cannot be \
                                written. Conversations are not affected."
                }
            }
            .to_owned(),
        );
    }
    if dropped.exchanges + dropped.pieces > 0 {
        let exchanges = words::count(dropped.exchanges, "request", "requests");
        let pieces = words::count(dropped.pieces, "piece of a body", "pieces of bodies");
        notices.push(format!(
            "Since the start {exchanges} and {pieces} were left out, of everybody’s: more came \
             than could be written."
        ));
    }
    notices
}
