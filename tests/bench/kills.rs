//! `cargo run -p tests --bin kills -- 50`: kills Toolgate that often in the middle of turns, and
//! says what became of every turn and call. A second number is the seed of a trial to repeat.

use harness::kills::{How, Trial};

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| number(&argument));
    let kills = numbers.next().unwrap_or(50);
    let trial = Trial {
        kills: u32::try_from(kills).unwrap_or(u32::MAX),
        how: How::Kill,
        seed: numbers
            .next()
            .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
    };
    say(&format!("seed           {}", trial.seed));
    let summary = trial.run().await;
    say(&summary.to_string());
}

#[expect(clippy::panic, reason = "a wrong argument ends the program")]
fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("usage: kills [KILLS [SEED]], not {text:?}"))
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn say(text: &str) {
    println!("{text}");
}
