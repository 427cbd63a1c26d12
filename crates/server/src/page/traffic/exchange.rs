//! `/traffic/{turn}/{exchange}`: one request and its response, whole.

use askama::Template;
use chat::ids::ConversationId;
use store::traffic::{BodyRecord, ExchangeEnd, ExchangeWhole, Kept, Peer};

use super::{
    OUTSIDE,
    body::{Body, Formatted, Shown},
    curl::{self, Token},
    waterfall, words,
};
use crate::{
    app::App,
    clock,
    identity::Authority,
    page::{assets, render, turn::element, visible},
};

/// Characters of a URL or a header's value on the page.
const VALUE_CHARS: usize = 4000;

#[derive(Template)]
#[template(path = "traffic_exchange.html")]
struct Page {
    version: &'static str,
    /// The page of the turn.
    place: String,
    title: String,
    part: String,
}

#[derive(Template)]
#[template(path = "traffic_exchange_part.html")]
struct Part {
    /// Begins the ids of the elements.
    id: String,
    facts: Vec<(&'static str, String)>,
    request_id: Option<String>,
    failure: Option<String>,
    /// The call's card in its conversation.
    card: Option<String>,
    compare: String,
    method: String,
    url: String,
    status: String,
    request_headers: Vec<(String, String)>,
    response_headers: Vec<(String, String)>,
    request: Body,
    response: Body,
    curl: String,
}

/// All of the page; `skip` events of a stream are left out at its start.
pub(super) fn page(
    app: &App,
    whole: &ExchangeWhole,
    conversation: Option<&ConversationId>,
    skip: usize,
) -> String {
    let turn = whole.row.turn.as_ref();
    let turn = turn.map_or(OUTSIDE, |turn| turn.as_str());
    render(&Page {
        version: assets::version(),
        place: format!("/traffic/{turn}"),
        title: waterfall::label(&whole.row),
        part: part(app, whole, conversation, skip),
    })
}

/// What a row opens to.
pub(super) fn part(
    app: &App,
    whole: &ExchangeWhole,
    conversation: Option<&ConversationId>,
    skip: usize,
) -> String {
    let row = &whole.row;
    let href = waterfall::href(row);
    let body = |record, headers, passed, side| {
        Body::new(&Shown {
            record,
            headers,
            passed,
            href: &href,
            download: format!("/api{href}/{side}"),
            skip,
        })
    };
    let call = row.turn.as_ref().zip(row.call);
    let failure = match &row.end {
        Some(ExchangeEnd::Failed(why)) => Some(shown(why)),
        Some(ExchangeEnd::Interrupted) => Some("Toolgate ended before it did.".to_owned()),
        Some(ExchangeEnd::Complete | ExchangeEnd::Dropped) | None => None,
    };
    render(&Part {
        id: format!("o-{}", row.id),
        facts: facts(whole),
        request_id: row.request_id.as_deref().map(shown),
        failure,
        card: call.zip(conversation).map(|((turn, call), conversation)| {
            format!("/c/{conversation}?turn={turn}#{}-c{call}", element(turn))
        }),
        compare: call
            .map(|(turn, call)| format!("/traffic/{turn}/calls/{call}"))
            .unwrap_or_default(),
        method: shown(&row.method),
        url: shown(&row.url),
        status: row
            .status
            .map_or_else(|| waterfall::status(row).1, |it| it.to_string()),
        request_headers: headers(&whole.request_headers),
        response_headers: headers(&whole.response_headers),
        request: body(
            &whole.request,
            &whole.request_headers,
            row.bytes_out,
            "request",
        ),
        response: body(
            &whole.response,
            &whole.response_headers,
            row.bytes_in,
            "response",
        ),
        curl: command(app, whole),
    })
}

fn facts(whole: &ExchangeWhole) -> Vec<(&'static str, String)> {
    let row = &whole.row;
    let mut facts = vec![
        ("Status", waterfall::status(row).1),
        ("Began", words::moment(row.started_at)),
        (
            "Took",
            words::duration(waterfall::lasted(row, clock::now())),
        ),
    ];
    if let Some(us) = row.headers_after_us {
        facts.push(("Headers after", words::duration(us)));
    }
    if let Some((_, us)) = whole.response.arrivals.first() {
        facts.push(("First byte after", words::duration(*us)));
    }
    if let Some(round) = row.round {
        facts.push(("Round", round.to_string()));
    }
    if let Some(call) = row.call {
        facts.push(("Call", call.to_string()));
    }
    facts
}

/// The request as a command for a shell.
fn command(app: &App, whole: &ExchangeWhole) -> String {
    let row = &whole.row;
    let origin = app.public_url.origin().ascii_serialization();
    let token = match (row.peer, &app.authority) {
        (Peer::Model, _) => Token::Key,
        (Peer::Mcp | Peer::Pomerium, Authority::Pomerium(_)) => Token::Pomerium(&origin),
        (Peer::Mcp | Peer::Pomerium, Authority::Local) => Token::Configured,
    };
    curl::command(&curl::Request {
        method: &row.method,
        url: &row.url,
        headers: &whole.request_headers,
        body: &whole.request.bytes,
        whole: is_whole(&whole.request),
        token,
    })
}

fn is_whole(record: &BodyRecord) -> bool {
    match record.kept {
        Kept::All => true,
        Kept::Cut { .. } | Kept::Not(_) => false,
    }
}

fn headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let header = |(name, value): &(String, String)| (shown(name), shown(value));
    headers.iter().map(header).collect()
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => visible(&format!("{}…", text.get(..end).unwrap_or_default())),
        None => visible(text),
    }
}
