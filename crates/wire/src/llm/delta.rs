//! What one event of an answer adds, read from whatever shape it has.

use chat::{limits::nests_too_deeply, message::Usage};
use serde_json::{Map, Value};

use super::{
    chunk::Piece,
    words::{Words, clean},
};

/// What one event adds to the answer. Empty fields add nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Delta {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<CallDelta>,
    /// Fields of the message to be given back verbatim.
    pub(super) extras: Map<String, Value>,
    pub(super) finish: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) scope: Scope,
}

/// What the text and the calls of an event are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// More of the message (`delta`).
    #[default]
    Addition,
    /// All of the message so far (`message`).
    Whole,
}

/// What one event adds to one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CallDelta {
    pub(super) index: Option<u64>,
    /// Never empty.
    pub(super) id: Option<String>,
    /// Never empty.
    pub(super) name: Option<String>,
    pub(super) arguments: Arguments,
    /// Fields of the call to be given back verbatim.
    pub(super) extras: Map<String, Value>,
}

/// What one event adds to the arguments of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Arguments {
    /// Nothing.
    #[default]
    None,
    /// More of their text.
    More(String),
    /// All of them, given as JSON instead of as text (TGI, Ollama behind `LiteLLM`).
    Whole(String),
}

/// What an event has to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// More of the answer.
    Delta(Delta),
    /// An error instead of it.
    Error(Words),
    /// Nothing that belongs to a chat completion; its text, cut.
    Stray(String),
}

impl From<Piece> for Delta {
    fn from(piece: Piece) -> Self {
        let reasoning = piece.reasoning_content.filter(|text| !text.is_empty());
        Self {
            text: piece.content.unwrap_or_default(),
            reasoning: reasoning.or(piece.reasoning).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Reads an event. Fields that we do not need may have any shape.
pub(super) fn read(event: Value) -> Event {
    let mut map = match event {
        Value::Object(map) => map,
        // Gemini wraps its errors in an array.
        Value::Array(items) => match items.into_iter().next() {
            Some(Value::Object(map)) => map,
            other => return stray(&other.unwrap_or_default()),
        },
        event @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            return stray(&event);
        }
    };
    if let Some(words) = Words::reported(&map) {
        return Event::Error(words);
    }
    let usage = map.get("usage").and_then(usage);
    let choices = match map.remove("choices") {
        Some(Value::Array(choices)) => choices,
        _ if usage.is_some() => Vec::new(),
        _ => return stray(&Value::Object(map)),
    };
    let ours = |choice: &Value| {
        choice
            .get("index")
            .is_none_or(|i| i.as_u64().unwrap_or(0) == 0)
    };
    let mut delta = match choices.into_iter().find(ours) {
        Some(Value::Object(choice)) => match Words::reported(&choice) {
            Some(words) => return Event::Error(words),
            None => of_choice(choice),
        },
        _ => Delta::default(),
    };
    delta.usage = usage;
    Event::Delta(delta)
}

fn stray(event: &Value) -> Event {
    Event::Stray(clean(&event.to_string()))
}

fn of_choice(mut choice: Map<String, Value>) -> Delta {
    let finish = string(choice.remove("finish_reason"));
    let mut taken = |key: &str| match choice.remove(key) {
        Some(Value::Object(message)) => Some(message),
        _ => None,
    };
    let (message, scope) = match taken("delta").filter(|delta| !delta.is_empty()) {
        Some(delta) => (Some(delta), Scope::Addition),
        None => (taken("message"), Scope::Whole),
    };
    let delta = message.map(of_message).unwrap_or_default();
    Delta {
        finish,
        scope,
        ..delta
    }
}

fn of_message(mut message: Map<String, Value>) -> Delta {
    let mut delta = Delta::default();
    add_content(message.remove("content"), &mut delta);
    if delta.text.is_empty() {
        delta.text = string(message.remove("refusal")).unwrap_or_default();
    }
    let reasoning = ["reasoning_content", "reasoning"];
    let reasoning = reasoning
        .into_iter()
        .find_map(|key| string(message.remove(key)));
    if let Some(reasoning) = reasoning.or_else(|| details(message.remove("reasoning_details"))) {
        delta.reasoning = reasoning;
    }
    delta.calls = match message.remove("tool_calls") {
        Some(Value::Array(calls)) => calls.into_iter().filter_map(of_call).collect(),
        // A single call without its list (TGI).
        Some(call @ Value::Object(_)) => of_call(call).into_iter().collect(),
        _ => Vec::new(),
    };
    if delta.calls.is_empty()
        && let Some(Value::Object(function)) = message.remove("function_call")
    {
        delta.calls.push(of_function(function));
    }
    if let Some((key, extra)) = message.remove_entry("extra_content")
        && can_be_given_back(&extra)
    {
        delta.extras.insert(key, extra);
    }
    delta
}

/// Content is text, or a list of parts (Mistral).
fn add_content(content: Option<Value>, delta: &mut Delta) {
    match content {
        Some(Value::String(text)) => delta.text.push_str(&text),
        Some(Value::Array(parts)) => {
            for part in parts {
                add_content(Some(part), delta);
            }
        }
        Some(Value::Object(mut part)) => match part.get("type").and_then(Value::as_str) {
            Some("thinking" | "reasoning") => {
                let mut thought = Delta::default();
                let keys = ["thinking", "reasoning", "text", "content"];
                add_content(
                    keys.into_iter().find_map(|key| part.remove(key)),
                    &mut thought,
                );
                delta.reasoning.push_str(&thought.text);
            }
            _ => add_content(part.remove("text").filter(Value::is_string), delta),
        },
        _ => {}
    }
}

/// The texts of `OpenRouter`'s reasoning details.
fn details(details: Option<Value>) -> Option<String> {
    let Some(Value::Array(details)) = details else {
        return None;
    };
    let mut texts = String::new();
    for mut detail in details {
        let text = detail.as_object_mut().and_then(|detail| {
            string(detail.remove("text")).or_else(|| string(detail.remove("summary")))
        });
        texts.push_str(&text.unwrap_or_default());
    }
    (!texts.is_empty()).then_some(texts)
}

fn of_call(call: Value) -> Option<CallDelta> {
    let Value::Object(mut call) = call else {
        return None;
    };
    let function = match call.remove("function") {
        Some(Value::Object(function)) => function,
        _ => Map::new(),
    };
    let index = call.remove("index").and_then(|index| index.as_u64());
    let id = string(call.remove("id"));
    call.remove("type");
    call.retain(|_, extra| can_be_given_back(extra));
    Some(CallDelta {
        index,
        id,
        extras: call,
        ..of_function(function)
    })
}

/// Whether a field of the vendor's says anything, and in a depth that can be kept.
fn can_be_given_back(extra: &Value) -> bool {
    !extra.is_null() && !nests_too_deeply(extra)
}

fn of_function(mut function: Map<String, Value>) -> CallDelta {
    let arguments = match function.remove("arguments") {
        None | Some(Value::Null) => Arguments::None,
        Some(Value::String(text)) if text.is_empty() => Arguments::None,
        Some(Value::String(text)) => Arguments::More(text),
        Some(json) => Arguments::Whole(json.to_string()),
    };
    CallDelta {
        name: string(function.remove("name")),
        arguments,
        ..CallDelta::default()
    }
}

/// Counts, which some endpoints write as floats; none when there are none (`usage: {}`).
fn usage(usage: &Value) -> Option<Usage> {
    let count = |key: &str| {
        let count = usage.get(key)?;
        count.as_u64().or_else(|| {
            let float = count.as_f64().filter(|float| (0.0..1e15).contains(float))?;
            format!("{float:.0}").parse().ok()
        })
    };
    let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
    (prompt.is_some() || completion.is_some()).then(|| Usage {
        prompt_tokens: prompt.unwrap_or_default(),
        completion_tokens: completion.unwrap_or_default(),
    })
}

/// A text that is one and not empty.
fn string(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}
