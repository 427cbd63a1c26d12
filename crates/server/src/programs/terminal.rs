//! What the person at the terminal reads, and says.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

/// The longest answer that is read, bytes.
const ANSWER_BYTES: u64 = 1024;

/// What the command is for, on standard output.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// Whether the person says yes to a question; none where there is nobody to ask, who then only
/// reads it.
pub(super) fn agrees(question: &str) -> Option<bool> {
    let input = io::stdin();
    if !(input.is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = input.lock().take(ANSWER_BYTES).read_line(&mut answer);
    Some(read.is_ok() && is_yes(&answer))
}

/// What is good to know, on standard error.
#[expect(clippy::print_stderr, reason = "beside the command's result")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for no in ["", "\n", "n\n", "no", "yep", "y n"] {
            assert!(!is_yes(no), "{no:?}");
        }
        for yes in ["y\n", " Yes\r\n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
    }
}
