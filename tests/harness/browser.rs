//! People at a real browser: headless Chromium, used by role and accessible name, as somebody
//! does who sees or hears the page.
//!
//! ```ignore
//! let world = World::start().await;
//! let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
//! let tab = ana.open("/").await;
//! tab.ask("What were our sales by year?").await;
//! tab.wait_text("Sales by year").await;
//! ana.leave().await;
//! world.finish().await;
//! ```
//!
//! All tests share one Chromium, and each [`Visitor`] has cookies and storage of their own in it.
//! A tab collects what went wrong in it without the test's asking: errors on the console, scripts
//! that failed, what the content security policy refused, requests to other hosts. Any of it
//! fails the test when its visitor leaves, unless the test [allowed](Tab::allow) it. A test that
//! fails leaves a screenshot of each of its tabs.

mod process;

mod visitor;

mod tab;

mod hands;

mod eyes;

mod axe;

mod element;

mod keys;

mod view;

mod watch;

pub use element::Element;
pub use keys::Key;
pub use tab::{Offline, Tab};
pub use view::{Scheme, View};
pub use visitor::Visitor;

use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

use chromiumoxide::{
    Method,
    handler::HandlerConfig,
    types::{Command, MethodId},
};
use futures_util::StreamExt as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::{runtime, sync::OnceCell};
use tokio_util::task::TaskTracker;

use self::process::Chromium;
use crate::world::tell;

/// How long a tab is given for anything: far more than a slow machine needs, and an end.
pub const BROWSER_PATIENCE: Duration = crate::PATIENCE;
/// The pause between two looks at a tab.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The one Chromium of a test process, driven by a thread of its own: the tests' runtimes come
/// and go.
struct Browser {
    chromium: chromiumoxide::Browser,
    runtime: runtime::Handle,
    tasks: TaskTracker,
    /// Ends the process when this one ends, however that happens.
    _process: Chromium,
}

impl Browser {
    /// The browser, started by whoever needs it first.
    async fn shared() -> &'static Self {
        static BROWSER: OnceCell<Browser> = OnceCell::const_new();
        BROWSER.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let process = Chromium::start().await;
        let address = process.address().to_owned();
        let (ready, started) = mpsc::channel();
        let drive = move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the browser");
            runtime.block_on(async {
                let config = HandlerConfig::default();
                let connected = chromiumoxide::Browser::connect_with_config(address, config).await;
                let (chromium, mut handler) = connected.expect("Chromium takes the connection");
                ready.send((chromium, runtime::Handle::current())).ok();
                while let Some(handled) = handler.next().await {
                    if let Err(error) = handled {
                        tell(&format!("the connection with Chromium: {error}"));
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("browser".to_owned());
        thread.spawn(drive).expect("a thread for the browser");
        let started = started.recv_timeout(BROWSER_PATIENCE);
        let (chromium, runtime) = started.expect("a connection with Chromium");
        Self {
            chromium,
            runtime,
            tasks: TaskTracker::new(),
            _process: process,
        }
    }

    /// Runs something on the browser's thread, where it belongs to no test.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

/// A request of the `DevTools` protocol, as it is documented: chromiumoxide's own types refuse
/// the answers of a Chromium that is newer than they are.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    params: Value,
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.params.serialize(serializer)
    }
}

impl Method for Request {
    fn identifier(&self) -> MethodId {
        self.method.into()
    }
}

impl Command for Request {
    type Response = Value;
}

/// What is at a place (a JSON pointer) in an answer; null if nothing is.
fn at(answer: &Value, place: &str) -> Value {
    answer.pointer(place).cloned().unwrap_or_default()
}

/// The text at a place in an answer.
fn string<'a>(answer: &'a Value, place: &str) -> Option<&'a str> {
    answer.pointer(place)?.as_str()
}

/// Where pictures of this run go: `target/<directory>/<name>.png`, not kept by git.
fn picture(directory: &str, name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    let directory = target.join(directory);
    std::fs::create_dir_all(&directory).expect("a directory for pictures");
    let directory = directory.canonicalize().unwrap_or(directory);
    directory.join(format!("{name}.png"))
}
