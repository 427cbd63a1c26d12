//! The load generator: so many people at once who ask again as soon as they were answered.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Failure,
    client::{Client, Heard},
    endpoint::Script,
};

/// What is asked, by how many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) streams: u32,
    pub(crate) script: Script,
    /// Over how long their beginnings are spread.
    pub(crate) spread: Duration,
}

/// A load that is on.
pub(crate) struct Running {
    tasks: TaskTracker,
    stop: CancellationToken,
    results: Arc<Results>,
}

#[derive(Default)]
struct Results(Mutex<Taken>);

/// What was heard since it was taken last.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) answers: u32,
    /// Times to the first delta.
    pub(crate) firsts: Vec<Duration>,
    /// Times of deltas from the endpoint to the one who asked.
    pub(crate) lags: Vec<Duration>,
    /// The first thing that went wrong.
    failure: Option<String>,
}

impl Load {
    /// Begins to ask.
    pub(crate) fn start(self, address: SocketAddr) -> Running {
        let running = Running {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            results: Arc::default(),
        };
        for n in 0..self.streams {
            let (stop, results) = (running.stop.clone(), Arc::clone(&running.results));
            let begin = self.spread * n / self.streams;
            let person = async move {
                tokio::time::sleep(begin).await;
                if let Err(failure) = ask(address, self.script, &results).await {
                    results.fail(&failure);
                }
            };
            running
                .tasks
                .spawn(async move { stop.run_until_cancelled(person).await });
        }
        running
    }
}

async fn ask(address: SocketAddr, script: Script, results: &Results) -> Result<(), Failure> {
    let mut client = Client::connect(address).await?;
    loop {
        results.add(client.complete(script).await?);
    }
}

impl Running {
    /// Forgets what was heard so far, lets it go on for this long, and says what was heard in it.
    pub(crate) async fn hear(&self, during: Duration) -> Result<Taken, Failure> {
        let _before = self.results.take()?;
        let until = Instant::now() + during;
        tokio::time::sleep_until(until).await;
        self.results.take()
    }

    /// Stops asking, in the middle of answers.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Results {
    fn add(&self, heard: Heard) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.answers += 1;
        taken.firsts.push(heard.first);
        taken.lags.extend(heard.lags);
    }

    fn fail(&self, failure: &Failure) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.failure.get_or_insert_with(|| failure.to_string());
    }

    fn take(&self) -> Result<Taken, Failure> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match taken.failure {
            Some(failure) => Err(failure.into()),
            None => Ok(taken),
        }
    }
}

/// The value below which this share of them lies, in milliseconds.
pub(crate) fn percentile(of: &mut [Duration], share: usize) -> Option<f64> {
    of.sort_unstable();
    let last = of.len().checked_sub(1)?;
    of.get(last * share / 100)
        .map(|value| value.as_secs_f64() * 1e3)
}
