//! `/traffic/{turn}/{exchange}`: one request and its response, whole.

use askama::Template;
use chat::{
    exchange::{End, Peer},
    ids::{CallId, ConversationId, Subject, TurnId},
};
use store::traffic::{BodyRecord, ExchangeRow, ExchangeWhole, Kept, Reported};

use super::{
    Fact,
    body::{Body, Formatted, Shown},
    card,
    curl::{self, Token},
    sheet, waterfall, words,
};
use crate::{app::App, clock, identity::Authority, page::render, traffic::OUTSIDE};

/// Characters of a URL or a header's value on the page.
const VALUE_CHARS: usize = 4000;

#[derive(Template)]
#[template(path = "traffic_exchange_part.html")]
struct Part {
    /// Begins the ids of the elements.
    id: String,
    facts: Vec<Fact>,
    /// Whose id it is.
    request_id_of: &'static str,
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

/// An exchange, and what its page needs to know besides.
pub(super) struct Opened<'a> {
    pub(super) app: &'a App,
    pub(super) subject: &'a Subject,
    pub(super) whole: &'a ExchangeWhole,
    /// The conversation of its turn.
    pub(super) conversation: Option<&'a ConversationId>,
    /// Events of a stream that are left out at its start.
    pub(super) skip: usize,
}

impl Opened<'_> {
    /// All of the page.
    pub(super) fn page(&self) -> String {
        let turn = self.whole.row.turn.as_ref();
        let turn = turn.map_or(OUTSIDE, |turn| turn.as_str());
        sheet(turn, waterfall::label(&self.whole.row), self.part())
    }

    /// What a row opens to.
    pub(super) fn part(&self) -> String {
        let whole = self.whole;
        let row = &whole.row;
        let href = waterfall::href(row);
        let body = |record, headers, passed, side| {
            Body::new(&Shown {
                record,
                headers,
                passed,
                href: &href,
                download: format!("/api{href}/{side}"),
                skip: self.skip,
            })
        };
        let (sent, came) = (&whole.request_headers, &whole.response_headers);
        let call = row.turn.as_ref().zip(row.call);
        let card = |((turn, call), conversation): ((&TurnId, CallId), &ConversationId)| {
            card(conversation, turn, call)
        };
        render(&Part {
            id: format!("o-{}", row.id),
            facts: facts(whole),
            request_id_of: match row.peer {
                Peer::Model => "The endpoint’s request id",
                Peer::Mcp | Peer::Pomerium => "Pomerium request id",
            },
            request_id: row.request_id.as_deref().map(shown),
            failure: failure(row),
            card: call.zip(self.conversation).map(card),
            compare: call
                .map(|(turn, call)| format!("/traffic/{turn}/calls/{call}"))
                .unwrap_or_default(),
            method: shown(&row.method),
            url: shown(&row.url),
            status: row
                .status
                .map_or_else(|| waterfall::status(row).1, |status| status.to_string()),
            request_headers: headers(sent),
            response_headers: headers(came),
            request: body(&whole.request, sent, row.bytes_out, "request"),
            response: body(&whole.response, came, row.bytes_in, "response"),
            curl: self.command(),
        })
    }

    /// The request as a command for a shell.
    fn command(&self) -> String {
        let (row, request) = (&self.whole.row, &self.whole.request);
        let origin = self.app.public_url.origin().ascii_serialization();
        curl::command(&curl::Request {
            method: &row.method,
            url: &row.url,
            headers: &self.whole.request_headers,
            body: &request.bytes,
            whole: is_whole(request),
            token: match row.peer {
                Peer::Model => Token::Key,
                Peer::Mcp if self.is_configured() => Token::Configured,
                Peer::Mcp | Peer::Pomerium => Token::Pomerium(&origin),
            },
        })
    }

    /// Whether it went to a server of the operator's, with their credential.
    fn is_configured(&self) -> bool {
        let server = self.whole.row.server.as_deref().unwrap_or_default();
        let known = self.app.context.servers.of(self.subject).get(server);
        match &self.app.authority {
            Authority::Local => true,
            Authority::Pomerium(_) => known.is_some_and(|known| known.connect_url.is_none()),
        }
    }
}

fn failure(row: &ExchangeRow) -> Option<String> {
    match &row.end {
        Some(End::Failed(why)) => Some(shown(why)),
        Some(End::Interrupted) => Some("Toolgate ended before it did.".to_owned()),
        Some(End::Complete | End::Dropped) | None => row.reported.map(reported),
    }
}

fn reported(said: Reported) -> String {
    match said {
        Reported::Tool => "It arrived, and says that the tool failed (isError).".to_owned(),
        Reported::Rpc(code) => format!("It arrived, and is a JSON-RPC error: {code}."),
    }
}

fn facts(whole: &ExchangeWhole) -> Vec<Fact> {
    let row = &whole.row;
    let mut facts = vec![
        Fact::new("Status", waterfall::status(row).1),
        Fact::at("Began", row.started_at),
        Fact::new(
            "Took",
            words::duration(waterfall::lasted(row, clock::now())),
        ),
    ];
    if let Some(us) = row.headers_after_us {
        facts.push(Fact::new("Headers after", words::duration(us)));
    }
    if let Some((_, us)) = whole.response.arrivals.first() {
        facts.push(Fact::new("First byte after", words::duration(*us)));
    }
    if row.end == Some(End::Dropped) {
        facts.push(Fact::new("End", "Toolgate wanted no more of it"));
    }
    if let Some(round) = row.round {
        facts.push(Fact::new("Round", round.to_string()));
    }
    if let Some(call) = row.call {
        facts.push(Fact::new("Call", call.to_string()));
    }
    facts
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
    words::beginning(text, VALUE_CHARS)
}
