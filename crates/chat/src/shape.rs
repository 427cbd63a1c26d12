//! From a server's result to what the model is shown of it, each step recorded.

pub mod facts;
pub mod table;

mod blocks;
mod cut;
mod delimited;
mod order;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::blocks::Structured;
use self::{blocks::Shown, facts::Facts};
use crate::outcome::Outcome;

/// [`ShapeStep::Omitted`] steps recorded of one result: a result of thousands of small images must
/// not make thousands of steps. The lines that stand for them are all there, as far as they fit.
const OMITTED_STEPS: usize = 32;

/// The result of a call: as the server gave it, as the model gets it, and the steps between.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    /// The server's result (MCP `CallToolResult`), verbatim; null when there was none, and when it
    /// is kept aside.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub raw: Value,
    /// Its size in bytes of JSON when it is kept aside: ask for the call's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_bytes: Option<u64>,
    /// What the model is shown.
    pub shown: String,
    /// What was done to `raw` to make `shown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ShapeStep>,
    /// What `raw` holds, also when it is kept aside.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}

/// One step from `raw` to `shown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ShapeStep {
    /// The structured content was used; text that only repeats it was left out.
    Structured,
    /// An image, audio or other binary content was replaced by a line that names it.
    Omitted {
        /// Its MIME type.
        mime: String,
        /// Its size, bytes.
        bytes: usize,
    },
    /// The text was cut.
    Truncated {
        /// Bytes before.
        from: usize,
        /// Bytes after.
        to: usize,
    },
}

/// Shapes a server's result (MCP `CallToolResult`) for the model, in at most `limit` bytes.
///
/// - The blocks of `content` follow each other, each on lines of its own: text as it is, embedded
///   text with its URI, a link to a resource as a line, anything else as a line that names it.
///   Binary content is never shown.
/// - `structuredContent` follows as compact JSON. Text that only repeats it (MCP has servers send
///   both) is left out: it parses to an equal value, or to the one value that was wrapped as
///   `{"result": …}` to make an object of it.
/// - A result that shows nothing says so, in the words of [`Outcome::text_for_model`].
/// - What is longer than `limit` loses its middle, and a line says how much and what to do.
///
/// `raw` that is no object, which a server cannot send, is shown as JSON.
pub fn shape(raw: Value, limit: usize) -> CallResult {
    let mut shown = Shown::default();
    shown.result(&raw);
    let (mut text, mut steps) = shown.into_parts();
    if text.is_empty() {
        text.push_str(nothing(&raw).text_for_model());
    }
    let from = text.len();
    if from > limit {
        text = cut::cut(&text, limit);
        steps.push(ShapeStep::Truncated {
            from,
            to: text.len(),
        });
    }
    CallResult {
        facts: Facts::of(&raw),
        raw,
        raw_bytes: None,
        shown: text,
        steps,
    }
}

fn nothing(raw: &Value) -> Outcome {
    match raw.get("isError") {
        Some(Value::Bool(true)) => Outcome::ToolError,
        _ => Outcome::Ok,
    }
}

impl CallResult {
    /// A result that is only text of ours: nothing came from the server.
    pub fn text(shown: impl Into<String>) -> Self {
        Self {
            shown: shown.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
