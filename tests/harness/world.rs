//! The whole system, started for one test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use demo::{
    Demo, Port, Server,
    model::{Model, Script},
    notes::Notes,
    pomerium::{DemoUser, Standin},
};
use tempfile::TempDir;

use crate::{Journal, PATIENCE, ToolgateProcess, User};

/// The ports for Toolgates of their own: below those that systems give out by themselves, so that
/// nobody takes one while its Toolgate is dead.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// How long tasks may take to end after everything was shut down.
const TASKS_END: Duration = Duration::from_secs(30);

/// The choices for a [`World`].
#[must_use]
pub struct Builder {
    options: demo::Options,
}

/// A running system: the stand-in for Pomerium, the scripted model, northwind and Toolgate, on
/// free loopback ports, with its files in a temporary directory.
///
/// A test ends it with [`World::finish`].
pub struct World {
    /// None only after [`World::finish`] took it.
    demo: Option<Demo>,
    toolgate: Option<ToolgateProcess>,
    journal: PathBuf,
    tasks_before: usize,
    directory: TempDir,
}

impl Builder {
    /// Sets one of Toolgate's settings, by the name of its environment variable.
    pub fn setting(mut self, key: &str, value: impl Into<String>) -> Self {
        self.options.settings.insert(key.to_owned(), value.into());
        self
    }

    /// How long TEs live, and how long Toolgate believes that they do. 5 minutes unless set.
    pub fn token_life(mut self, life: Duration) -> Self {
        self.options.pomerium.te_lifetime = life;
        self.setting("TOOLGATE_TOKEN_LIFE", format!("{}ms", life.as_millis()))
    }

    /// The pause between two words of the scripted model. None unless set.
    pub fn model_delay(mut self, delay: Duration) -> Self {
        self.options.model.delay = delay;
        self
    }

    /// Answers in place of the scripted model's own script.
    pub fn script(mut self, script: Script) -> Self {
        self.options.model.script = Some(script);
        self
    }

    /// An MCP server beside northwind: its name, and where it is (`http://127.0.0.1:9000/mcp`).
    pub fn server(mut self, name: &str, upstream: impl Into<String>) -> Self {
        self.options.servers.push(Server {
            name: name.to_owned(),
            upstream: upstream.into(),
        });
        self
    }

    /// A rule for northwind's route beside its own, in Pomerium's policy language:
    /// `deny: {or: [{mcp_tool: {is: write_query}}]}`.
    pub fn rule(mut self, rule: &str) -> Self {
        self.options.rules.push(rule.to_owned());
        self
    }

    /// Anything else about the system.
    pub fn options(mut self, change: impl FnOnce(&mut demo::Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts the system in this process.
    pub async fn start(self) -> World {
        self.start_around(None).await
    }

    /// Starts the system with Toolgate as a process of its own, that can be killed:
    /// [`World::toolgate`].
    pub async fn start_with_process(self) -> World {
        let mut world = self.start_around(Some(free_port())).await;
        if let Some(toolgate) = &mut world.toolgate {
            toolgate.start().await;
        }
        world
    }

    /// The same, with a disk of so many MiB for its database: [`ToolgateProcess::disk`].
    pub async fn start_on_disk(self, mib: u32) -> World {
        let mut world = self.start_around(Some(free_port())).await;
        let toolgate = world.toolgate.take().expect("it has a process");
        let toolgate = world.toolgate.insert(toolgate.with_disk(mib));
        toolgate.start().await;
        world
    }

    async fn start_around(mut self, elsewhere: Option<SocketAddr>) -> World {
        wire::http::install_crypto();
        let tasks_before = alive_tasks();
        let directory = tempfile::Builder::new()
            .prefix("toolgate-test-")
            .tempdir()
            .expect("a temporary directory");
        let journal = directory.path().join("journal.jsonl");
        self.options.port = Port::Exactly(0);
        self.options.data = Some(directory.path().to_owned());
        self.options.journal = Some(journal.clone());
        self.options.toolgate = elsewhere;
        let demo = Demo::start(self.options)
            .await
            .unwrap_or_else(|error| panic!("the system did not start: {error}: {error:?}"));
        let toolgate =
            elsewhere.map(|at| ToolgateProcess::new(at, demo.settings(), directory.path()));
        World {
            demo: Some(demo),
            toolgate,
            journal,
            tasks_before,
            directory,
        }
    }
}

impl World {
    /// A system as the demo starts it, to be changed before it starts.
    pub fn build() -> Builder {
        Builder {
            options: demo::Options::default(),
        }
    }

    /// The system as the demo starts it.
    pub async fn start() -> Self {
        Self::build().start().await
    }

    /// Ana, newly signed in: a session of her own with each call.
    pub fn ana(&self) -> User {
        User::sign_in(self.standin(), DemoUser::Ana)
    }

    /// Ben, newly signed in.
    pub fn ben(&self) -> User {
        User::sign_in(self.standin(), DemoUser::Ben)
    }

    /// Where the page is: `http://chat.localhost:<port>`.
    pub fn url(&self) -> &str {
        self.demo().url()
    }

    /// Toolgate's settings, by the names of their environment variables.
    pub fn settings(&self) -> &std::collections::HashMap<String, String> {
        self.demo().settings()
    }

    /// The stand-in for Pomerium.
    pub fn standin(&self) -> &Standin {
        self.demo().standin()
    }

    /// The scripted model.
    pub fn model(&self) -> &Model {
        let model = self.demo().model();
        model.expect("the settings name another model endpoint")
    }

    /// The server that wants an account; the options must name it.
    pub fn notes(&self) -> &Notes {
        self.demo().notes().expect("this world has no Notes")
    }

    /// Toolgate's process, if it has one.
    pub fn toolgate(&mut self) -> &mut ToolgateProcess {
        let toolgate = self.toolgate.as_mut();
        toolgate.expect("this world was not started with a process")
    }

    /// What northwind saw so far.
    pub fn journal(&self) -> Journal {
        Journal::read(&self.journal)
    }

    /// The directory of the databases: `toolgate.db`, `northwind.db`.
    pub fn data(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Ends everything, and fails if Toolgate sent a model request that endpoints refuse, or if a
    /// task is left.
    pub async fn finish(mut self) {
        if let Some(toolgate) = self.toolgate.take() {
            toolgate.end().await;
        }
        let demo = self.demo.take().expect("only this takes it");
        let model = demo.model().cloned();
        demo.shutdown()
            .await
            .unwrap_or_else(|error| panic!("the system did not end: {error:?}"));
        if let Some(model) = model {
            refuse_rejected(&model);
        }
        let until = Instant::now() + TASKS_END;
        while alive_tasks() > self.tasks_before {
            assert!(
                Instant::now() < until,
                "{} tasks are left after shutdown; {} were there before the start",
                alive_tasks(),
                self.tasks_before
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn demo(&self) -> &Demo {
        self.demo.as_ref().expect("only `finish` takes it")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            tell(&format!(
                "the files of the failed test are kept in {}",
                self.directory.path().display()
            ));
            return;
        }
        assert!(
            self.demo.is_none(),
            "a test has to end its world: `world.finish().await`"
        );
    }
}

/// Fails if the model got a request that OpenAI would have refused: each call needs exactly one
/// result.
fn refuse_rejected(model: &Model) {
    if let Some(rejected) = model.rejected().first() {
        panic!(
            "the model refused request {}: {:?}\n{}",
            rejected.number,
            rejected.verdict,
            String::from_utf8_lossy(&rejected.body)
        );
    }
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// A port that nobody listens on, another one with each call.
///
/// # Panics
/// When there is none.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = PORTS.end - PORTS.start;
    // Test processes at the same time begin at different places.
    let offset = u16::try_from(std::process::id() % u32::from(size)).unwrap_or_default();
    let until = Instant::now() + PATIENCE;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + next % size));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
        assert!(Instant::now() < until, "no free port");
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what a person who reads a failure needs"
)]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}
