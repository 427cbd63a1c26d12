//! How a call stands, in a word, and what came back from it.

use chat::{event::ParkReason, outcome::Outcome, shape::facts::Facts, transcript::CallState};

use super::super::{visible, words};

/// How a call stands, in a word.
#[derive(Clone, Copy)]
pub(super) struct Status {
    pub(super) kind: &'static str,
    pub(super) symbol: &'static str,
    pub(super) word: &'static str,
}

/// How a call in this state stands.
pub(super) fn status(state: CallState) -> Status {
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
        Outcome::SwitchedOff => ("stopped", "⊘", "Not run: switched off"),
        Outcome::ApprovalRequired => ("failed", "✗", "Not run: approval needed"),
        Outcome::DeniedByPolicy => ("failed", "⊘", "Denied by policy"),
        Outcome::Timeout => ("failed", "✗", "Timed out"),
        Outcome::Cancelled => ("stopped", "■", "Stopped"),
        Outcome::TokenExpired => ("failed", "✗", "Not run: session token expired"),
        Outcome::NeedsConnect => ("failed", "✗", "Not run: account not connected"),
        Outcome::Unavailable => ("failed", "✗", "Not run: server not available"),
        Outcome::ProtocolError => ("failed", "✗", "The server's answer cannot be used"),
        Outcome::Limit => ("failed", "✗", "Ended by a limit"),
        Outcome::Unknown => ("unknown", "?", "Unknown: it may or may not have run"),
    }
}

/// What came back, on a line; none when there is nothing to say.
pub(super) fn came(facts: &Facts) -> Option<String> {
    let mut parts = Vec::new();
    match (facts.tables, facts.fields) {
        (0, 0) => {}
        (0, fields) => parts.push(counted(fields, "field", "fields")),
        (1, _) => parts.push(table_size(facts.rows, facts.columns)),
        (tables, _) => parts.push(counted(tables, "table", "tables")),
    }
    for (count, one, many) in [
        (facts.images, "image", "images"),
        (facts.sounds, "sound", "sounds"),
        (facts.files, "file", "files"),
        (facts.links, "link", "links"),
    ] {
        if count > 0 {
            parts.push(counted(count, one, many));
        }
    }
    if parts.is_empty() && facts.text_bytes > 0 {
        parts.push(if facts.words.is_empty() {
            format!("{} of text", words::size(facts.text_bytes as u64))
        } else {
            visible(&facts.words)
        });
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The size of a table in words.
pub(in super::super) fn table_size(rows: usize, columns: usize) -> String {
    let rows = counted(rows, "row", "rows");
    let columns = counted(columns, "column", "columns");
    format!("{rows} × {columns}")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    words::count(count as u64, one, many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_said_in_a_line() {
        let none = Facts::default();
        assert_eq!(came(&none), None);
        let table = Facts {
            tables: 1,
            rows: 1,
            columns: 3,
            images: 2,
            text_bytes: 90,
            ..Facts::default()
        };
        assert_eq!(came(&table).as_deref(), Some("1 row × 3 columns, 2 images"));
        let text = Facts {
            text_bytes: 3_142,
            ..Facts::default()
        };
        assert_eq!(came(&text).as_deref(), Some("3 KiB of text"));
        let words = Facts {
            words: "Noted\u{202e}".to_owned(),
            text_bytes: 8,
            ..Facts::default()
        };
        assert_eq!(came(&words).as_deref(), Some("Noted\\u202e"));
        let fields = Facts {
            fields: 1,
            words: "1".to_owned(),
            text_bytes: 1,
            ..Facts::default()
        };
        assert_eq!(came(&fields).as_deref(), Some("1 field"));
    }
}
