//! Toolgate as a process of its own, that can be killed and started again.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use cargo_metadata::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{PATIENCE, world::tell};

/// The pause between two looks whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of its log that a failed test shows.
const LOG_SHOWN: usize = 8 * 1024;

/// The program `toolgate`: its address and files stay the same from start to start.
///
/// Dropping it kills the process.
pub struct ToolgateProcess {
    address: SocketAddr,
    settings: HashMap<String, String>,
    directory: PathBuf,
    /// MiB of the disk that its database has for itself.
    disk: Option<u32>,
    child: Option<Child>,
}

impl ToolgateProcess {
    /// Not started yet.
    pub(crate) fn new(
        address: SocketAddr,
        settings: &HashMap<String, String>,
        directory: &Path,
    ) -> Self {
        let mut settings = settings.clone();
        settings.insert("TOOLGATE_LISTEN".to_owned(), address.to_string());
        // Several run at once, and end at once, unless a test is about that.
        for (key, value) in [
            ("TOOLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
            ("TOOLGATE_DRAIN", "0s"),
        ] {
            let set = settings.entry(key.to_owned());
            set.or_insert_with(|| value.to_owned());
        }
        Self {
            address,
            settings,
            directory: directory.to_owned(),
            disk: None,
            child: None,
        }
    }

    /// Where it listens, around Pomerium.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives its database a disk of its own, of so many MiB, in memory: it is there as long as the
    /// process. [`Self::disk`] is where it can be seen.
    pub(crate) fn with_disk(mut self, mib: u32) -> Self {
        let database = format!("sqlite://{}", self.mount().join("toolgate.db").display());
        self.settings
            .insert("TOOLGATE_DATABASE_URL".to_owned(), database);
        self.disk = Some(mib);
        self
    }

    /// The directory of its own disk, as it is seen from outside of the process.
    pub fn disk(&self) -> PathBuf {
        let child = self.child.as_ref().expect("it does not run");
        let id = child.id().expect("it has not been waited for");
        let mount = self.mount();
        let inside = mount.strip_prefix("/").unwrap_or(&mount);
        PathBuf::from(format!("/proc/{id}/root")).join(inside)
    }

    /// Starts it and waits until it answers; fails if it runs already, or ends.
    pub async fn start(&mut self) {
        self.launch();
        let until = Instant::now() + PATIENCE;
        while !answers(self.address).await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
            assert_eq!(ended, None, "toolgate ended at its start");
            assert!(Instant::now() < until, "toolgate does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = self.open_log();
        let mut command = match self.disk {
            Some(mib) => self.on_disk(mib),
            None => Command::new(program()),
        };
        let child = command
            .current_dir(&self.directory)
            .env_clear()
            .env("RUST_LOG", "info")
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program().display()));
        self.child = Some(child);
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("it does not run");
        child.kill().await.expect("kill -9");
    }

    /// Sends SIGTERM, and waits until it has ended by itself; how it did.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal().await;
        self.ended().await
    }

    /// Sends SIGTERM.
    pub async fn signal(&self) {
        let child = self.child.as_ref().expect("it does not run");
        let id = child.id().expect("it has not been waited for");
        let sent = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await;
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM {id}");
    }

    /// Waits until it has ended by itself; how it did.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it does not run");
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        ended.expect("it does not end").expect("its status")
    }

    /// What all starts of it wrote so far, standard output and error together.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it if it runs, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        if self.child.is_some() {
            self.kill().await;
        }
    }

    /// The program in a mount namespace of its own, where it has its disk. What is missing for that
    /// is in its log.
    fn on_disk(&self, mib: u32) -> Command {
        let mount = self.mount();
        std::fs::create_dir_all(&mount).expect("a directory");
        let script = "/bin/mount -t tmpfs -o size=\"$1m\" tmpfs \"$2\" && exec \"$3\"";
        let mut command = Command::new("/usr/bin/unshare");
        command
            .args(["--map-root-user", "--mount", "/bin/sh", "-c", script, "sh"])
            .arg(mib.to_string())
            .arg(mount)
            .arg(program());
        command
    }

    fn mount(&self) -> PathBuf {
        self.directory.join("disk")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("toolgate.log")
    }

    fn open_log(&self) -> File {
        let path = self.log_path();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for ToolgateProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let shown = log.len().saturating_sub(LOG_SHOWN);
            let shown = log.get(log.ceil_char_boundary(shown)..).unwrap_or_default();
            tell(&format!("the end of toolgate's log:\n{shown}"));
        }
    }
}

/// Whether something answers HTTP there, whatever it answers: Toolgate does after recovery.
async fn answers(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    asked.await.is_ok()
}

/// A command of the program's for a person whose home this is: nothing else is set, and what it
/// says is caught.
pub fn at_home(home: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .current_dir(home)
        .env_clear()
        .env("XDG_CONFIG_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The program, built on first use by the cargo that built the tests.
///
/// It is built together with this package's library, so that every other library has the features
/// and the debug information that it has here, and nothing is compiled twice.
///
/// For commands other than `toolgate serve`; that is [`ToolgateProcess`].
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format=json"])
            .args([
                "--package",
                "tests",
                "--package",
                "server",
                "--lib",
                "--bin",
                "toolgate",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo");
        assert!(built.status.success(), "toolgate does not build");
        let messages = Message::parse_stream(built.stdout.as_slice());
        let made = messages.filter_map(|message| {
            let Ok(Message::CompilerArtifact(artifact)) = message else {
                return None;
            };
            artifact.executable
        });
        made.last().expect("a program").into_std_path_buf()
    })
}
