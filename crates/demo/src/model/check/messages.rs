//! The rules for `messages`, the pairing of calls and results first of all.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Rejection, illegal_name, invalid, legal_name, wrong_type};

/// OpenAI's limit for the id of a call, in characters.
const MAX_ID: usize = 40;

/// Walks the messages once, with the calls of the last assistant message that still want a
/// result.
pub(super) fn check(body: &Value) -> Result<(), Rejection> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(wrong_type("messages", "an array", other)),
        None => {
            return Err(invalid(
                "messages",
                "Missing required parameter: 'messages'.",
            ));
        }
    };
    if messages.is_empty() {
        return Err(invalid("messages", "[] is too short - 'messages'"));
    }
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        match role(message, &at)? {
            Role::Tool => result(message, &at, &mut open)?,
            Role::Assistant => {
                answered(&open, &at)?;
                open = assistant(message, &at)?;
            }
            Role::Other => {
                answered(&open, &at)?;
                content(message, &at)?;
            }
        }
    }
    answered(&open, "messages")
}

enum Role {
    Assistant,
    Tool,
    /// `system`, `developer` or `user`: the rules are the same.
    Other,
}

fn role(message: &Value, at: &str) -> Result<Role, Rejection> {
    match message.get("role").and_then(Value::as_str) {
        Some("assistant") => Ok(Role::Assistant),
        Some("tool") => Ok(Role::Tool),
        Some("system" | "developer" | "user") => Ok(Role::Other),
        Some(role) => Err(invalid(
            format!("{at}.role"),
            format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', \
                 'tool', and 'developer'."
            ),
        )),
        None => Err(invalid(
            format!("{at}.role"),
            format!("Missing required parameter: '{at}.role'."),
        )),
    }
}

/// Fails when a message other than a result follows while calls want one.
fn answered(open: &BTreeSet<&str>, at: &str) -> Result<(), Rejection> {
    if open.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = open.iter().copied().collect();
    Err(invalid(
        at,
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding \
             to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            ids.join(", ")
        ),
    ))
}

fn result<'a>(message: &'a Value, at: &str, open: &mut BTreeSet<&'a str>) -> Result<(), Rejection> {
    let Some(id) = message.get("tool_call_id").and_then(Value::as_str) else {
        let param = format!("{at}.tool_call_id");
        return Err(invalid(
            &param,
            format!("Missing required parameter: '{param}'."),
        ));
    };
    if !open.remove(id) {
        return Err(invalid(
            format!("{at}.role"),
            format!(
                "Invalid parameter: messages with role 'tool' must be a response to a preceding \
                 message with 'tool_calls' (no open call has the id '{id}')."
            ),
        ));
    }
    content(message, at)
}

/// Checks an assistant message and returns the ids of its calls.
fn assistant<'a>(message: &'a Value, at: &str) -> Result<BTreeSet<&'a str>, Rejection> {
    let calls = match message.get("tool_calls") {
        None | Some(Value::Null) => {
            content(message, at)?;
            return Ok(BTreeSet::new());
        }
        Some(Value::Array(calls)) => calls,
        Some(other) => return Err(wrong_type(&format!("{at}.tool_calls"), "an array", other)),
    };
    if calls.is_empty() {
        let param = format!("{at}.tool_calls");
        return Err(invalid(&param, format!("[] is too short - '{param}'")));
    }
    // TGI answers 422 when the key is missing; `null` is enough for everybody.
    match message.get("content") {
        Some(Value::Null) => {}
        _ => content(message, at)?,
    }
    let mut ids = BTreeSet::new();
    for (index, call) in calls.iter().enumerate() {
        let at = format!("{at}.tool_calls[{index}]");
        let id = self::call(call, &at)?;
        if !ids.insert(id) {
            return Err(invalid(
                format!("{at}.id"),
                format!("Duplicate tool call id '{id}'."),
            ));
        }
    }
    Ok(ids)
}

fn call<'a>(call: &'a Value, at: &str) -> Result<&'a str, Rejection> {
    let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
    if id.is_empty() || id.chars().count() > MAX_ID {
        let param = format!("{at}.id");
        let message = format!("Invalid '{param}': expected a string of 1 to {MAX_ID} characters.");
        return Err(invalid(param, message));
    }
    if call.get("type").and_then(Value::as_str) != Some("function") {
        let param = format!("{at}.type");
        return Err(invalid(
            &param,
            format!("Invalid value for '{param}': expected 'function'."),
        ));
    }
    let name = call
        .pointer("/function/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !legal_name(name) {
        return Err(illegal_name(&format!("{at}.function.name")));
    }
    let arguments = call.pointer("/function/arguments").and_then(Value::as_str);
    // OpenAI takes any string; llama.cpp answers 500 unless it is a JSON object.
    if !matches!(
        arguments.map(serde_json::from_str::<Value>),
        Some(Ok(Value::Object(_)))
    ) {
        let param = format!("{at}.function.arguments");
        let message = format!("Invalid '{param}': expected a JSON object as a string.");
        return Err(invalid(param, message));
    }
    Ok(id)
}

/// Checks that there is content: a string, or parts each with a type.
fn content(message: &Value, at: &str) -> Result<(), Rejection> {
    let param = format!("{at}.content");
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) if parts.is_empty() => {
            Err(invalid(&param, format!("[] is too short - '{param}'")))
        }
        Some(Value::Array(parts)) => {
            if parts
                .iter()
                .all(|part| part.get("type").is_some_and(Value::is_string))
            {
                return Ok(());
            }
            Err(invalid(
                &param,
                format!("Missing required parameter: '{param}[].type'."),
            ))
        }
        Some(other) => Err(wrong_type(&param, "a string or an array of parts", other)),
        None => Err(invalid(
            &param,
            format!("Missing required parameter: '{param}'."),
        )),
    }
}
