//! JSON from a server, made into a tree only when the tree is not too large.
//!
//! A tree takes many times its text: half a million objects of a few bytes each are 16 MB of text
//! and 400 MB of tree. So the values are counted before.

use serde_json::Value;

use super::trouble::Trouble;

/// Values of one message: ten thousand rows of twenty columns, and some more.
const VALUES: usize = 250_000;

/// The tree of `text`.
pub(super) fn parse(text: &[u8]) -> Result<Value, Trouble> {
    // Each value takes a byte at least.
    if text.len() > VALUES && values(text) > VALUES {
        return Err(Trouble::too_many_values(VALUES));
    }
    serde_json::from_slice(text).map_err(|error| Trouble::unreadable(&error, text))
}

/// How many values JSON of this text has at most: each but the first stands behind a comma or a
/// bracket.
fn values(text: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::trouble::Kind;

    #[test]
    fn values_are_counted_outside_of_strings_only() {
        for (text, most) in [
            ("1", 1),
            ("[]", 2),
            ("[1,2,3]", 4),
            (r#"{"a":1,"b":[{}]}"#, 5),
            (r#""a,b,[{""#, 1),
            (r#"["\",[","x"]"#, 3),
            (r#"["\\",1]"#, 3),
        ] {
            assert_eq!(values(text.as_bytes()), most, "{text}");
        }
    }

    #[test]
    fn a_message_of_too_many_values_is_not_made_into_a_tree() {
        let blocks = r#"{"type":"text","text":"x"},"#.repeat(200_000);
        let hostile = format!("[{blocks}1]");
        let trouble = parse(hostile.as_bytes()).unwrap_err();
        assert_eq!(trouble.kind, Kind::Limit);
        assert!(trouble.failure.message.contains("250000"), "{trouble:?}");

        let table = format!("[{}1]", "1,".repeat(200_000));
        assert!(parse(table.as_bytes()).is_ok());
        let text = format!("\"{}\"", ",".repeat(10_000_000));
        assert!(parse(text.as_bytes()).is_ok(), "text is one value");
        assert_eq!(parse(b"<html>").unwrap_err().kind, Kind::Protocol);
    }
}
