//! Exchanges as rows, each with its place on the axis of the turn's time.

use chat::{
    exchange::{End, Peer},
    ids::TurnId,
    transcript::Transcript,
};
use store::traffic::{ExchangeRow, Reported};
use url::Url;

use super::words;
use crate::{clock, page::visible, traffic::OUTSIDE};

/// Words of a label, characters: a URL or a tool's name can be of any length.
const LABEL_CHARS: usize = 120;

/// Steps between the marks on the axis, at most.
const STEPS: u64 = 5;

/// The narrowest bar that can be seen, in 1/10000 of the axis.
const NARROWEST: u64 = 30;

/// All of the axis.
const WHOLE: u64 = 10_000;

/// An exchange on one line.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) href: String,
    /// For style: `model`, `mcp`, `pomerium`.
    pub(super) peer: &'static str,
    pub(super) kind: &'static str,
    pub(super) label: String,
    /// How `who` joins the label.
    pub(super) on: &'static str,
    pub(super) who: String,
    /// The round and the call it belongs to, in words.
    pub(super) cause: String,
    /// Where the cause is its moment, for programs.
    pub(super) datetime: Option<String>,
    /// For style: `ok`, `failed`, `open`, `left`.
    pub(super) state: &'static str,
    pub(super) status: String,
    pub(super) duration: String,
    pub(super) size: String,
    pub(super) bar: Option<Bar>,
}

/// A bar, in percent of the axis.
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) waits: String,
    pub(super) receives_x: String,
    pub(super) receives: Option<String>,
}

/// A mark on the axis.
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) words: String,
    /// It is so far right that its words have to end there.
    pub(super) last: bool,
}

/// A stretch of time: what the axis shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Milliseconds since 1970.
    from: i64,
    /// Microseconds.
    length: u64,
}

impl Axis {
    /// From the beginning of a turn to the end of its last exchange, or to `now` while one is open.
    pub(super) fn of(started_at: Option<i64>, rows: &[ExchangeRow], now: i64) -> Self {
        let first = rows.iter().map(|row| row.started_at).min();
        let from = started_at.into_iter().chain(first).min().unwrap_or(now);
        let axis = Self { from, length: 0 };
        let end = |row: &ExchangeRow| axis.at(row.started_at) + lasted(row, now);
        let length = rows.iter().map(end).max().unwrap_or_default();
        Self {
            length: length.max(1000),
            ..axis
        }
    }

    /// Marks at round times.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let mut step = 1;
        // 1, 2, 5, 10, 20, 50, …
        for factor in [2, 5, 10].iter().cycle() {
            if self.length / step <= STEPS {
                break;
            }
            let power = step.checked_ilog10().unwrap_or_default();
            step = 10_u64.pow(power) * factor;
        }
        let marks = self.length / step;
        let tick = |mark: u64| {
            let us = mark * step;
            let place = self.share(us);
            Tick {
                x: percent(place),
                words: match us {
                    0 => "0".to_owned(),
                    us => words::duration(us),
                },
                last: place > WHOLE * 9 / 10,
            }
        };
        (0..=marks).map(tick).collect()
    }

    fn bar(self, row: &ExchangeRow, now: i64) -> Bar {
        let start = self.share(self.at(row.started_at)).min(WHOLE - NARROWEST);
        let lasted = lasted(row, now);
        let waited = row.headers_after_us.unwrap_or(lasted).min(lasted);
        let room = WHOLE - start;
        let whole = self.share(lasted).clamp(NARROWEST, room);
        let waits = self.share(waited).min(whole);
        let receives = whole - waits;
        Bar {
            x: percent(start),
            waits: percent(waits),
            receives_x: percent(start + waits),
            receives: (receives > 0).then(|| percent(receives)),
        }
    }

    /// A moment on the axis, microseconds after its beginning.
    fn at(self, ms: i64) -> u64 {
        u64::try_from(ms.saturating_sub(self.from)).unwrap_or_default() * 1000
    }

    fn share(self, us: u64) -> u64 {
        let share = u128::from(us) * u128::from(WHOLE) / u128::from(self.length.max(1));
        u64::try_from(share).unwrap_or(WHOLE).min(WHOLE)
    }
}

/// How long an exchange took, or takes so far: microseconds.
pub(super) fn lasted(row: &ExchangeRow, now: i64) -> u64 {
    row.ended_after_us.unwrap_or_else(|| match row.end {
        None => u64::try_from(now - row.started_at).unwrap_or_default() * 1000,
        // Nobody saw the end: what is known is that it had begun to answer.
        Some(_) => row.headers_after_us.unwrap_or_default(),
    })
}

/// The row of an exchange, on an axis if there is one.
pub(super) fn row(
    row: &ExchangeRow,
    transcript: Option<&Transcript>,
    axis: Option<Axis>,
    now: i64,
) -> Row {
    let (on, who) = who(row);
    let (state, status) = status(row);
    let duration = match row.end {
        None => format!("{} so far", words::duration(lasted(row, now))),
        Some(_) => words::duration(lasted(row, now)),
    };
    Row {
        id: row.id.to_string(),
        href: href(row),
        peer: row.peer.name(),
        kind: kind(row.peer),
        label: label(row),
        on,
        who,
        cause: cause(row, transcript),
        datetime: stands_alone(row).then(|| clock::rfc3339(row.started_at)),
        state,
        status,
        duration,
        size: words::size(row.bytes_in),
        bar: axis.map(|axis| axis.bar(row, now)),
    }
}

/// Where an exchange is shown.
pub(super) fn href(row: &ExchangeRow) -> String {
    let turn = row.turn.as_ref().map_or(OUTSIDE, TurnId::as_str);
    format!("/traffic/{turn}/{}", row.id)
}

/// What it is, in words: the JSON-RPC method or the model, or else the HTTP method and path.
pub(super) fn label(row: &ExchangeRow) -> String {
    let request = || {
        let url = row.url.parse::<Url>();
        let path = url.as_ref().map_or(row.url.as_str(), Url::path);
        format!("{} {path}", row.method)
    };
    let text = match (&row.label, row.peer, row.method.as_str()) {
        (Some(label), ..) => label.clone(),
        (None, Peer::Mcp, "GET") => "GET, what the server says by itself".to_owned(),
        (None, Peer::Mcp, "DELETE") => "DELETE, the end of the session".to_owned(),
        (None, ..) => request(),
    };
    words::beginning(&text, LABEL_CHARS)
}

/// How it stands: for style, and in a word.
pub(super) fn status(row: &ExchangeRow) -> (&'static str, String) {
    let code = row.status.map(|status| status.to_string());
    let refused = row.status.is_some_and(|status| status >= 400);
    match (&row.end, code) {
        (None, Some(code)) => ("open", format!("{code}, running")),
        (None, None) => ("open", "Running".to_owned()),
        (Some(End::Failed(_)), Some(code)) => ("failed", format!("{code}, broke off")),
        (Some(End::Failed(_) | End::Complete), None) => ("failed", "No answer".to_owned()),
        (Some(End::Interrupted), _) => ("left", "Interrupted".to_owned()),
        (Some(End::Dropped), None) => ("left", "Given up".to_owned()),
        // Dropped with an answer: what was wanted of it had come. A stream of a model's is not read
        // to its last byte.
        (Some(End::Dropped | End::Complete), Some(code)) => match row.reported.map(reported) {
            Some(said) => ("failed", format!("{code}, {said}")),
            None if refused => ("failed", code),
            None => ("ok", code),
        },
    }
}

/// What an answer says went wrong, in words.
fn reported(said: Reported) -> String {
    match said {
        Reported::Tool => "the tool failed".to_owned(),
        Reported::Rpc(code) => format!("error {code}"),
    }
}

fn kind(peer: Peer) -> &'static str {
    match peer {
        Peer::Model => "Model",
        Peer::Mcp => "MCP",
        Peer::Pomerium => "Pomerium",
    }
}

/// Whom it was with: the server's name, or the host.
fn who(row: &ExchangeRow) -> (&'static str, String) {
    if let Some(server) = &row.server {
        return ("on", words::beginning(server, LABEL_CHARS));
    }
    let url = row.url.parse::<Url>();
    let host = url.as_ref().ok().and_then(Url::host_str);
    ("at", host.map(visible).unwrap_or_default())
}

/// Whether nothing but its time says why it was made.
fn stands_alone(row: &ExchangeRow) -> bool {
    row.turn.is_none() && row.round.is_none() && row.call.is_none()
}

/// Why it was made; outside of turns when.
fn cause(row: &ExchangeRow, transcript: Option<&Transcript>) -> String {
    match (row.round, row.call) {
        (_, Some(call)) => {
            let item = transcript.and_then(|transcript| transcript.call(call));
            match item {
                Some(item) => format!("call {call}, round {}", item.round),
                None => format!("call {call}"),
            }
        }
        (Some(round), None) => format!("round {round}"),
        // What stands by itself has only its time.
        (None, None) if stands_alone(row) => words::moment(row.started_at),
        (None, None) => String::new(),
    }
}

/// 1/10000 as SVG has it: `12.34%`.
fn percent(share: u64) -> String {
    format!("{}.{:02}%", share / 100, share % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::traffic::ExchangeId;

    fn exchange(started_at: i64, headers: Option<u64>, ended: Option<u64>) -> ExchangeRow {
        ExchangeRow {
            id: ExchangeId("e".to_owned()),
            turn: None,
            round: None,
            call: None,
            peer: Peer::Mcp,
            server: Some("Database".to_owned()),
            method: "POST".to_owned(),
            url: "https://db.example.com/mcp".to_owned(),
            status: Some(200),
            request_id: None,
            started_at,
            headers_after_us: headers,
            ended_after_us: ended,
            bytes_out: 0,
            bytes_in: 0,
            frames_in: 0,
            end: ended.map(|_| End::Complete),
            reported: None,
            label: None,
        }
    }

    #[test]
    fn bars_stand_where_their_time_is() {
        let rows = [
            exchange(1000, Some(250_000), Some(500_000)),
            exchange(1500, None, Some(500_000)),
            exchange(1999, Some(0), Some(1)),
        ];
        let axis = Axis::of(None, &rows, 9_999_999);
        let [first, second, third] = rows.each_ref().map(|row| axis.bar(row, 0));
        assert_eq!(
            (first.x.as_str(), first.waits.as_str()),
            ("0.00%", "25.00%")
        );
        assert_eq!(first.receives_x, "25.00%");
        assert_eq!(first.receives.as_deref(), Some("25.00%"));
        assert_eq!(
            (second.x.as_str(), second.waits.as_str()),
            ("50.00%", "50.00%")
        );
        assert_eq!(second.receives, None);
        // One that is over at once can still be seen, and ends where the axis ends.
        assert_eq!(
            (third.x.as_str(), third.waits.as_str()),
            ("99.70%", "0.00%")
        );
        assert_eq!(third.receives.as_deref(), Some("0.30%"));
    }

    #[test]
    fn an_open_exchange_grows() {
        let rows = [exchange(1000, Some(1_000_000), None)];
        let axis = Axis::of(Some(1000), &rows, 5000);
        assert_eq!(axis.bar(rows.first().unwrap(), 5000).waits, "25.00%");
        assert_eq!(
            status(rows.first().unwrap()),
            ("open", "200, running".to_owned())
        );
        // The clock was set back.
        assert_eq!(lasted(rows.first().unwrap(), 0), 0);
    }

    #[test]
    fn what_an_answer_says_went_wrong_stands_beside_its_status() {
        let seen = |said| {
            let row = ExchangeRow {
                reported: Some(said),
                ..exchange(0, None, Some(1))
            };
            assert!(row.failed());
            status(&row)
        };
        assert_eq!(
            seen(Reported::Tool),
            ("failed", "200, the tool failed".to_owned())
        );
        assert_eq!(
            seen(Reported::Rpc(-32602)),
            ("failed", "200, error -32602".to_owned())
        );
    }

    #[test]
    fn an_axis_has_a_few_round_marks() {
        for length in [0, 1, 999, 1000, 28_000, 1_000_000, 7_654_321, 3_600_000_000] {
            let rows = [exchange(0, None, Some(length))];
            let ticks = Axis::of(None, &rows, 0).ticks();
            assert!((2..=6).contains(&ticks.len()), "{length}: {}", ticks.len());
            assert!(ticks.iter().all(|tick| tick.x.ends_with('%')));
        }
        let rows = [exchange(0, None, Some(1_000_000))];
        let words: Vec<_> = Axis::of(None, &rows, 0)
            .ticks()
            .into_iter()
            .map(|t| t.words)
            .collect();
        assert_eq!(words, ["0", "200 ms", "400 ms", "600 ms", "800 ms", "1 s"]);
    }

    #[test]
    fn a_label_is_short_and_shows_what_hides() {
        let hostile = ExchangeRow {
            label: Some(format!("tools/call \u{202e}{}", "x".repeat(10_000))),
            ..exchange(0, None, None)
        };
        let label = label(&hostile);
        assert!(label.starts_with("tools/call \\u202e"), "{label}");
        // What hides is spelled out, with six characters for one.
        assert!(label.chars().count() <= LABEL_CHARS + 6);
    }
}
