//! The scripted model: an HTTP server that speaks `/v1/chat/completions` and `/v1/models` as
//! OpenAI-compatible endpoints do, follows a [script](QUESTIONS) instead of thinking, and says
//! so in every answer.
//!
//! It goes through the tools it is offered: what it answers is computed from what they
//! returned. For tests it can be told [what to reply next](Model::queue), remembers
//! [what it was asked](Model::requests), and refuses [what OpenAI refuses](Rejection).

mod capture;
mod check;
mod render;
mod reply;
mod request;
mod script;
mod serve;

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    capture::{CapturedRequest, Delivery},
    check::Rejection,
    reply::{Answer, Call, Fault, Frame, Reply},
    request::{Calls, ChatRequest},
    script::{DISCLAIMER, Database, QUESTIONS, Question},
};
use self::{
    capture::{Captures, DeliveryMark, Received},
    render::Ids,
};

/// The id of the only model, unless [`Options::models`] says otherwise.
pub const MODEL_ID: &str = "scripted-demo";

/// Replies that may wait; more than a test queues by hand.
const MAX_QUEUED: usize = 1000;

/// How the model behaves.
#[derive(Clone)]
pub struct Options {
    /// The pause before each piece of a streamed answer; zero sends as fast as the client reads.
    pub delay: Duration,
    /// The bearer key to require; `None` takes anybody.
    pub key: Option<String>,
    /// The models to list and to accept.
    pub models: Vec<String>,
    /// What the built-in script may assume about the database behind the tools.
    pub database: Database,
    /// Answers instead of the built-in script.
    pub script: Option<Script>,
    /// Where the ids of answers and calls start, so that two runs can have different ones.
    pub seed: u64,
}

/// A script of a test's own: from an accepted request to the reply.
pub type Script = Arc<dyn Fn(&ChatRequest) -> Reply + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            key: None,
            models: vec![MODEL_ID.to_owned()],
            database: Database::default(),
            script: None,
            seed: 0,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("delay", &self.delay)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .field("models", &self.models)
            .field("database", &self.database)
            .field("script", &self.script.as_ref().map(|_| "…"))
            .field("seed", &self.seed)
            .finish()
    }
}

/// A running model; clones are handles to the same one.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    options: Options,
    ids: Ids,
    state: Mutex<State>,
    received: watch::Sender<u64>,
    delay: watch::Sender<Duration>,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct State {
    captures: Captures,
    captured: u64,
    queue: VecDeque<Reply>,
}

impl Model {
    /// Starts serving on `listener`, with its tasks on `tracker`, until `shutdown`.
    ///
    /// Fails when the listener's address cannot be read.
    pub fn start(
        options: Options,
        listener: TcpListener,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ids: Ids::from(options.seed),
            delay: watch::Sender::new(options.delay),
            options,
            state: Mutex::default(),
            received: watch::Sender::new(0),
            shutdown,
        });
        tracker.spawn(serve::accept(
            Arc::clone(&shared),
            listener,
            tracker.clone(),
        ));
        Ok(Self { shared, address })
    }

    /// What `OPENAI_BASE_URL` has to be: `http://127.0.0.1:<port>/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The first of [`Options::models`].
    pub fn first_model(&self) -> &str {
        self.shared
            .options
            .models
            .first()
            .map_or(MODEL_ID, String::as_str)
    }

    /// The last requests, oldest first: at most 1000.
    pub fn requests(&self) -> Vec<CapturedRequest> {
        self.shared.state().captures.all()
    }

    /// The requests whose verdict is an error: what OpenAI would have refused.
    pub fn rejected(&self) -> Vec<CapturedRequest> {
        self.requests()
            .into_iter()
            .filter(|request| request.verdict.is_err())
            .collect()
    }

    /// How many requests for an answer came since the start: looks at the list of models are not
    /// counted.
    pub fn received(&self) -> u64 {
        *self.shared.received.borrow()
    }

    /// Waits until `count` of them have come since the start. Has no limit of time.
    pub async fn wait_received(&self, count: u64) {
        let mut received = self.shared.received.subscribe();
        // It cannot fail: `self` keeps the sender.
        received.wait_for(|&seen| seen >= count).await.ok();
    }

    /// Replies this to the next accepted chat request, after those queued before. With 1000
    /// waiting, the last of them becomes an error that says so.
    pub fn queue(&self, reply: Reply) {
        let mut state = self.shared.state();
        if state.queue.len() >= MAX_QUEUED {
            state.queue.pop_back();
            state
                .queue
                .push_back(Reply::error(500, "test_error", "Too many replies queued."));
        } else {
            state.queue.push_back(reply);
        }
    }

    /// Changes the pace, also of the answers that are on their way.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay.send_replace(delay);
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves lists that are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capture(&self, received: Received) -> DeliveryMark {
        let mut mark = DeliveryMark::default();
        let asks = received.path.ends_with("/chat/completions");
        // Under the sender's lock, so that a number counted is a request kept.
        self.received.send_if_modified(|count| {
            *count += u64::from(asks);
            let mut state = self.state();
            state.captured += 1;
            let number = state.captured;
            mark = state.captures.push(number, received);
            asks
        });
        mark
    }

    /// The reply to an accepted request: the queue's next, or the script's.
    fn reply(&self, request: &ChatRequest) -> Reply {
        let queued = self.state().queue.pop_front();
        queued.unwrap_or_else(|| match &self.options.script {
            Some(script) => script(request),
            None => Reply::answer(script::answer(request, self.options.database)),
        })
    }
}

#[cfg(test)]
mod tests;
