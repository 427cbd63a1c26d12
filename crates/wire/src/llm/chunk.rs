//! One event of an answer, parsed: cheaply when it is a plain piece of text, as most are, and
//! otherwise whole, so that no shape can fail.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// One event of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Chunk {
    /// A piece of text, of reasoning, or of both, and nothing else.
    Piece(Piece),
    /// Anything else.
    Other(Value),
}

/// The texts of a delta that holds nothing but text.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Piece {
    /// More text.
    pub(super) content: Option<String>,
    /// More reasoning (`DeepSeek`, `llama.cpp`).
    pub(super) reasoning_content: Option<String>,
    /// More reasoning (vLLM, `OpenRouter`); some endpoints send both, equal.
    pub(super) reasoning: Option<String>,
    // Whatever has more to say than text is read whole.
    reasoning_details: (),
    tool_calls: (),
    function_call: (),
    extra_content: (),
    refusal: (),
}

impl Chunk {
    /// Reads an event; none if it is no JSON.
    pub(super) fn of(event: &str) -> Option<Self> {
        if let Ok(TextChunk {
            choices: [TextChoice { delta, .. }],
            ..
        }) = serde_json::from_str(event)
        {
            return Some(Self::Piece(delta));
        }
        serde_json::from_str(event).ok().map(Self::Other)
    }
}

// `()` reads as absent or null.

#[derive(Deserialize)]
struct TextChunk {
    choices: [TextChoice; 1],
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "usage")]
    _usage: (),
}

#[derive(Deserialize)]
struct TextChoice {
    #[serde(default, rename = "index")]
    _index: First,
    delta: Piece,
    #[serde(default, rename = "message")]
    _message: (),
    #[serde(default, rename = "finish_reason")]
    _finish_reason: Unfinished,
    #[serde(default, rename = "error")]
    _error: (),
}

/// The index 0: other choices are not ours.
#[derive(Default)]
struct First;

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            0 => Ok(Self),
            _ => Err(D::Error::custom("another choice")),
        }
    }
}

/// No finish reason: null, or the empty string of some endpoints.
#[derive(Default)]
struct Unfinished;

impl<'de> Deserialize<'de> for Unfinished {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <Option<&str>>::deserialize(deserializer)? {
            None | Some("") => Ok(Self),
            Some(_) => Err(D::Error::custom("finished")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_piece(text: &str) -> bool {
        matches!(Chunk::of(text).unwrap(), Chunk::Piece(_))
    }

    #[test]
    fn plain_text_takes_the_short_way() {
        for text in [
            r#"{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"a","content":null,"tool_calls":null}}]}"#,
            r#"{"choices":[{"delta":{}}],"created":1.5,"id":7}"#,
        ] {
            assert!(is_piece(text), "{text}");
        }
    }

    #[test]
    fn all_else_is_read_whole() {
        for text in [
            r#"{"choices":[]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":["a"]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"error":{"code":502}}"#,
            r#"{"choices":[{"index":0,"delta":null}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#,
            r#"{"choices":"x"}"#,
            "[1]",
            "1",
            "null",
        ] {
            assert!(!is_piece(text), "{text}");
        }
        assert!(Chunk::of("{").is_none());
    }
}
