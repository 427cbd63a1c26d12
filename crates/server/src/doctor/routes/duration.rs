//! Durations as Pomerium reads them: a number of nanoseconds, or what Go's `time.ParseDuration`
//! takes.

use super::yaml::{Node, Value};

/// What a duration comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// No limit.
    Zero,
    /// A limit, nanoseconds.
    Nanoseconds(i64),
}

/// Reads a duration; the error says what is wrong with it.
pub(super) fn read(node: &Node) -> Result<Length, String> {
    let nanoseconds = match &node.value {
        Value::Integer(number) => *number,
        Value::Text(text) => parse(text)?,
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            return Err(format!("{node} is no duration"));
        }
    };
    Ok(if nanoseconds == 0 {
        Length::Zero
    } else {
        Length::Nanoseconds(nanoseconds)
    })
}

/// A duration for people.
pub(super) fn show(nanoseconds: i64) -> String {
    const MILLISECOND: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MILLISECOND;
    match nanoseconds {
        n if n % SECOND == 0 => format!("{} s", n / SECOND),
        n if n % MILLISECOND == 0 => format!("{} ms", n / MILLISECOND),
        n => format!("{n} ns"),
    }
}

/// `[-+]?([0-9]*(\.[0-9]*)?[a-z]+)+`, or a bare `0` (Go's `time/format.go`), as nanoseconds.
fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is no duration");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let amount: f64 = if number.is_empty() || number == "." {
            return Err(invalid());
        } else {
            number.parse().map_err(|_| invalid())?
        };
        let (unit, after) = split(after, |c| c != '.' && !c.is_ascii_digit());
        total += amount * nanoseconds(unit, text)?;
        rest = after;
    }
    // Above 2^53 ns (104 days) the last nanoseconds are lost; nobody is told them.
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    if total <= 9e18 {
        Ok(sign * total.round() as i64)
    } else {
        Err(invalid())
    }
}

fn split(text: &str, within: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !within(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn nanoseconds(unit: &str, text: &str) -> Result<f64, String> {
    Ok(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        "" => return Err(format!("{text:?} has no unit (s, m, h)")),
        other => return Err(format!("{text:?} has an unknown unit {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> Result<Length, String> {
        let node = Node::parse(yaml).unwrap_or_else(|error| panic!("{}", error.problem));
        read(&node)
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for yaml in [
            "'30'",
            "'-'",
            "''",
            "1d",
            "s",
            ".s",
            "'1.2.3s'",
            "1 s",
            "5min",
            "true",
            "[0s]",
            "1.5",
            "99999999999h",
        ] {
            assert!(of(yaml).is_err(), "{yaml}: {:?}", of(yaml));
        }
        assert!(of("'30'").unwrap_err().contains("no unit"));
        assert!(of("1d").unwrap_err().contains("unknown unit"));
    }

    #[test]
    fn every_form_of_nothing_is_nothing() {
        for yaml in ["0s", "0", "'0'", "0ms", "0h0m0s", "-0s", "+0"] {
            assert_eq!(of(yaml), Ok(Length::Zero), "{yaml}");
        }
    }

    #[test]
    fn a_number_without_quotes_is_nanoseconds() {
        assert_eq!(of("30"), Ok(Length::Nanoseconds(30)));
        assert_eq!(show(30), "30 ns");
    }

    #[test]
    fn units_add_up() {
        for (yaml, seconds) in [("30s", 30), ("1m30s", 90), ("1.5m", 90), ("2h", 7200)] {
            assert_eq!(
                of(yaml),
                Ok(Length::Nanoseconds(seconds * 1_000_000_000)),
                "{yaml}"
            );
        }
        assert_eq!(show(90_000_000_000), "90 s");
        assert_eq!(show(1_500_000_000), "1500 ms");
    }
}
