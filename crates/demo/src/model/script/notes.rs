//! Questions for the server that wants an account to be connected.

use serde_json::json;

use super::{
    trouble::react,
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::Answer;

/// How a question begins that is a note.
const NOTE_THAT: &str = "note that ";
/// How the tool's answer begins when a note was written down.
const NOTED: &str = "Noted";

/// The notes, as the tool lists them.
pub(super) fn list(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(done) = turn.steps_of("list_notes").last() else {
        let call = turn.call("list_notes", &[])?;
        return Ok(call_after("I look at your notes.", [call]));
    };
    let text = done.text();
    let notes: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
    Ok(Answer::text(match notes.as_slice() {
        [] if text.starts_with("There are no notes") => "You have no notes yet.".to_owned(),
        [] => react(text),
        [one] => format!("You have one note:\n\n{one}"),
        notes => format!("You have {} notes:\n\n{}", notes.len(), notes.join("\n")),
    }))
}

/// What hangs on the notes.
pub(super) fn attachments(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(done) = turn.steps_of("show_attachments").last() else {
        let call = turn.call("show_attachments", &[])?;
        return Ok(call_after("I fetch what hangs on your notes.", [call]));
    };
    let text = done.text();
    let told = text.lines().next().unwrap_or_default();
    Ok(Answer::text(if told.contains("attachments") {
        format!("{told} What I cannot see myself, you can: it is in the call above.")
    } else {
        react(text)
    }))
}

/// Writes down what the question says.
pub(super) fn add(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(done) = turn.steps_of("add_note").last() else {
        let call = turn.call("add_note", &[("text", json!(note(turn.question())))])?;
        return Ok(call_after("I write that down.", [call]));
    };
    let text = done.text();
    Ok(Answer::text(if text.starts_with(NOTED) {
        let noted = text.lines().next().unwrap_or(text);
        format!("{noted} Ask *What notes do I have?* to see them.")
    } else {
        react(text)
    }))
}

/// What is to be noted: the words after "Note that", as a sentence.
fn note(question: &str) -> String {
    let at = question.to_ascii_lowercase().rfind(NOTE_THAT);
    let words = at.and_then(|at| question.get(at + NOTE_THAT.len()..));
    let words = words.unwrap_or(question).trim();
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::note;

    #[test]
    fn a_note_is_what_stands_after_the_words_that_ask_for_it() {
        for (question, expected) in [
            (
                "Note that the sales meeting is on Monday.",
                "The sales meeting is on Monday.",
            ),
            ("Please note that  émile called", "Émile called"),
            ("Note that ", ""),
            ("Remember this", "Remember this"),
        ] {
            assert_eq!(note(question), expected);
        }
    }
}
