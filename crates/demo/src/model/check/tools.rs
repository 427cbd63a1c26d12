//! The rules for `tools` and what depends on them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Rejection, illegal_name, invalid, legal_name, wrong_type};

/// OpenAI's limit for the number of functions of a request.
const MAX_TOOLS: usize = 128;
/// OpenAI's limit for a function's description, in characters.
const MAX_DESCRIPTION: usize = 1024;

pub(super) fn check(body: &Value) -> Result<(), Rejection> {
    let tools = match body.get("tools") {
        None | Some(Value::Null) => {
            for param in ["tool_choice", "parallel_tool_calls"] {
                if body.get(param).is_some_and(|value| !value.is_null()) {
                    let message = format!("'{param}' is only allowed when 'tools' are specified.");
                    return Err(invalid(param, message));
                }
            }
            return Ok(());
        }
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong_type("tools", "an array", other)),
    };
    if tools.is_empty() {
        return Err(invalid("tools", "[] is too short - 'tools'"));
    }
    if tools.len() > MAX_TOOLS {
        let message = format!(
            "Invalid 'tools': array too long. Expected an array with maximum length {MAX_TOOLS}, \
             but got an array with length {} instead.",
            tools.len()
        );
        return Err(invalid("tools", message).with_code("array_above_max_length"));
    }
    let mut names = BTreeSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        let name = function(tool, &at)?;
        // Anthropic and Gemini refuse this; OpenAI takes it, but nobody can tell them apart.
        if !names.insert(name) {
            return Err(invalid(at, format!("Tool names must be unique: '{name}'.")));
        }
    }
    choice(body, &names)
}

fn function<'a>(tool: &'a Value, at: &str) -> Result<&'a str, Rejection> {
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        let param = format!("{at}.type");
        return Err(invalid(
            &param,
            format!("Invalid value for '{param}': expected 'function'."),
        ));
    }
    let name = tool
        .pointer("/function/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !legal_name(name) {
        return Err(illegal_name(&format!("{at}.function.name")));
    }
    match tool.pointer("/function/description") {
        None => {}
        Some(Value::String(text)) if text.chars().count() <= MAX_DESCRIPTION => {}
        Some(Value::String(_)) => {
            let param = format!("{at}.function.description");
            let message = format!(
                "Invalid '{param}': string too long. Expected a string with maximum length \
                 {MAX_DESCRIPTION}."
            );
            return Err(invalid(param, message).with_code("string_above_max_length"));
        }
        Some(other) => {
            return Err(wrong_type(
                &format!("{at}.function.description"),
                "a string",
                other,
            ));
        }
    }
    let Some(parameters) = tool.pointer("/function/parameters") else {
        return Ok(name);
    };
    let complaint = if parameters.get("type").and_then(Value::as_str) != Some("object") {
        "schema must be a JSON Schema of 'type: \"object\"'."
    } else if !parameters.get("properties").is_some_and(Value::is_object) {
        "In context=(), object schema missing properties."
    } else {
        return Ok(name);
    };
    let param = format!("{at}.function.parameters");
    Err(invalid(
        param,
        format!("Invalid schema for function '{name}': {complaint}"),
    )
    .with_code("invalid_function_parameters"))
}

fn choice(body: &Value, names: &BTreeSet<&str>) -> Result<(), Rejection> {
    let complaint = match body.get("tool_choice") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(word)) if matches!(word.as_str(), "none" | "auto" | "required") => {
            return Ok(());
        }
        Some(choice) => match choice.pointer("/function/name").and_then(Value::as_str) {
            Some(name) if names.contains(name) => return Ok(()),
            Some(name) => format!("Tool choice '{name}' not found in 'tools' parameter."),
            None => "Invalid value for 'tool_choice'.".to_owned(),
        },
    };
    Err(invalid("tool_choice", complaint))
}
