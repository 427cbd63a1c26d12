//! `cargo run -p tests --bin kills -- 50`: kills Toolgate that often in the middle of turns, and
//! says what became of every turn and call.
//!
//! Further arguments: `term` for SIGTERM in place of SIGKILL; a second number is the seed of a
//! trial to repeat.

use harness::kills::{How, Trial};

/// Without a number.
const KILLS: u64 = 50;

#[tokio::main]
async fn main() {
    let (words, numbers): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument == "term");
    let mut numbers = numbers.iter().map(|argument| number(argument));
    let trial = Trial {
        kills: numbers.next().unwrap_or(KILLS),
        how: if words.is_empty() {
            How::Kill
        } else {
            How::Terminate
        },
        seed: numbers.next().unwrap_or_else(harness::kills::any_seed),
    };
    say(&format!("seed           {}", trial.seed));
    let summary = trial.run().await;
    say(&summary.to_string());
}

#[expect(clippy::panic, reason = "a wrong argument ends the program")]
fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("usage: kills [KILLS [SEED]] [term], not {text:?}"))
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn say(text: &str) {
    println!("{text}");
}
