//! The programs that are measured, each a process of its own.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
};

use super::{Failure, client::get, endpoint::MODEL};

/// How long a program may take to start.
const START: Duration = Duration::from_secs(20);

/// The pause between two looks whether one is ready: what its start is measured to.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Clock ticks of `/proc/PID/stat` in a second: Linux tells programs 100, whatever it counts in.
const TICKS: f64 = 100.0;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Kept open: who writes to a closed one is killed.
    _output: Option<BufReader<ChildStdout>>,
}

/// What of a process is in memory, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All of it, with the pages of its program file.
    pub(crate) resident: f64,
    /// What it allocated: heap, stacks.
    pub(crate) anonymous: f64,
}

impl Process {
    /// Starts this program in another role, which prints its address.
    pub(crate) async fn role(role: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("it has no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        tokio::time::timeout(START, output.read_line(&mut line)).await??;
        Ok(Self {
            address: line.trim().parse()?,
            child,
            _output: Some(output),
        })
    }

    /// Processor time so far, of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        // The name, in brackets, may hold anything (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(") ").ok_or("no name in stat")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<u32>);
        let (user, system) = (ticks.next(), ticks.next());
        let user = user.ok_or("no utime in stat")??;
        let system = system.ok_or("no stime in stat")??;
        Ok(Duration::from_secs_f64(
            (f64::from(user) + f64::from(system)) / TICKS,
        ))
    }

    /// What of it is in memory.
    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        let rollup = std::fs::read_to_string(self.proc("smaps_rollup")?)?;
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u32>().ok());
            f64::from(kib.unwrap_or_default()) * 1024.0
        };
        Ok(Memory {
            resident: field("Rss:"),
            anonymous: field("Anonymous:"),
        })
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> Result<usize, Failure> {
        Ok(std::fs::read_dir(self.proc("task")?)?.count())
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    fn proc(&self, file: &str) -> Result<PathBuf, Failure> {
        let id = self.child.id().ok_or("it has ended")?;
        Ok(format!("/proc/{id}/{file}").into())
    }
}

/// The programs, as they are deployed.
pub(crate) struct Programs {
    pub(crate) toolgate: PathBuf,
    pub(crate) northwind: PathBuf,
}

/// Where a Toolgate lives, and whom it knows.
pub(crate) struct Place<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) endpoint: SocketAddr,
    /// An MCP server, if it has one.
    pub(crate) server: Option<SocketAddr>,
}

impl Programs {
    /// Starts Toolgate; also how long it took from there to ready.
    pub(crate) async fn toolgate(&self, place: &Place<'_>) -> Result<(Process, Duration), Failure> {
        let (address, admin) = (harness::free_port(), harness::free_port());
        let log = File::create(place.directory.join("toolgate.log"))?;
        let database = place.directory.join("toolgate.db");
        let mut command = Command::new(&self.toolgate);
        command
            .current_dir(place.directory)
            .env_clear()
            .env("TOOLGATE_LISTEN", address.to_string())
            .env("TOOLGATE_ADMIN_LISTEN", admin.to_string())
            .env(
                "TOOLGATE_DATABASE_URL",
                format!("sqlite://{}", database.display()),
            )
            .env("TOOLGATE_MODEL", MODEL)
            .env("TOOLGATE_APPROVAL", "never")
            .env("TOOLGATE_MAX_TURNS", "10000")
            .env("TOOLGATE_MAX_TURNS_PER_USER", "10000")
            .env("OPENAI_BASE_URL", format!("http://{}/v1", place.endpoint));
        if let Some(server) = place.server {
            command.env(
                "TOOLGATE_MCP_SERVERS",
                format!("Northwind=http://{server}/mcp"),
            );
        }
        command.stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let process = spawn(command, address)?;
        ready(admin, "/readyz").await?;
        Ok((process, began.elapsed()))
    }

    /// Starts northwind with its demo database.
    pub(crate) async fn northwind(&self, directory: &Path) -> Result<Process, Failure> {
        let address = harness::free_port();
        let mut command = Command::new(&self.northwind);
        command
            .env_clear()
            .env("NORTHWIND_LISTEN", address.to_string())
            .env("NORTHWIND_DEMO_DATABASE", directory.join("northwind.db"))
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("northwind.log"))?);
        let process = spawn(command, address)?;
        ready(address, "/livez").await?;
        Ok(process)
    }
}

fn spawn(mut command: Command, address: SocketAddr) -> io::Result<Process> {
    Ok(Process {
        address,
        child: command.stdin(Stdio::null()).kill_on_drop(true).spawn()?,
        _output: None,
    })
}

/// Waits until a program says that it is ready.
async fn ready(address: SocketAddr, path: &str) -> Result<(), Failure> {
    let until = Instant::now() + START;
    loop {
        if let Ok(stream) = TcpStream::connect(address).await
            && let Ok((200, _)) = get(stream, path).await
        {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{address} does not become ready").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
