//! The calls that northwind itself saw: the witness of what really ran.

use std::path::Path;

use serde_json::Value;

/// The journal as it is now.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// In the order in which they started.
    pub calls: Vec<JournalCall>,
}

/// A call that reached northwind.
#[derive(Clone, Debug)]
pub struct JournalCall {
    /// northwind's own id for it.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// The arguments as they came.
    pub arguments: Value,
    /// `ok`, `error`, `cancelled` or `timeout`; none while it runs.
    pub outcome: Option<String>,
}

impl Journal {
    /// Reads the file; one that is missing is empty.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut journal = Self::default();
        // A last line without its end is still being written.
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or_default());
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("the journal holds {line:?}: {error}"));
            journal.add(&line);
        }
        journal
    }

    /// The calls whose arguments hold `mark` somewhere.
    pub fn with(&self, mark: &str) -> Vec<&JournalCall> {
        let marked = |call: &&JournalCall| call.arguments.to_string().contains(mark);
        self.calls.iter().filter(marked).collect()
    }

    fn add(&mut self, line: &Value) {
        let text = |key: &str| {
            line.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let id = text("id");
        match text("event").as_str() {
            "started" => self.calls.push(JournalCall {
                id,
                tool: text("tool"),
                arguments: line.get("arguments").cloned().unwrap_or_default(),
                outcome: None,
            }),
            "ended" => {
                let call = self.calls.iter_mut().rev().find(|call| call.id == id);
                let call = call.unwrap_or_else(|| panic!("{id} ended and never started"));
                let before = call.outcome.replace(text("outcome"));
                assert_eq!(before, None, "{id} ended twice");
            }
            other => panic!("the journal holds an event {other:?}"),
        }
    }
}
