//! A machine on which `toolgate doctor` is run, and Pomerium with a route of one's own.

use std::{collections::HashMap, net::Ipv4Addr, process::Stdio};

use demo::pomerium::{DemoUser, Listeners, Options, Standin};
use harness::{PATIENCE, World};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::said::Said;

/// The host of the page.
const CHAT: &str = "chat.localhost";

/// Settings, and a home that was empty at first.
pub(super) struct Clinic {
    settings: HashMap<String, String>,
    token: Option<String>,
    home: TempDir,
}

impl Clinic {
    /// Nothing is set.
    pub(super) fn empty() -> Self {
        Self {
            settings: HashMap::new(),
            token: None,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The settings of a world's Toolgate, at ports that are free.
    pub(super) fn of(world: &World) -> Self {
        let mut clinic = Self::empty();
        clinic.settings.clone_from(world.settings());
        let clinic = clinic.set("TOOLGATE_LISTEN", "127.0.0.1:0");
        clinic.set("TOOLGATE_ADMIN_LISTEN", "127.0.0.1:0")
    }

    /// With another setting.
    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With a token of Ana's.
    pub(super) fn signed_in(self, world: &World) -> Self {
        let sid = world.standin().sign_in(DemoUser::Ana).unwrap().sid;
        self.with_login_of(world, sid)
    }

    /// With a token of this session's.
    pub(super) fn with_login_of(mut self, world: &World, sid: Uuid) -> Self {
        self.token = Some(world.standin().programmatic_token(sid, CHAT).unwrap());
        self
    }

    /// The token it is given.
    pub(super) fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// A file with this in it; its path.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs the doctor to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.command(arguments)).await
    }

    /// The first line, while the doctor is still at work.
    pub(super) async fn first_line(&self, arguments: &[&str]) -> String {
        let mut child = self.command(arguments).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it says nothing").unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        child.kill().await.expect("it is killed");
        line.expect("it ends without a word")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = harness::at_home(self.home.path());
        command.arg("doctor").args(arguments).envs(&self.settings);
        if let Some(token) = &self.token {
            command.args(["--token-file", &self.write("token", token)]);
        }
        command
    }
}

impl Said {
    #[track_caller]
    pub(super) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// A line has `what` in it, and the one after it says to `mend` it.
    #[track_caller]
    pub(super) fn mends(&self, what: &str, mend: &str) {
        self.advises("mend: ", what, mend);
    }

    /// The same where nothing is wrong.
    #[track_caller]
    pub(super) fn hints(&self, what: &str, hint: &str) {
        self.advises("hint: ", what, hint);
    }

    #[track_caller]
    fn advises(&self, word: &str, what: &str, advice: &str) {
        let lines: Vec<&str> = self.stdout.lines().collect();
        let found = lines.windows(2).any(|pair| {
            pair[0].contains(what)
                && pair[1].trim_start().starts_with(word)
                && pair[1].contains(advice)
        });
        assert!(found, "no {what:?} with {advice:?} in\n{}", self.stdout);
    }
}

/// Toolgate as a process behind a stand-in whose routes the test has changed.
pub(super) struct Place {
    standin: Standin,
    settings: HashMap<String, String>,
    tasks: TaskTracker,
    stop: CancellationToken,
    toolgate: Child,
    home: TempDir,
}

impl Place {
    /// `change` is given the routes as they should be, with `TOOLGATE` where it listens.
    pub(super) async fn start(change: impl FnOnce(&str) -> String) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = Listeners {
            http: bind().await.unwrap(),
            tls: bind().await.unwrap(),
        };
        let port = listeners.http.local_addr().unwrap().port();
        let free = bind().await.unwrap().local_addr().unwrap();
        let routes = change(&format!(
            "\
authenticate_service_url: http://authenticate.localhost:{port}
routes:
  - from: http://{CHAT}:{port}
    to: http://TOOLGATE
    mcp: {{client: {{}}}}
    pass_identity_headers: true
    timeout: 0s
    idle_timeout: 0s
    policy: [{{allow: {{or: [{{domain: {{is: example.com}}}}]}}}}]
"
        ));
        let options = Options {
            config: routes.replace("TOOLGATE", &free.to_string()),
            ..Options::default()
        };
        let standin = Standin::start(options, listeners, &tasks, &stop).unwrap();
        let home = tempfile::tempdir().unwrap();
        let ca = home.path().join("ca.pem");
        std::fs::write(&ca, standin.ca_pem()).unwrap();
        let settings = HashMap::from([
            ("TOOLGATE_PUBLIC_URL", format!("http://{CHAT}:{port}")),
            ("TOOLGATE_POMERIUM_ADDR", standin.tls_addr().to_string()),
            ("TOOLGATE_CA_FILE", ca.display().to_string()),
            ("TOOLGATE_LISTEN", free.to_string()),
            ("TOOLGATE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1".to_owned()),
        ]);
        let settings: HashMap<String, String> = settings
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let toolgate = Command::new(harness::program())
            .current_dir(home.path())
            .env_clear()
            .envs(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("toolgate starts");
        let listens = async {
            while TcpStream::connect(free).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens)
            .await
            .expect("toolgate listens");
        Self {
            standin,
            settings,
            tasks,
            stop,
            toolgate,
            home,
        }
    }

    /// Ana's machine.
    pub(super) fn clinic(&self) -> Clinic {
        let sid = self.standin.sign_in(DemoUser::Ana).unwrap().sid;
        let mut clinic = Clinic::empty();
        clinic.settings.clone_from(&self.settings);
        clinic.token = Some(self.standin.programmatic_token(sid, CHAT).unwrap());
        clinic
    }

    pub(super) async fn end(mut self) {
        self.toolgate.kill().await.expect("kill -9");
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.home.close().unwrap();
    }
}
