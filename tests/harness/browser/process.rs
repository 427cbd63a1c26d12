//! Chromium as a process that ends with this one.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{BROWSER_PATIENCE, LOOK_EVERY};

/// Runs Chromium in a group of its own until standard input ends, which it does with the process
/// that holds the other end, also when that is killed; then nothing of Chromium is left, neither
/// processes nor files.
const GUARD: &str = r#"
trap '' HUP INT TERM
profile=$1
shift
setsid "$@" </dev/null >"$profile/chromium.log" 2>&1 &
read -r _
kill -s KILL -- "-$!"
wait
rm -rf -- "$profile"
"#;

/// Headless, as root, without requests of its own, and with every window as busy as the one in
/// front.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--password-store=basic",
    "--lang=en-US",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
];

/// The running Chromium. It ends when this is dropped, or with this process.
pub(super) struct Chromium {
    address: String,
    /// Its standard input is what keeps Chromium alive.
    _guard: Child,
}

impl Chromium {
    /// Starts it and waits until it can be driven.
    #[expect(
        clippy::zombie_processes,
        reason = "it ends after this process, which therefore cannot wait for it"
    )]
    pub(super) async fn start() -> Self {
        let profile = tempfile::Builder::new()
            .prefix("toolgate-browser-")
            .tempdir()
            .map(TempDir::keep)
            .expect("a directory for the browser's profile");
        let mut guard = std::process::Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&profile);
        guard.arg("chromium").args(FLAGS);
        guard.arg(format!("--user-data-dir={}", profile.display()));
        guard.arg("about:blank");
        guard.env("XDG_CONFIG_HOME", &profile);
        guard.env("XDG_CACHE_HOME", &profile);
        // What it leaves behind when it is killed goes with the profile.
        guard.env("TMPDIR", &profile);
        std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        let guard = guard
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            if let Some(address) = address(&profile) {
                return Self {
                    address,
                    _guard: guard,
                };
            }
            assert!(Instant::now() < until, "{}", trouble(&profile));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where it is driven: a WebSocket URL.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// What Chromium writes when it listens: the port, and the path on the next line.
fn address(profile: &Path) -> Option<String> {
    let written = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
    let (port, path) = written.split_once('\n')?;
    let path = path.trim();
    path.starts_with('/')
        .then(|| format!("ws://127.0.0.1:{port}{path}"))
}

fn trouble(profile: &Path) -> String {
    let log = std::fs::read_to_string(profile.join("chromium.log")).unwrap_or_default();
    format!("Chromium does not start (is `chromium` on the PATH?):\n{log}")
}
