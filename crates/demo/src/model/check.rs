//! What OpenAI refuses, refused here too, so that every test that goes through the model
//! checks what Toolgate sends.
//!
//! The heart is the pairing rule: each call of an assistant message has exactly one `tool`
//! message with its id, directly after that message, and no `tool` message stands elsewhere.
//! A few rules come from other endpoints and are marked so.

mod messages;
mod tools;

use http::StatusCode;
use serde_json::{Value, json};

/// Parameters of `POST /v1/chat/completions` (OpenAI's API reference, without the deprecated
/// `functions` and `function_call`). Others are refused, as OpenAI does.
const PARAMETERS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Why a request was refused, in OpenAI's words where they are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The HTTP status.
    pub status: StatusCode,
    /// For people.
    pub message: String,
    /// The part of the request that is wrong, such as `messages[2].tool_calls`.
    pub param: Option<String>,
    /// OpenAI's code, where it has one.
    pub code: Option<&'static str>,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
        }
    }

    pub(super) fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The body OpenAI sends.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// Checks the body of a chat request.
pub(super) fn chat(body: &Value, models: &[String]) -> Result<(), Rejection> {
    let Value::Object(fields) = body else {
        return Err(Rejection::new(
            StatusCode::BAD_REQUEST,
            "We could not parse the JSON body of your request.",
        ));
    };
    if let Some(unknown) = fields
        .keys()
        .find(|key| !PARAMETERS.contains(&key.as_str()))
    {
        return Err(invalid(
            unknown,
            format!("Unrecognized request argument supplied: {unknown}"),
        ));
    }
    model(body, models)?;
    stream(body)?;
    tools::check(body)?;
    messages::check(body)
}

fn model(body: &Value, models: &[String]) -> Result<(), Rejection> {
    let Some(model) = body.get("model").and_then(Value::as_str) else {
        return Err(invalid("model", "you must provide a model parameter"));
    };
    if models.iter().any(|known| known == model) {
        return Ok(());
    }
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    Err(Rejection::new(StatusCode::NOT_FOUND, message).with_code("model_not_found"))
}

fn stream(body: &Value) -> Result<(), Rejection> {
    let streams = match body.get("stream") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(streams)) => *streams,
        Some(other) => return Err(wrong_type("stream", "a boolean", other)),
    };
    match body.get("stream_options") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(_)) if streams => Ok(()),
        Some(Value::Object(_)) => Err(invalid(
            "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )),
        Some(other) => Err(wrong_type("stream_options", "an object", other)),
    }
}

fn invalid(param: impl Into<String>, message: impl Into<String>) -> Rejection {
    let mut rejection = Rejection::new(StatusCode::BAD_REQUEST, message);
    rejection.param = Some(param.into());
    rejection
}

fn wrong_type(param: &str, expected: &str, got: &Value) -> Rejection {
    let kind = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    invalid(
        param,
        format!("Invalid type for '{param}': expected {expected}, but got {kind} instead."),
    )
    .with_code("invalid_type")
}

/// Whether `name` is a legal function name: `^[a-zA-Z0-9_-]{1,64}$`.
fn legal_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn illegal_name(param: &str) -> Rejection {
    let message = format!(
        "Invalid '{param}': string does not match pattern. Expected a string that matches the \
         pattern '^[a-zA-Z0-9_-]{{1,64}}$'."
    );
    invalid(param, message).with_code("invalid_value")
}

#[cfg(test)]
mod tests;
