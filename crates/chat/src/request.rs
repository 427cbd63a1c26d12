//! What a program asked for over the API, and what that makes of its turn.

use serde::{Deserialize, Serialize};

use crate::{
    event::JsonObject,
    limits::{MESSAGE_BYTES, clip},
    message::ToolChoice,
};

/// A request of the API (`POST /v1/chat/completions`), as far as the turn goes by it. The caller's
/// own messages are what the model is sent; no history of ours comes before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRequest {
    /// The messages, verbatim: images, names, roles and extras of vendors pass as they came.
    pub messages: Vec<JsonObject>,
    /// What every round of the turn is sent beside its messages (`temperature`, …).
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub parameters: JsonObject,
    /// With [`ToolChoice::None`] the turn has no functions.
    pub tool_choice: ToolChoice,
}

/// To whom a turn belongs, which decides what it may wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// A person who looks at its conversation: it waits for their answers, their accounts and
    /// their tokens, also across a restart.
    #[default]
    Person,
    /// The connection of a program: it waits for nobody, and ends with the connection.
    Connection,
}

impl ApiRequest {
    /// Whether the caller says themselves how the model is to behave.
    pub fn has_instructions(&self) -> bool {
        self.messages.iter().any(is_instruction)
    }

    /// The text of the last message of the user, for lists, cut to [`MESSAGE_BYTES`]; empty when
    /// there is none.
    pub fn last_user_text(&self) -> String {
        let mut messages = self.messages.iter().rev();
        let last = messages.find(|message| role(message) == "user");
        last.map(text).unwrap_or_default()
    }
}

/// Whether it is a system message, by either of its names.
pub(crate) fn is_instruction(message: &JsonObject) -> bool {
    matches!(role(message), "system" | "developer")
}

/// The role of a message; empty when it has none.
pub fn role(message: &JsonObject) -> &str {
    text_at(message, "role")
}

/// Whether its `tool_calls` are what they may be: a list, or nothing.
pub fn lists_calls(message: &JsonObject) -> bool {
    let calls = message.get("tool_calls");
    calls.is_none_or(|calls| calls.is_array() || calls.is_null())
}

/// The string at a key; empty when there is none.
pub(crate) fn text_at<'a>(object: &'a JsonObject, key: &str) -> &'a str {
    let text = object.get(key).and_then(|text| text.as_str());
    text.unwrap_or_default()
}

/// The text of a message: the string, or the text parts of the list; at most [`MESSAGE_BYTES`].
fn text(message: &JsonObject) -> String {
    let Some(content) = message.get("content") else {
        return String::new();
    };
    if let Some(text) = content.as_str() {
        return clip(head(text).to_owned(), MESSAGE_BYTES);
    }
    let parts = content.as_array().into_iter().flatten();
    let mut all = String::new();
    for text in parts.filter_map(|part| part.get("text")?.as_str()) {
        if all.len() > MESSAGE_BYTES {
            break;
        }
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(head(text));
    }
    clip(all, MESSAGE_BYTES)
}

/// As much of the text as can count, and one character more, which shows that there was more: what
/// is left away is never copied.
fn head(text: &str) -> &str {
    let end = text.ceil_char_boundary(MESSAGE_BYTES + 1);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(messages: &Value) -> ApiRequest {
        ApiRequest {
            messages: serde_json::from_value(messages.clone()).unwrap(),
            parameters: JsonObject::new(),
            tool_choice: ToolChoice::Auto,
        }
    }

    #[test]
    fn the_last_question_is_found_whatever_its_shape() {
        let parts = json!([
            { "type": "text", "text": "What is" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
            { "type": "text", "text": "this?" },
        ]);
        for (messages, question) in [
            (json!([]), ""),
            (json!([{ "role": "assistant", "content": "Hi" }]), ""),
            (json!([{ "role": "user" }]), ""),
            (
                json!([
                    { "role": "user", "content": "First" },
                    { "role": "user", "content": "Last" },
                    { "role": "assistant", "content": "Hi" },
                ]),
                "Last",
            ),
            (
                json!([{ "role": "user", "content": parts }]),
                "What is\nthis?",
            ),
        ] {
            assert_eq!(request(&messages).last_user_text(), question, "{messages}");
        }
    }

    #[test]
    fn a_question_without_end_is_cut_between_characters() {
        let endless = "ä".repeat(20 * 1024 * 1024 / 2);
        let part = json!({ "type": "text", "text": "x".repeat(MESSAGE_BYTES - 1) });
        for content in [json!(endless), json!([part, part, part])] {
            let messages = json!([{ "role": "user", "content": content }]);
            let text = request(&messages).last_user_text();
            assert!(text.len() <= MESSAGE_BYTES && text.ends_with('…'));
            assert!(text.len() > MESSAGE_BYTES - 8, "{}", text.len());
            assert!(text.capacity() < 4 * MESSAGE_BYTES, "{}", text.capacity());
        }
        let longest = "x".repeat(MESSAGE_BYTES);
        let messages = json!([{ "role": "user", "content": longest }]);
        assert_eq!(request(&messages).last_user_text(), longest);
    }

    #[test]
    fn both_names_of_a_system_message_count() {
        for (role, instructs) in [("system", true), ("developer", true), ("user", false)] {
            let messages = json!([{ "role": "user", "content": "x" }, { "role": role }]);
            assert_eq!(request(&messages).has_instructions(), instructs, "{role}");
        }
    }
}
