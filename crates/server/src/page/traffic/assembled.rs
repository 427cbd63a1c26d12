//! What the pieces of a model's stream say together: text, reasoning, calls. For reading only; what
//! a turn goes by is put together in `wire::llm`.

use serde_json::Value;

use super::frames::Frame;

/// Calls of one answer that are put together.
const CALLS: usize = 128;

/// A streamed answer in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assembled {
    pub(super) reasoning: String,
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) finish: String,
    /// Tokens as the endpoint counted them: in, out.
    pub(super) usage: Option<(u64, u64)>,
}

/// A call that the model asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) function: String,
    pub(super) arguments: String,
}

impl Assembled {
    /// Whether there is anything to show.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what an event says, if it is a chunk of a chat completion.
    pub(super) fn take(&mut self, frame: &Frame) {
        let Ok(chunk) = serde_json::from_str::<Value>(&frame.data) else {
            return;
        };
        let tokens = |name: &str| chunk.pointer("/usage")?.get(name)?.as_u64();
        self.usage = tokens("prompt_tokens")
            .zip(tokens("completion_tokens"))
            .or(self.usage);
        let Some(choice) = chunk.pointer("/choices/0") else {
            return;
        };
        match text(choice, "/finish_reason") {
            "" => {}
            finish => finish.clone_into(&mut self.finish),
        }
        self.text.push_str(text(choice, "/delta/content"));
        let reasoning = match text(choice, "/delta/reasoning_content") {
            "" => text(choice, "/delta/reasoning"),
            reasoning => reasoning,
        };
        self.reasoning.push_str(reasoning);
        let calls = choice.pointer("/delta/tool_calls");
        for call in calls.and_then(Value::as_array).into_iter().flatten() {
            self.call(call);
        }
    }

    /// The same with every text as `show` shows it.
    pub(super) fn shown(self, show: fn(&str) -> String) -> Self {
        let call = |call: &Call| Call {
            function: show(&call.function),
            arguments: show(&call.arguments),
        };
        Self {
            reasoning: show(&self.reasoning),
            text: show(&self.text),
            calls: self.calls.iter().map(call).collect(),
            finish: show(&self.finish),
            usage: self.usage,
        }
    }

    fn call(&mut self, piece: &Value) {
        let last = self.calls.len().saturating_sub(1);
        let index = piece.get("index").and_then(Value::as_u64);
        let index = index.map_or(last, |index| usize::try_from(index).unwrap_or(CALLS));
        if index >= CALLS {
            return;
        }
        if index >= self.calls.len() {
            self.calls.resize(index + 1, Call::default());
        }
        if let Some(call) = self.calls.get_mut(index) {
            call.function.push_str(text(piece, "/function/name"));
            call.arguments.push_str(text(piece, "/function/arguments"));
        }
    }
}

/// The text at a JSON pointer; empty when there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::traffic::frames::frames;

    fn assemble(body: &str) -> Assembled {
        let mut assembled = Assembled::default();
        for frame in frames(body.as_bytes(), &[]) {
            assembled.take(&frame);
        }
        assembled
    }

    #[test]
    fn pieces_become_text_and_calls() {
        let body = r#"data: {"choices":[{"delta":{"reasoning":"Hm. "}}]}

data: {"choices":[{"delta":{"content":"Let me "}}]}

data: {"choices":[{"delta":{"content":"look."}}]}

data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"read","arguments":"{\"q\""}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}

data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}

data: [DONE]

"#;
        let expected = Assembled {
            reasoning: "Hm. ".to_owned(),
            text: "Let me look.".to_owned(),
            calls: vec![Call {
                function: "read".to_owned(),
                arguments: r#"{"q":1}"#.to_owned(),
            }],
            finish: "tool_calls".to_owned(),
            usage: Some((7, 3)),
        };
        assert_eq!(assemble(body), expected);
    }

    #[test]
    fn what_is_no_answer_is_nothing() {
        for body in [
            "data: [DONE]\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
            "data: 7\n\ndata: {\"choices\":{\"0\":1}}\n\n",
            r#"data: {"choices":[{"delta":{"tool_calls":[{"index":4000000000}]}}]}"#,
        ] {
            assert!(assemble(body).is_empty(), "{body}");
        }
    }
}
