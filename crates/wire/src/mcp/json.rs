//! JSON from a server, made into a tree only when the tree is not too large.

use chat::limits::{JSON_VALUES, json_values};
use serde_json::Value;

use super::trouble::Trouble;

/// The tree of `text`.
pub(super) fn parse(text: &[u8]) -> Result<Value, Trouble> {
    // Each value takes a byte at least.
    if text.len() > JSON_VALUES && json_values(text) > JSON_VALUES {
        return Err(Trouble::too_many_values(JSON_VALUES));
    }
    serde_json::from_slice(text).map_err(|error| Trouble::unreadable(&error, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::trouble::Kind;

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
