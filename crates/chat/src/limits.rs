//! Every bound of the engine and of what passes through it, each with its unit and its reason.

use std::time::Duration;

use serde_json::Value;

/// Bytes of a user's message: a long document pasted whole, and well under any model's context.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// Bytes of a result that are kept: what the JSON body of one MCP answer may have.
pub const RESULT_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a result that the model is shown, by default: some 12,000 tokens.
pub const RESULT_SHOWN_BYTES: usize = 48 * 1024;

/// Bytes of the text of a failure: a sentence for a person, with the first of what a server said.
pub const FAILURE_TEXT_BYTES: usize = 1024;

/// Bytes of an id that Pomerium gives a request (it gives UUIDs).
pub const REQUEST_ID_BYTES: usize = 128;

/// Bytes of what a server says with a report of progress: one line of a card.
pub const PROGRESS_MESSAGE_BYTES: usize = 512;

/// Bytes of a person's reason to deny a call: some paragraphs; every later round carries it.
pub const DENY_REASON_BYTES: usize = 4 * 1024;

/// Containers within each other in JSON that others made (results, schemas, arguments). It is
/// stored some levels deeper than it came, and `serde_json` reads no more than 127.
pub const JSON_DEPTH: usize = 64;

/// Values in JSON that others made: ten thousand rows of twenty columns, and some more. A tree of
/// small values takes many times its text: half a million objects of a few bytes each are 16 MB of
/// text and 400 MB of tree. So they are counted before ([`json_values`]).
pub const JSON_VALUES: usize = 250_000;

/// Calls of one round; more are refused with `limit`: a model that asks for more has lost itself.
pub const CALLS_PER_ROUND: usize = 32;

/// Calls of one turn running at once: enough to be parallel, few enough for a server to stand.
pub const CALLS_AT_ONCE: usize = 8;

/// Calls of one turn running at once against one server.
pub const CALLS_AT_ONCE_PER_SERVER: usize = 4;

/// Functions offered in one request: `OpenAI` and Azure refuse more than 128.
pub const FUNCTIONS: usize = 128;

/// Bytes of a function's name (`^[a-zA-Z0-9_-]{1,64}$`).
pub const FUNCTION_NAME_BYTES: usize = 64;

/// Characters of a function's description (`OpenAI`'s limit).
pub const FUNCTION_DESCRIPTION_CHARS: usize = 1024;

/// Servers that can be switched off in a conversation: more than anybody has.
pub const SELECTION_SERVERS: usize = 256;

/// Tools that can be switched off one by one: some servers' all; beyond, a server is switched off.
pub const SELECTION_TOOLS: usize = 1024;

/// Bytes of the name of a server or tool that is switched off.
pub const SELECTION_NAME_BYTES: usize = 256;

/// Characters of a conversation's title that a person gives it: two lines of the list.
pub const TITLE_CHARS: usize = 200;

/// How long running calls have to end after a cancel before their outcome is `unknown`.
pub const CANCEL_GRACE: Duration = Duration::from_secs(3);

/// How long a parked call waits for its owner.
pub const PARKED: Duration = Duration::from_mins(30);

/// How long a parked call of an API turn waits for a newer token: a program that is still there has
/// brought one by then, and nothing of the API waits for a person.
pub const PARKED_API: Duration = Duration::from_secs(10);

/// How long a question waits for its answer: the person may be asleep, not gone.
pub const QUESTION: Duration = Duration::from_hours(24);

/// How often a call may be parked: a server that refuses every token must not be asked for ever.
pub const PARKINGS: u32 = 2;

/// How often a call is started again after `session_gone` or `header_mismatch`.
pub const RESTARTS: u32 = 1;

/// How often a model round is sent again.
pub const ROUND_RETRIES: u32 = 2;

/// The wait before the first retry of a round when the endpoint names none; doubled each time.
pub const ROUND_RETRY_AFTER: Duration = Duration::from_millis(500);

/// The longest wait before a retry, whatever the endpoint asks for.
pub const ROUND_RETRY_CAP: Duration = Duration::from_secs(20);

/// Notices of one turn about inputs that changed nothing: enough to see that something strays, and
/// no flood, whatever a server or a page repeats.
pub const STRAY_NOTICES: u32 = 8;

/// The text, cut between characters to at most `bytes`; what was cut ends in `…`.
pub fn clip(mut text: String, bytes: usize) -> String {
    const MARK: char = '…';
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub(MARK.len_utf8())));
        text.push(MARK);
    }
    text
}

/// How many values JSON of this text has at most: each but the first stands behind a comma or a
/// bracket.
pub fn json_values(text: &[u8]) -> usize {
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

/// Whether the value has more than [`JSON_DEPTH`] containers within each other.
pub fn nests_too_deeply(value: &Value) -> bool {
    deeper_than(value, JSON_DEPTH)
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, below)),
        Value::Object(members) => members.values().any(|member| deeper_than(member, below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The limits of a turn that an operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// Model rounds of a turn; the last one is sent with `tool_choice: "none"`.
    pub rounds: u32,
    /// Calls of a turn.
    pub calls: u32,
    /// How long a parked call of an API turn waits for a newer token.
    pub parked_api: Duration,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            rounds: 32,
            calls: 128,
            parked_api: PARKED_API,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(clip("äöü".to_owned(), 6), "äöü");
        assert_eq!(clip("äöüa".to_owned(), 6), "ä…");
        assert_eq!(
            clip("x".repeat(2000), FAILURE_TEXT_BYTES).len(),
            FAILURE_TEXT_BYTES
        );
    }

    #[test]
    fn depth_counts_containers_within_each_other() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": [inner] }));
        assert!(!nests_too_deeply(&nested(JSON_DEPTH / 2)));
        assert!(nests_too_deeply(&json!([nested(JSON_DEPTH / 2)])));
        assert!(!nests_too_deeply(&json!([[], {}, "x"])));
    }

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
            assert_eq!(json_values(text.as_bytes()), most, "{text}");
        }
    }
}
