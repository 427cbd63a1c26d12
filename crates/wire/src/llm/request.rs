//! The body of a model request: stable, so that endpoints' prefix caches hold, and strict in what
//! it holds, since endpoints refuse what they do not know.

use chat::{
    limits::FUNCTION_NAME_BYTES,
    message::{AssistantMessage, Message, ModelCall, ToolChoice},
    toolbox::Toolbox,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json, value::RawValue};

use super::RoundRequest;

/// A request's parts, serialized: what a second try leaves out or adds is not in them.
#[derive(Debug)]
pub(super) struct Request {
    model: String,
    tools: Option<Box<RawValue>>,
    messages: Vec<Sent>,
    tool_choice: ToolChoice,
    parameters: Map<String, Value>,
}

/// What a request is made of: no parameter takes its place.
const OURS: [&str; 6] = [
    "model",
    "stream",
    "stream_options",
    "tools",
    "messages",
    "tool_choice",
];

/// One message, without and, if it has some, with its reasoning.
#[derive(Debug)]
struct Sent {
    plain: Box<RawValue>,
    with_reasoning: Option<Box<RawValue>>,
}

/// Whether tokens are to be counted in the stream (`stream_options`); some endpoints refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageWanted {
    Yes,
    No,
}

/// Whether the model's reasoning goes back to it (`reasoning_content`): some endpoints demand it
/// within a tool loop, others refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reasoning {
    Omitted,
    Echoed,
}

/// A request as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) request: &'a Request,
    pub(super) usage: UsageWanted,
    pub(super) reasoning: Reasoning,
}

impl Request {
    pub(super) fn new(request: RoundRequest<'_>) -> Result<Self, serde_json::Error> {
        let RoundRequest {
            model,
            messages,
            toolbox,
            tool_choice,
            parameters,
        } = request;
        let ours = |key: &str| OURS.contains(&key);
        let parameters = parameters.iter().filter(|(key, _)| !ours(key));
        Ok(Self {
            model: model.to_owned(),
            tools: tools(toolbox)?,
            messages: messages.iter().map(Sent::new).collect::<Result<_, _>>()?,
            tool_choice,
            parameters: parameters
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        })
    }

    /// Whether any message has reasoning that could be echoed.
    pub(super) fn has_reasoning(&self) -> bool {
        self.messages
            .iter()
            .any(|message| message.with_reasoning.is_some())
    }
}

impl Serialize for Body<'_> {
    /// The order is fixed, what grows comes late: from round to round the start stays the same.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Request {
            model,
            tools,
            messages,
            tool_choice,
            parameters,
        } = self.request;
        let messages: Vec<&RawValue> = messages.iter().map(|m| m.sent(self.reasoning)).collect();
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("model", model)?;
        body.serialize_entry("stream", &true)?;
        if self.usage == UsageWanted::Yes {
            body.serialize_entry("stream_options", &json!({ "include_usage": true }))?;
        }
        for (key, value) in parameters {
            body.serialize_entry(key, value)?;
        }
        if let Some(tools) = tools {
            body.serialize_entry("tools", tools)?;
        }
        body.serialize_entry("messages", &messages)?;
        match tool_choice {
            ToolChoice::None if tools.is_some() => body.serialize_entry("tool_choice", "none")?,
            // The default, and refused without tools.
            ToolChoice::None | ToolChoice::Auto => {}
        }
        body.end()
    }
}

impl Sent {
    fn new(message: &Message) -> Result<Self, serde_json::Error> {
        let plain = match message {
            Message::System(text) => json!({ "role": "system", "content": text }),
            Message::User(text) => json!({ "role": "user", "content": text }),
            Message::Tool {
                call,
                name,
                content,
            } => json!({
                "role": "tool",
                "tool_call_id": call,
                "name": legal_name(name),
                "content": content,
            }),
            Message::Given(message) => {
                return Ok(Self {
                    plain: raw(message)?,
                    with_reasoning: None,
                });
            }
            Message::Assistant(message) => return Self::assistant(message),
        };
        Ok(Self {
            plain: raw(&plain)?,
            with_reasoning: None,
        })
    }

    fn assistant(message: &AssistantMessage) -> Result<Self, serde_json::Error> {
        let AssistantMessage {
            text,
            reasoning,
            calls,
            extras,
        } = message;
        let mut object = extras.clone();
        object.insert("role".to_owned(), "assistant".into());
        // The key is always there (TGI); without text it is null, as OpenAI itself writes it.
        let content = if text.is_empty() && !calls.is_empty() {
            Value::Null
        } else {
            json!(text)
        };
        object.insert("content".to_owned(), content);
        if !calls.is_empty() {
            object.insert("tool_calls".to_owned(), calls.iter().map(call).collect());
        }
        let plain = raw(&object)?;
        if reasoning.is_empty() {
            return Ok(Self {
                plain,
                with_reasoning: None,
            });
        }
        object.insert("reasoning_content".to_owned(), json!(reasoning));
        Ok(Self {
            plain,
            with_reasoning: Some(raw(&object)?),
        })
    }

    fn sent(&self, reasoning: Reasoning) -> &RawValue {
        match (reasoning, &self.with_reasoning) {
            (Reasoning::Echoed, Some(with_reasoning)) => with_reasoning,
            (Reasoning::Echoed | Reasoning::Omitted, _) => &self.plain,
        }
    }
}

fn tools(toolbox: &Toolbox) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    if toolbox.functions.is_empty() {
        return Ok(None);
    }
    let functions = toolbox.functions.iter().map(|function| {
        json!({
            "type": "function",
            "function": {
                "name": function.name,
                "description": function.description,
                "parameters": function.parameters,
            },
        })
    });
    raw(&functions.collect::<Value>()).map(Some)
}

fn call(call: &ModelCall) -> Value {
    let ModelCall {
        id,
        name,
        arguments,
        extras,
    } = call;
    let mut object = extras.clone();
    object.insert("id".to_owned(), json!(id));
    object.insert("type".to_owned(), "function".into());
    let function = json!({ "name": legal_name(name), "arguments": legal_arguments(arguments) });
    object.insert("function".to_owned(), function);
    Value::Object(object)
}

/// Endpoints answer 400 or 500 to a history whose arguments are no JSON object.
fn legal_arguments(arguments: &str) -> &str {
    match serde_json::from_str::<Map<String, Value>>(arguments) {
        Ok(_) => arguments,
        Err(_) => "{}",
    }
}

/// A function's name that every endpoint takes back: a model may have made up one that is not
/// (`^[a-zA-Z0-9_-]{1,64}$`).
fn legal_name(name: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(FUNCTION_NAME_BYTES).map(legal).collect();
    if name.is_empty() {
        "_".to_owned()
    } else {
        name
    }
}

/// `serde_json`'s maps are sorted: the same value gives the same bytes.
fn raw(value: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}

#[cfg(test)]
mod tests;
