//! What a turn of the trial is to do: said in its message, and followed by the scripted model.
//!
//! The model keeps no state: where it is in the plan, it sees from the request.

use std::{fmt::Write as _, sync::Arc};

use demo::model::{Answer, Call, ChatRequest, Reply, Script};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Dice;

/// Stands before the plan in its message.
const PREFIX: &str = "Do as planned: ";
/// In the statement of a write that its user denies.
const DENY: &str = "/* deny */";

/// A turn's plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Unique in the trial.
    id: String,
    /// The calls of each round.
    rounds: Vec<Vec<Step>>,
    /// Words of the answer after them.
    words: u64,
    /// Its user stops the turn after so many events.
    pub(super) stop_after: Option<usize>,
}

/// What one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// A query that is done at once.
    Quick,
    /// A query that counts for some tenths of a second: so far.
    Slow(u64),
    /// A change that its user approves.
    Write,
    /// A change that its user denies.
    Denied,
    /// A query with a mistake.
    Broken,
    /// Arguments that do not fit the schema.
    Misfit,
    /// A function that there is not.
    Unknown,
}

impl Plan {
    /// A plan by the dice.
    pub(super) fn roll(dice: &mut Dice) -> Self {
        let rounds = (0..dice.between(0, 4))
            .map(|_| (0..dice.between(1, 4)).map(|_| Step::roll(dice)).collect())
            .collect();
        Self {
            id: format!("{:016x}", dice.any()),
            rounds,
            words: dice.between(5, 250),
            stop_after: dice
                .once_in(8)
                .then(|| usize::try_from(dice.between(2, 25)).unwrap_or_default()),
        }
    }

    /// The message that asks for it.
    pub(super) fn message(&self) -> String {
        format!("{PREFIX}{}", json!(self))
    }

    /// The plan of the last message, and how many of its rounds are done.
    fn of(request: &ChatRequest) -> Option<(Self, usize)> {
        let messages = request.messages();
        let role = |message: &Value| message.get("role").cloned().unwrap_or_default();
        let asked = messages
            .iter()
            .rposition(|message| role(message) == "user")?;
        let text = messages.get(asked)?.get("content")?.as_str()?;
        // A message that nobody answered stands before it in the same text.
        let plan = serde_json::from_str(text.lines().last()?.strip_prefix(PREFIX)?).ok()?;
        let since = messages.get(asked..).unwrap_or_default();
        let done = since.iter().filter(|message| role(message) == "assistant");
        Some((plan, done.count()))
    }

    /// The text of the answer.
    pub(super) fn answer(&self) -> String {
        let mut text = format!("All of {} is done.\n\n", self.id);
        for word in 0..self.words {
            let end = if word % 40 == 39 { "\n\n" } else { " " };
            // Writing to a string cannot fail.
            write!(text, "word{word}{end}").ok();
        }
        text
    }

    fn reply(&self, done: usize) -> Answer {
        let Some(steps) = self.rounds.get(done) else {
            return Answer::text(self.answer());
        };
        let calls = steps.iter().enumerate();
        Answer {
            text: format!("Round {done} of {}.", self.id),
            calls: calls
                .map(|(index, step)| step.call(&format!("[kill-{}-{done}-{index}]", self.id)))
                .collect(),
        }
    }
}

impl Step {
    fn roll(dice: &mut Dice) -> Self {
        match dice.between(0, 13) {
            0..=2 => Self::Quick,
            3..=6 => Self::Slow(dice.between(20_000, 300_000)),
            7..=9 => Self::Write,
            10 => Self::Denied,
            11 => Self::Broken,
            12 => Self::Misfit,
            _ => Self::Unknown,
        }
    }

    fn call(self, mark: &str) -> Call {
        let write = format!("INSERT INTO shippers (company_name, phone) VALUES ('{mark}', '')");
        let (tool, arguments) = match self {
            Self::Quick => ("read_query", format!("SELECT '{mark}' AS mark")),
            Self::Slow(steps) => (
                "read_query",
                format!(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                     WHERE i < {steps}) SELECT count(*), '{mark}' AS mark FROM n"
                ),
            ),
            Self::Write => ("write_query", write),
            Self::Denied => ("write_query", format!("{write} {DENY}")),
            Self::Broken => ("read_query", format!("SELECT count(* AS '{mark}'")),
            Self::Misfit => {
                return Call::new("Database__read_query", &json!({ "queries": mark }));
            }
            Self::Unknown => ("no_such_tool", mark.to_owned()),
        };
        Call::new(format!("Database__{tool}"), &json!({ "query": arguments }))
    }
}

/// The model of a trial.
pub(super) fn script() -> Script {
    Arc::new(|request| match Plan::of(request) {
        Some((plan, done)) => Reply::answer(plan.reply(done)),
        None => Reply::error(400, "no_plan", "The last message holds no plan."),
    })
}

/// What makes a call unique, in its arguments: `[kill-<plan>-<round>-<index>]`.
pub(super) fn mark(arguments: &str) -> &str {
    let found = arguments.find("[kill-").and_then(|start| {
        let rest = arguments.get(start..)?;
        rest.get(..=rest.find(']')?)
    });
    found.unwrap_or_else(|| panic!("a call without a mark: {arguments}"))
}

/// Whether the user denies the call with these arguments.
pub(super) fn is_denied(arguments: &str) -> bool {
    arguments.contains(DENY)
}
