//! Messages as a model endpoint takes and gives them (`OpenAI` chat completions), without the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The system prompt.
    System(String),
    /// What the user said.
    User(String),
    /// What the model said.
    Assistant(AssistantMessage),
    /// A message of an API caller's, as they gave it.
    Given(Map<String, Value>),
    /// The result of one call of the assistant message before it.
    Tool {
        /// The call's id as the model gave it.
        call: String,
        /// The function's name: some endpoints require it here.
        name: String,
        /// The result, always a string (array content is refused by some endpoints).
        content: String,
    },
}

/// What the model said in one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    /// The text, Markdown; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The reasoning that the endpoint showed beside the text; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The calls it asked for, in its order, with ids unique within the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ModelCall>,
    /// Fields of the message that we do not know and that the endpoint wants back
    /// (`extra_content` of Gemini).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extras: Map<String, Value>,
}

/// One call as the model asked for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCall {
    /// The model's id, returned to it verbatim; made by us (nine alphanumerics) when it gave none.
    pub id: String,
    /// The function's name as the model wrote it.
    pub name: String,
    /// The arguments as the model wrote them: a JSON object, if all is well.
    pub arguments: String,
    /// Fields of the call that we do not know and that the endpoint wants back
    /// (thought signatures).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extras: Map<String, Value>,
}

/// How a round ended that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    /// With an answer.
    Stop,
    /// With calls to run.
    Calls,
    /// The endpoint's token limit cut it (`finish_reason: "length"`): what text there is stands,
    /// calls are not run.
    Length,
    /// The endpoint's content filter cut it.
    Filtered,
}

/// Tokens of a round as the endpoint counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

/// Whether the model may call functions in a round (`tool_choice`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// It must answer in text. The functions stay in the request: some endpoints refuse a history
    /// with tool messages and no tools.
    None,
}
