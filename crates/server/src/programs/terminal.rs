//! What the person at the terminal reads.

/// What the command is for, on standard output.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// What is good to know, on standard error.
#[expect(clippy::print_stderr, reason = "beside the command's result")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}
