//! A call that the question spells out: the page's "Run again", and a way to try any tool.

use serde_json::Value;

use super::{
    table::quote,
    trouble::react,
    turn::{Turn, call_after},
};
use crate::model::{
    reply::{Answer, Call},
    request::Calls,
};

/// How results begin that are none: the host's own words.
const NOT_RUN: [&str; 6] = [
    "Not run",
    "No answer in time",
    "Stopped by",
    "Ended by",
    "The connection to the tool",
    "[error]",
];

/// The answer to "Run `FUNCTION` …" with the arguments as JSON in the lines after it; none to any
/// other question.
pub(super) fn answer(turn: &Turn<'_>) -> Option<Answer> {
    let (name, arguments) = spelled_out(turn.question())?;
    if let Some(done) = turn.steps().last() {
        let text = done.text();
        return Some(Answer::text(
            if NOT_RUN.iter().any(|start| text.starts_with(start)) {
                react(text)
            } else {
                format!("`{name}` answered:\n\n{}", quote(text))
            },
        ));
    }
    if turn.calls() != Calls::Allowed {
        return Some(Answer::text("I may not call anything now."));
    }
    Some(call_after(
        "I call exactly that.",
        [Call { name, arguments }],
    ))
}

/// The function and the arguments, if the question has this form.
fn spelled_out(question: &str) -> Option<(String, String)> {
    let start = question.rfind("Run `")?;
    let (name, rest) = question.get(start + "Run `".len()..)?.split_once('`')?;
    let json = match (rest.find('{'), rest.rfind('}')) {
        (Some(from), Some(to)) => rest.get(from..=to)?,
        _ => "{}",
    };
    serde_json::from_str::<Value>(json).ok()?;
    Some((name.to_owned(), json.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::spelled_out;

    #[test]
    fn the_function_and_its_arguments_are_read() {
        let question = "Run `db__read` again with exactly these arguments:\n\n```json\n{\"a\": {\"b\": 1}}\n```";
        let read = spelled_out(question).unwrap();
        assert_eq!(
            read,
            ("db__read".to_owned(), "{\"a\": {\"b\": 1}}".to_owned())
        );
        let read = spelled_out("Run `db__list_tables`").unwrap();
        assert_eq!(read, ("db__list_tables".to_owned(), "{}".to_owned()));
    }

    #[test]
    fn other_questions_and_broken_arguments_are_not_calls() {
        assert_eq!(spelled_out("Run a broken query"), None);
        assert_eq!(spelled_out("Run `x` with {not json}"), None);
    }
}
