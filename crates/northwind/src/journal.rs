//! The call journal: what this server itself saw, one JSON line at each call's start and end.
//!
//! Lines are written whole and unbuffered, so they outlive the process. The start is written
//! before the call touches the database; a call whose start cannot be written is refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rmcp::model::{JsonObject, RequestMetaObject};
use serde::Serialize;
use uuid::Uuid;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It did what was asked.
    Ok,
    /// It was answered with an error.
    Error,
    /// The caller or the server's shutdown stopped it.
    Cancelled,
    /// It met the time limit.
    Timeout,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started {
        id: Uuid,
        at_ms: u128,
        tool: &'a str,
        arguments: Option<&'a JsonObject>,
        meta: &'a RequestMetaObject,
    },
    Ended {
        id: Uuid,
        at_ms: u128,
        tool: &'a str,
        outcome: Outcome,
        duration_ms: u128,
    },
}

/// The journal, or none. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Option<Arc<Mutex<File>>>);

impl Journal {
    /// Appends to `path`, which is made if it is missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        end_torn_line(&mut file)?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Writes nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Records that a call of `tool` started.
    pub(crate) fn start(
        &self,
        tool: &str,
        arguments: Option<&JsonObject>,
        meta: &RequestMetaObject,
    ) -> io::Result<Entry> {
        let id = Uuid::now_v7();
        self.write(&Line::Started {
            id,
            at_ms: now_ms(),
            tool,
            arguments,
            meta,
        })?;
        Ok(Entry {
            journal: self.clone(),
            id,
            tool: tool.to_owned(),
            started: Instant::now(),
            outcome: Outcome::Error,
        })
    }

    fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        file.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&bytes)
    }
}

/// A call that started. Its end is written when this is dropped, so also when the call panics.
#[derive(Debug)]
pub(crate) struct Entry {
    journal: Journal,
    id: Uuid,
    tool: String,
    started: Instant,
    outcome: Outcome,
}

impl Entry {
    /// Records how the call ended.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let duration_ms = self.started.elapsed().as_millis();
        let (id, outcome, tool) = (self.id, self.outcome, self.tool.as_str());
        tracing::info!(tool, ?outcome, duration_ms, "call ended");
        let line = Line::Ended {
            id,
            at_ms: now_ms(),
            tool,
            outcome,
            duration_ms,
        };
        if let Err(error) = self.journal.write(&line) {
            tracing::error!(%error, tool, "the end of a call is missing in the journal");
        }
    }
}

/// A line cut short by a crash must not swallow the next one.
fn end_torn_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        Ok(())
    } else {
        file.write_all(b"\n")
    }
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_call_has_a_start_and_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        let entry = journal
            .start("read_query", None, &RequestMetaObject::default())
            .unwrap();
        assert_eq!(lines(&path).len(), 1);
        entry.end(Outcome::Timeout);
        let lines = lines(&path);
        assert_eq!(lines[0]["event"], "started");
        assert_eq!(lines[1]["event"], "ended");
        assert_eq!(lines[1]["outcome"], "timeout");
        assert_eq!(lines[0]["id"], lines[1]["id"]);
    }

    #[test]
    fn a_call_that_is_lost_still_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        drop(
            journal
                .start("read_query", None, &RequestMetaObject::default())
                .unwrap(),
        );
        assert_eq!(lines(&path)[1]["outcome"], "error");
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"event\":\"sta").unwrap();
        let journal = Journal::open(&path).unwrap();
        drop(
            journal
                .start("read_query", None, &RequestMetaObject::default())
                .unwrap(),
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let second = text.lines().nth(1).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(second).unwrap()["event"],
            "started"
        );
    }
}
