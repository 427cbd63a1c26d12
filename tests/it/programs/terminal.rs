//! A person at a terminal, who runs `toolgate` commands.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use harness::PATIENCE;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::said::Said;

/// A person whose home was empty at first.
pub(super) struct Terminal {
    home: TempDir,
}

/// A command that goes on.
pub(super) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The file of logins.
    pub(super) fn logins(&self) -> PathBuf {
        self.home.path().join("toolgate/logins.json")
    }

    /// A file with this in it; its path.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.command(arguments)).await
    }

    /// Starts a command that goes on.
    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        Running {
            child,
            stdout: BufReader::new(stdout).lines(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = harness::at_home(self.home.path());
        command.args(arguments);
        command
    }
}

impl Said {
    /// It failed, printed nothing that a shell would take, and said this.
    pub(super) fn failed_with(&self, words: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.contains(words), "no {words:?} in {self:?}");
    }

    pub(super) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

impl Running {
    /// The next line on standard output that has `words`.
    pub(super) async fn line(&mut self, words: &str) -> String {
        let reading = async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended without a word of {words:?}")
        };
        let line = tokio::time::timeout(PATIENCE, reading).await;
        line.unwrap_or_else(|_| panic!("it does not say {words:?}"))
    }

    /// Waits until it has ended by itself.
    pub(super) async fn end(mut self) -> Said {
        let mut stdout = String::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            stdout = format!("{stdout}{line}\n");
        }
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output.expect("it goes on").expect("it ran");
        Said {
            code: output.status.code(),
            stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Ends it as ctrl-c does.
    pub(super) async fn interrupt(self) -> Said {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "kill -INT {id}");
        self.end().await
    }
}

/// The rights on a file or directory.
pub(super) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
