//! A chat request as the script reads it: after [`super::check`] accepted it.

use serde_json::Value;

/// A request to `/v1/chat/completions` that OpenAI would have accepted.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    body: Value,
}

/// Whether the model may, by the request's `tools` and `tool_choice`, answer with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Tools are offered and `tool_choice` is absent or anything but `none`.
    Allowed,
    /// `tool_choice` is `none`.
    Forbidden,
    /// The request offers no tools.
    NoTools,
}

impl ChatRequest {
    /// Wraps a body; what is missing from it reads as empty.
    pub fn new(body: Value) -> Self {
        Self { body }
    }

    /// The body as it came.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The model asked for.
    pub fn model(&self) -> &str {
        self.body
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether the answer is to be streamed.
    pub fn streams(&self) -> bool {
        self.body
            .get("stream")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// Whether the stream ends with a chunk of token counts (`stream_options.include_usage`).
    pub fn wants_usage(&self) -> bool {
        self.body
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> &[Value] {
        self.body
            .get("messages")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The offered functions: the `function` objects of `tools`.
    pub fn functions(&self) -> impl Iterator<Item = &Value> {
        let tools = self.body.get("tools").and_then(Value::as_array);
        tools
            .into_iter()
            .flatten()
            .filter_map(|tool| tool.get("function"))
    }

    /// Whether calls may be answered.
    pub fn calls(&self) -> Calls {
        if self.functions().next().is_none() {
            Calls::NoTools
        } else if self.body.get("tool_choice").and_then(Value::as_str) == Some("none") {
            Calls::Forbidden
        } else {
            Calls::Allowed
        }
    }
}

/// The text of a message's `content`: the string, or its text parts joined.
pub(super) fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            String::new()
        }
    }
}
