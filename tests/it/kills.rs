//! No kill loses a call: `cargo run -p tests --bin kills -- 50` is the long form of this.

use harness::kills::{How, Trial, any_seed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_kills_lose_nothing() {
    let trial = Trial {
        kills: 6,
        how: How::Kill,
        seed: any_seed(),
    };
    let summary = trial.run().await;
    println!("{summary}");
    assert!(summary.calls() > 0, "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_puts_turns_down_and_the_next_start_goes_on() {
    let trial = Trial {
        kills: 3,
        how: How::Terminate,
        seed: any_seed(),
    };
    let summary = trial.run().await;
    println!("{summary}");
    assert!(summary.calls() > 0, "{summary}");
}
