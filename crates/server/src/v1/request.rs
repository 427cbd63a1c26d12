//! A chat completion request: what of it is taken, what passes on, and what is refused.

use std::collections::BTreeSet;

use chat::{
    event::JsonObject,
    limits,
    message::ToolChoice,
    request::{ApiRequest, lists_calls, role},
};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::intake::too_large;
use crate::{error::Problem, turns::ApiPost};

/// Bytes up to which a request is parsed where it was read: that takes about a millisecond. A larger
/// one would keep everybody waiting whom the thread serves.
const PARSED_AT_ONCE: usize = 256 * 1024;

/// Calls of one message: as many as OpenAI takes functions.
const CALLS: usize = 128;

/// Calls that are named when their results are missing.
const NAMED: usize = 5;

/// Bytes of each of their ids that are shown.
const NAMED_BYTES: usize = 64;

/// Bytes of a model's id.
const MODEL_BYTES: usize = 256;

/// What passes on to the endpoint with every round of the turn, as it is. Everything else that the
/// API knows is about one answer of a model, about functions, or about how the answer is sent, and
/// is ours to deal with; what nobody knows is left out.
const PASSED_ON: [&str; 18] = [
    "frequency_penalty",
    "logit_bias",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "user",
];

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) post: ApiPost,
    /// How the answer is streamed; whole if none.
    pub(super) streaming: Option<StreamOptions>,
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamOptions {
    /// A last chunk says how many tokens it took.
    pub(super) include_usage: bool,
}

/// Parses the body of a request; `tasks` tracks that of a large one.
///
/// # Errors
/// What is wrong with it, or not supported yet.
pub(super) async fn parsed(body: Vec<u8>, tasks: &TaskTracker) -> Result<ChatRequest, Problem> {
    if body.len() <= PARSED_AT_ONCE {
        return parse(&body);
    }
    let parsing = tasks.spawn_blocking(move || parse(&body));
    parsing
        .await
        .unwrap_or_else(|error| Err(Problem::internal(&error)))
}

fn parse(body: &[u8]) -> Result<ChatRequest, Problem> {
    if limits::json_values(body) > limits::JSON_VALUES {
        return Err(too_large(&format!("{} JSON values", limits::JSON_VALUES)));
    }
    let parsed = serde_json::from_slice::<JsonObject>(body);
    let mut body = parsed.map_err(|error| {
        Problem::bad_request(format!(
            "The body of the request is no JSON object: {error}."
        ))
    })?;
    refuse_unsupported(&body)?;
    let messages = messages(body.remove("messages"));
    let messages = messages.map_err(|problem| problem.of_param("messages"))?;
    let model = model(body.get("model")).map_err(|problem| problem.of_param("model"))?;
    let streaming = streaming(&body).map_err(|problem| problem.of_param("stream"))?;
    let tool_choice = tool_choice(&body)?;
    body.retain(|key, value| PASSED_ON.contains(&key.as_str()) && !value.is_null());
    if body.values().any(limits::nests_too_deeply) {
        return Err(Problem::bad_request("A parameter nests too deeply."));
    }
    let request = ApiRequest {
        messages,
        parameters: body,
        tool_choice,
    };
    let post = ApiPost { request, model };
    Ok(ChatRequest { post, streaming })
}

fn unsupported(param: &'static str, what: &str) -> Problem {
    let message = format!("{what} is not supported yet.");
    Problem {
        code: "unsupported_parameter",
        param: Some(param),
        ..Problem::bad_request(message)
    }
}

/// What would be answered wrongly if it were passed over.
fn refuse_unsupported(body: &JsonObject) -> Result<(), Problem> {
    let is_set = |key: &str| match body.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_)) => true,
    };
    if is_set("n") && body.get("n").and_then(Value::as_u64) != Some(1) {
        return Err(unsupported("n", "`n` other than 1 (more than one answer)"));
    }
    for key in ["tools", "functions"] {
        if is_set(key) {
            let what =
                format!("`{key}` (functions of your own beside those of the user's MCP servers)");
            return Err(unsupported(key, &what));
        }
    }
    for key in ["logprobs", "top_logprobs", "audio"] {
        if is_set(key) {
            return Err(unsupported(key, &format!("`{key}`")));
        }
    }
    let modalities = body.get("modalities").and_then(Value::as_array);
    if modalities.is_some_and(|all| all.iter().any(|one| one != "text")) {
        return Err(unsupported(
            "modalities",
            "`modalities` other than [\"text\"]",
        ));
    }
    Ok(())
}

/// Without functions of the caller's there is nothing that could be required by name.
fn tool_choice(body: &JsonObject) -> Result<ToolChoice, Problem> {
    for key in ["tool_choice", "function_call"] {
        match body.get(key) {
            None | Some(Value::Null) => {}
            Some(choice) if choice == "auto" => {}
            Some(choice) if choice == "none" => return Ok(ToolChoice::None),
            Some(_) => {
                let what = format!("`{key}` other than auto and none");
                return Err(unsupported(key, &what));
            }
        }
    }
    Ok(ToolChoice::Auto)
}

fn model(model: Option<&Value>) -> Result<Option<String>, Problem> {
    match model {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(model)) if model.is_empty() => Ok(None),
        Some(Value::String(model)) if model.len() <= MODEL_BYTES => Ok(Some(model.clone())),
        Some(_) => Err(Problem::bad_request(format!(
            "`model` must be the id of a model, at most {MODEL_BYTES} bytes."
        ))),
    }
}

fn streaming(body: &JsonObject) -> Result<Option<StreamOptions>, Problem> {
    match body.get("stream") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => {
            let options = body.get("stream_options");
            let include_usage = options.and_then(|options| options.get("include_usage"));
            Ok(Some(StreamOptions {
                include_usage: include_usage == Some(&Value::Bool(true)),
            }))
        }
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Problem::bad_request("`stream` must be true or false."))
        }
    }
}

fn messages(messages: Option<Value>) -> Result<Vec<JsonObject>, Problem> {
    let Some(Value::Array(messages)) = messages else {
        return Err(Problem::bad_request(
            "`messages` must be a list of messages.",
        ));
    };
    if messages.is_empty() {
        return Err(Problem::bad_request("`messages` is empty."));
    }
    let checked = messages.into_iter().enumerate().map(|(at, message)| {
        if limits::nests_too_deeply(&message) {
            return Err(Problem::bad_request(format!(
                "messages[{at}] nests too deeply."
            )));
        }
        let Value::Object(message) = message else {
            return Err(Problem::bad_request(format!(
                "messages[{at}] is no object."
            )));
        };
        match role(&message) {
            "system" | "developer" | "user" | "assistant" | "tool" | "function" => Ok(message),
            _ => Err(Problem::bad_request(format!(
                "messages[{at}].role must be one of system, developer, user, assistant, tool."
            ))),
        }
    });
    let messages = checked.collect::<Result<Vec<_>, _>>()?;
    check_pairs(&messages)?;
    Ok(messages)
}

/// Every call of an assistant message needs one result, directly after it: endpoints refuse what
/// has not, some with a 500. Calls of anybody else are none. The words are OpenAI's own.
fn check_pairs(messages: &[JsonObject]) -> Result<(), Problem> {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        if !lists_calls(message) {
            return Err(Problem::bad_request(format!(
                "messages[{at}].tool_calls must be a list of calls."
            )));
        }
        if role(message) == "tool" {
            let id = message.get("tool_call_id").and_then(Value::as_str);
            if !id.is_some_and(|id| open.remove(id)) {
                return Err(Problem::bad_request(format!(
                    "messages[{at}]: messages with role 'tool' must be a response to a preceding \
                     message with 'tool_calls'."
                )));
            }
            continue;
        }
        refuse_unanswered(&open)?;
        if role(message) != "assistant" {
            continue;
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        if calls.is_some_and(|calls| calls.len() > CALLS) {
            return Err(Problem::bad_request(format!(
                "messages[{at}].tool_calls: a message may have at most {CALLS} calls."
            )));
        }
        for call in calls.into_iter().flatten() {
            let id = call.get("id").and_then(Value::as_str);
            if !id.is_some_and(|id| open.insert(id)) {
                return Err(Problem::bad_request(format!(
                    "messages[{at}].tool_calls: every call needs an `id` of its own."
                )));
            }
        }
    }
    refuse_unanswered(&open)
}

fn refuse_unanswered(open: &BTreeSet<&str>) -> Result<(), Problem> {
    if open.is_empty() {
        return Ok(());
    }
    let named = open.iter().take(NAMED);
    let mut ids: Vec<String> = named
        .map(|id| limits::clip((*id).to_owned(), NAMED_BYTES))
        .collect();
    if open.len() > NAMED {
        ids.push(format!("and {} more", open.len() - NAMED));
    }
    Err(Problem::bad_request(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}.",
        ids.join(", ")
    )))
}

#[cfg(test)]
mod tests;
