//! A turn as the script sees it: the question, and the calls made for it with their results.

use serde_json::{Map, Value, json};

use super::{Database, table::Reading};
use crate::model::{
    reply::{Answer, Call},
    request::{Calls, ChatRequest, text_of},
};

/// The function the script needs was not offered, or calls are forbidden: the end of its name.
#[derive(Debug)]
pub(super) struct Missing(pub(super) &'static str);

/// One call of this turn, with its result.
#[derive(Debug)]
pub(super) struct Step {
    name: String,
    result: String,
}

impl Step {
    /// What the tool said.
    pub(super) fn reading(&self) -> Reading {
        Reading::of(&self.result)
    }

    /// What the tool said, as it stands.
    pub(super) fn text(&self) -> &str {
        &self.result
    }

    /// The function that was called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The question of a request and what was done for it.
pub(super) struct Turn<'a> {
    request: &'a ChatRequest,
    database: Database,
    question: String,
    steps: Vec<Step>,
}

impl<'a> Turn<'a> {
    pub(super) fn read(request: &'a ChatRequest, database: Database) -> Self {
        let messages = request.messages();
        let asked = messages.iter().rposition(|message| role(message) == "user");
        let question = asked
            .and_then(|at| messages.get(at))
            .map(text_of)
            .unwrap_or_default();
        let since = asked.and_then(|at| messages.get(at..)).unwrap_or(messages);
        let calls = since
            .iter()
            .filter_map(|message| message.get("tool_calls").and_then(Value::as_array))
            .flatten();
        let steps = calls
            .map(|call| Step {
                name: string(call, "/function/name"),
                result: result(since, call.get("id")),
            })
            .collect();
        Self {
            request,
            database,
            question,
            steps,
        }
    }

    /// The last user message.
    pub(super) fn question(&self) -> &str {
        &self.question
    }

    pub(super) fn database(&self) -> Database {
        self.database
    }

    pub(super) fn calls(&self) -> Calls {
        self.request.calls()
    }

    /// All calls of this turn, in the order in which they were made.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The calls of functions whose name ends so.
    pub(super) fn steps_of(&self, suffix: &'static str) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(move |step| step.name.ends_with(suffix))
    }

    /// The place of the last call of a function whose name ends so.
    pub(super) fn last_of(&self, suffix: &'static str) -> Option<usize> {
        self.steps
            .iter()
            .rposition(|step| step.name.ends_with(suffix))
    }

    /// A call of the offered function whose name ends in `suffix`.
    pub(super) fn call(
        &self,
        suffix: &'static str,
        arguments: &[(&str, Value)],
    ) -> Result<Call, Missing> {
        let function = self.function(suffix)?;
        let parameters = function
            .pointer("/parameters/properties")
            .and_then(Value::as_object);
        let arguments: Map<String, Value> = arguments
            .iter()
            .map(|(meaning, value)| (parameter(parameters, meaning), value.clone()))
            .collect();
        Ok(Call::new(
            string(function, "/name"),
            &Value::Object(arguments),
        ))
    }

    /// A call of `…read_query`.
    pub(super) fn query(&self, sql: &str) -> Result<Call, Missing> {
        self.call("read_query", &[("sql", json!(sql))])
    }

    /// A call of `…list_tables`.
    pub(super) fn list_tables(&self) -> Result<Call, Missing> {
        self.call("list_tables", &[])
    }

    /// A call of `…describe_table`.
    pub(super) fn describe(&self, table: &str) -> Result<Call, Missing> {
        self.call("describe_table", &[("table", json!(table))])
    }

    fn function(&self, suffix: &'static str) -> Result<&Value, Missing> {
        if self.calls() != Calls::Allowed {
            return Err(Missing(suffix));
        }
        let mut functions = self.request.functions();
        functions
            .find(|function| string(function, "/name").ends_with(suffix))
            .ok_or(Missing(suffix))
    }
}

/// A sentence and then calls.
pub(super) fn call_after(text: impl Into<String>, calls: impl IntoIterator<Item = Call>) -> Answer {
    Answer {
        text: text.into(),
        calls: calls.into_iter().collect(),
    }
}

/// The tool's own name for a parameter: the one meant if it has it, a usual synonym, or the
/// only one there is.
fn parameter(properties: Option<&Map<String, Value>>, meaning: &str) -> String {
    let Some(properties) = properties else {
        return meaning.to_owned();
    };
    let synonyms: &[&str] = match meaning {
        "sql" => &["sql", "query", "statement"],
        "table" => &["table", "table_name", "name"],
        _ => &[],
    };
    let known = synonyms.iter().find(|name| properties.contains_key(**name));
    let only = || properties.keys().next().filter(|_| properties.len() == 1);
    known
        .map(|name| (*name).to_owned())
        .or_else(|| only().cloned())
        .unwrap_or(meaning.to_owned())
}

fn result(messages: &[Value], id: Option<&Value>) -> String {
    let mut results = messages.iter().filter(|message| role(message) == "tool");
    results
        .find(|message| message.get("tool_call_id") == id)
        .map(text_of)
        .unwrap_or_default()
}

fn role(message: &Value) -> &str {
    message
        .get("role")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn string(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
