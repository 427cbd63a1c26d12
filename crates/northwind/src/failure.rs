//! Why a call did not do what was asked, in words that a model can act on.

use rusqlite::{Error, ErrorCode};

use crate::journal::Outcome;

/// The longest piece of a statement quoted in an error, characters.
const MAX_QUOTED_CHARS: usize = 80;

/// A failed call: how the journal names its end, and what the caller is told.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

impl Failure {
    /// The caller did something that it can mend.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Error,
            text: text.into(),
        }
    }

    /// The time limit was met.
    pub(crate) fn timeout(text: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Timeout,
            text: text.into(),
        }
    }

    /// The caller, or the server's shutdown, stopped the call.
    pub(crate) fn cancelled() -> Self {
        Self {
            outcome: Outcome::Cancelled,
            text: "The call was cancelled; nothing of it was kept.".to_owned(),
        }
    }
}

/// What SQLite said about `sql`, with the place where it said so.
///
/// `refused` is what the authorizer turned down while the statement was prepared, if anything.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest of rusqlite's errors is told alike"
)]
pub(crate) fn sql_failure(error: Error, sql: &str, refused: Option<String>) -> Failure {
    if let Some(refused) = refused {
        return Failure::error(refused);
    }
    let text = match error {
        // The text after the first statement is prepared by itself, so a mistake in it is
        // reported with places of its own.
        Error::MultipleStatement => MULTIPLE.to_owned(),
        Error::SqlInputError { sql: ref part, .. } if part != sql => MULTIPLE.to_owned(),
        Error::SqlInputError { msg, offset, .. } => {
            place(&msg, sql, usize::try_from(offset).unwrap_or_default())
        }
        Error::SqliteFailure(cause, message) => {
            let message = message.unwrap_or_else(|| cause.to_string());
            if message == "incomplete input" {
                place(&message, sql, sql.trim_end().len())
            } else {
                describe(cause.code, &message)
            }
        }
        Error::InvalidParameterCount(given, wanted) => format!(
            "The statement has {wanted} parameter(s), but params holds {given} value(s). \
             Give one value for each ?."
        ),
        other => format!("SQLite error: {other}"),
    };
    Failure::error(text)
}

const MULTIPLE: &str =
    "One statement per call: the text goes on after the first statement. Send each by itself.";

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "there is advice for some codes only"
)]
fn describe(code: ErrorCode, message: &str) -> String {
    let advice = match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            " Another program or call holds the database; try again."
        }
        ErrorCode::ReadOnly => " The file or this connection cannot be written to.",
        ErrorCode::TooBig => " A value, row or statement is larger than this server allows.",
        _ => "",
    };
    format!("SQLite error: {message}.{advice}")
}

/// `message` with line, column and the line itself, marked below at the byte `offset`.
fn place(message: &str, sql: &str, offset: usize) -> String {
    let offset = sql.floor_char_boundary(offset.min(sql.len()));
    let (before, after) = sql.split_at(offset);
    let line = before.matches('\n').count() + 1;
    let head = before.rsplit('\n').next().unwrap_or_default();
    let column = head.chars().count() + 1;
    // Only so much of a long line as surrounds the place.
    let skipped = (column - 1).saturating_sub(MAX_QUOTED_CHARS / 2);
    let head: String = head.chars().skip(skipped).collect();
    let tail: String = after
        .chars()
        .take_while(|c| *c != '\n' && *c != '\r')
        .take(MAX_QUOTED_CHARS / 2)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let indent: String = head
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    format!(
        "SQL error at line {line}, column {column} (offset {offset}): {message}\n\
         {head}{tail}\n{indent}^"
    )
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let sql = "SELECT 'é',\n  nme FROM customers";
        let offset = sql.find("nme").unwrap();
        assert_eq!(
            place("no such column: nme", sql, offset),
            "SQL error at line 2, column 3 (offset 15): no such column: nme\n  nme FROM customers\n  ^"
        );
    }

    #[test]
    fn an_offset_inside_a_character_or_past_the_end_does_not_panic() {
        assert!(place("x", "é", 1).contains("column 1"));
        assert!(place("x", "é", 99).contains("column 2"));
    }

    #[test]
    fn a_long_line_is_quoted_around_the_place_only() {
        let sql = format!("SELECT {}FORM {}", "a, ".repeat(500), "b, ".repeat(500));
        let text = place(
            "near \"FORM\": syntax error",
            &sql,
            sql.find("FORM").unwrap(),
        );
        assert!(text.len() < 250, "{text}");
        let mut lines = text.lines().skip(1);
        let (quoted, mark) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(&quoted[mark.len() - 1..][..4], "FORM");
    }
}
