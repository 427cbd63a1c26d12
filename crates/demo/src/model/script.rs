//! The built-in script: which question leads to what.
//!
//! It keeps no state. What was asked, called and answered so far is read from the request, so
//! a restart of either side changes nothing.

mod breakdown;
mod change;
mod look;
mod named;
mod notes;
mod sales;
mod schema;
mod table;
mod trouble;
mod turn;

use std::fmt::Write as _;

use self::turn::{Missing, Turn};
use super::{
    reply::Answer,
    request::{Calls, ChatRequest},
};

/// Ends every answer in words.
pub const DISCLAIMER: &str = "*(Scripted demo model: this text was not written by an AI.)*";

/// What the script may assume about the database behind the tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Database {
    /// northwind's own: queries are sent right away; one that fails for a table or column that
    /// does not exist leads to a look at the tables, and then to a better one.
    #[default]
    Northwind,
    /// Anybody's: the tables are looked at first.
    Unknown,
}

/// A question the script has an answer to.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// How to ask it.
    pub ask: &'static str,
    /// What it leads to.
    pub shows: &'static str,
    /// The question is meant when all words of one group occur in it.
    words: &'static [&'static [&'static str]],
    run: fn(&Turn<'_>) -> Result<Answer, Missing>,
}

/// Every question the script knows, the more particular ones first.
pub const QUESTIONS: &[Question] = &[
    Question {
        ask: "Note that the board meets on Friday",
        shows: "a call to a server that wants an account to be connected first, and approval",
        words: &[&["note that "]],
        run: notes::add,
    },
    Question {
        ask: "Show me the attachments of my notes",
        shows: "a picture, a file and a link in a result",
        words: &[&["attachment"]],
        run: notes::attachments,
    },
    Question {
        ask: "What notes do I have?",
        shows: "a call to a server that wants an account to be connected first",
        words: &[&["what", "notes"], &["my notes"]],
        run: notes::list,
    },
    Question {
        ask: "Who am I for the database?",
        shows: "what a server learns about you from Pomerium's assertion",
        words: &[&["who am i"]],
        run: look::whoami,
    },
    Question {
        ask: "What were our sales by category?",
        shows: "a result that can be drawn as bars",
        words: &[&["sales", "categor"]],
        run: breakdown::by_category,
    },
    Question {
        ask: "How did our sales go by month?",
        shows: "a result that can be drawn as lines, with more rows than an answer has room for",
        words: &[&["sales", "month"]],
        run: breakdown::by_month,
    },
    Question {
        ask: "What were our sales by year?",
        shows: "one query, and an answer computed from its rows",
        words: &[&["sales"], &["revenue"], &["turnover"]],
        run: sales::by_year,
    },
    Question {
        ask: "Which tables are there, and what is in the largest?",
        shows: "several rounds: each call follows from the result before",
        words: &[&["tables"], &["largest"]],
        run: look::largest_table,
    },
    Question {
        ask: "Compare customers, products and suppliers",
        shows: "three calls at once",
        words: &[&["compare"]],
        run: look::compare,
    },
    Question {
        ask: "Delete the discontinued products",
        shows: "a look, and then a destructive call that wants approval",
        words: &[&["delete"], &["discontinued"]],
        run: change::delete_discontinued,
    },
    Question {
        ask: "Raise prices by 5 %",
        shows: "a destructive call that wants approval",
        words: &[&["raise", "price"], &["increase", "price"]],
        run: change::raise_prices,
    },
    Question {
        ask: "Tell me a long story about a warehouse",
        shows: "a long answer with every kind of Markdown",
        words: &[&["story"]],
        run: look::story,
    },
    Question {
        ask: "Run a broken query",
        shows: "a call that fails, and its repair",
        words: &[&["broken", "query"], &["syntax error"]],
        run: trouble::broken_query,
    },
    Question {
        ask: "Run a slow query",
        shows: "a call that takes its time: progress, stop, limits",
        words: &[&["slow"]],
        run: trouble::slow_query,
    },
    Question {
        ask: "Fetch a very large result",
        shows: "a result larger than a model is shown",
        words: &[&["large result"], &["huge"]],
        run: trouble::large_result,
    },
    Question {
        ask: "Send arguments that are not JSON",
        shows: "arguments that break off, and their repair",
        words: &[&["not json"]],
        run: trouble::arguments_not_json,
    },
    Question {
        ask: "Send arguments that do not fit",
        shows: "arguments that the tool's schema does not allow, and their repair",
        words: &[&["arguments", "fit"]],
        run: trouble::arguments_misfit,
    },
    Question {
        ask: "Call a function that does not exist",
        shows: "an unknown function beside a known one",
        words: &[
            &["function", "exist"],
            &["unknown function"],
            &["unknown tool"],
        ],
        run: trouble::unknown_function,
    },
    Question {
        ask: "Show me hostile HTML",
        shows: "scripts and event handlers in a result and in an answer",
        words: &[&["hostile"]],
        run: trouble::hostile,
    },
    Question {
        ask: "Never stop calling tools",
        shows: "a call in every round, until a limit ends it",
        words: &[&["never stop"]],
        run: trouble::endless,
    },
];

/// The script's answer to a request.
pub(super) fn answer(request: &ChatRequest, database: Database) -> Answer {
    let turn = Turn::read(request, database);
    if let Some(answer) = named::answer(&turn) {
        return finish(answer);
    }
    let Some(question) = find(turn.question()) else {
        return finish(Answer::text(help()));
    };
    finish((question.run)(&turn).unwrap_or_else(|missing| Answer::text(apology(&turn, &missing))))
}

/// The question that is meant. Its last line counts first: messages that were never answered
/// stand before it in the same text.
fn find(text: &str) -> Option<&'static Question> {
    let text = text.to_lowercase();
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let meant = |text: &str| {
        QUESTIONS.iter().find(|question| {
            question
                .words
                .iter()
                .any(|group| group.iter().all(|word| text.contains(word)))
        })
    };
    meant(last).or_else(|| meant(&text))
}

fn help() -> String {
    let mut text = "I follow a script and know these questions:\n\n".to_owned();
    for question in QUESTIONS {
        // Writing to a string cannot fail.
        writeln!(text, "- **{}** ({})", question.ask, question.shows).ok();
    }
    text.push_str("- **Run `FUNCTION`** and the arguments as JSON (any tool, called as you say)\n");
    text
}

fn apology(turn: &Turn<'_>, missing: &Missing) -> String {
    let done = match turn.steps().len() {
        0 => "I have called nothing".to_owned(),
        1 => "I have made one call so far".to_owned(),
        many => format!("I have made {many} calls so far"),
    };
    match (turn.calls(), missing) {
        (Calls::NoTools, _) => {
            format!("I was offered no tools with this request, so I cannot look that up. {done}.")
        }
        (Calls::Forbidden, _) => format!(
            "I was asked to answer without calling more tools (`tool_choice: \"none\"`), so I \
             stop here. {done}."
        ),
        (Calls::Allowed, Missing(suffix)) => format!(
            "None of the tools I was offered has a name that ends in `{suffix}`, so I cannot do \
             that. {done}."
        ),
    }
}

/// Says in every answer in words who speaks.
fn finish(mut answer: Answer) -> Answer {
    if answer.calls.is_empty() {
        let text = answer.text.trim_end();
        answer.text = format!("{text}\n\n{DISCLAIMER}");
    }
    answer
}

#[cfg(test)]
mod tests;
