//! The trial of the engine's promise: Toolgate is killed at random points of running turns and
//! started again, and afterwards every conversation and every call is held against what the MCP
//! server itself saw.

mod plan;

mod lane;

mod verdict;

pub use verdict::Summary;

use std::time::{Duration, Instant};

use tokio::{task::JoinHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::lane::{Kept, Lane};
use crate::{Dice, World, world::tell};

/// Conversations of each user that go on at the same time: fewer than turns are allowed at once.
const LANES: u64 = 3;
/// The pause between two words of the model: an answer takes up to a second.
const MODEL_DELAY: Duration = Duration::from_millis(2);
/// The longest that an end may take: after SIGTERM, Toolgate gives its turns 5 s to be put down,
/// and a slow machine a while for everything else.
const END_LIMIT: Duration = Duration::from_secs(20);

/// How a process is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGKILL, at any point, also while it starts.
    Kill,
    /// SIGTERM: it has to end by itself, with code 0, within seconds.
    Terminate,
}

/// A trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// How many times the process is ended.
    pub kills: u64,
    /// How.
    pub how: How,
    /// What the trial's choices come from. The timing stays the machine's own.
    pub seed: u64,
}

/// A seed that nobody chose.
pub fn any_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

impl Trial {
    /// Puts Toolgate to the trial, and fails if it broke its promise.
    pub async fn run(self) -> Summary {
        let _told = TellSeed(self);
        let mut world = World::build()
            .model_delay(MODEL_DELAY)
            .script(plan::script())
            .start_with_process()
            .await;
        let begun = Instant::now();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut dice = Dice::new(self.seed);
        let lanes: Vec<JoinHandle<Vec<Kept>>> = (0..LANES)
            .flat_map(|_| [world.ana(), world.ben()])
            .map(|user| tasks.spawn(Lane::new(user, dice.any(), stop.clone()).run()))
            .collect();
        let mut ends = Vec::new();
        for _ in 0..self.kills {
            if lanes.iter().any(JoinHandle::is_finished) {
                // One has failed, and says why below.
                break;
            }
            ends.push(self.end_once(&mut world, &mut dice).await);
        }
        stop.cancel();
        let mut kept = Vec::new();
        for lane in lanes {
            match lane.await {
                Ok(turns) => kept.extend(turns),
                Err(failed) => std::panic::resume_unwind(failed.into_panic()),
            }
        }
        let mut summary = verdict::judge(&world, &kept).await;
        summary.kills = ends.len();
        summary.in_start = ends
            .iter()
            .filter(|end| end.point == Point::Starting)
            .count();
        summary.longest_end = ends.iter().map(|end| end.took).max().unwrap_or_default();
        world.finish().await;
        summary.took = begun.elapsed();
        summary
    }

    /// Lets the process run for a while, ends it, and starts it again.
    async fn end_once(self, world: &mut World, dice: &mut Dice) -> End {
        let toolgate = world.toolgate();
        let point = if self.how == How::Kill && dice.once_in(6) {
            // The kill that is counted hits the successor of the one that runs.
            toolgate.kill().await;
            toolgate.launch();
            sleep(Duration::from_millis(dice.between(0, 150))).await;
            Point::Starting
        } else {
            // Some while turns are being recovered, some when they have gone on for a while.
            let longest = if dice.once_in(2) { 300 } else { 2500 };
            sleep(Duration::from_millis(dice.between(5, longest))).await;
            Point::Running
        };
        let begun = Instant::now();
        match self.how {
            How::Kill => toolgate.kill().await,
            How::Terminate => {
                let status = toolgate.terminate().await;
                assert!(status.success(), "after SIGTERM: {status}");
            }
        }
        let took = begun.elapsed();
        assert!(took < END_LIMIT, "it took {took:?} to end");
        sleep(Duration::from_millis(dice.between(0, 60))).await;
        toolgate.start().await;
        End { point, took }
    }
}

/// One end of the process.
struct End {
    point: Point,
    took: Duration,
}

/// Where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// Not ready yet: it may have been recovering turns.
    Starting,
    /// Ready.
    Running,
}

/// Says how to repeat a trial that failed.
struct TellSeed(Trial);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Trial { kills, how, seed } = self.0;
            let term = match how {
                How::Kill => "",
                How::Terminate => " term",
            };
            tell(&format!(
                "the same again: cargo run -p tests --bin kills -- {kills} {seed}{term}"
            ));
        }
    }
}
