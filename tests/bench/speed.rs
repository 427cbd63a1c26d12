//! `cargo run --release -p tests --bin speed`: how fast Toolgate is, beside a bare proxy and no
//! proxy at all, in the same run on the same machine.
//!
//! Everything is a process of its own: the scripted endpoint, the proxy, northwind, and Toolgate as
//! it is deployed, with log, store and traffic on. This one asks.

#[path = "speed/endpoint.rs"]
mod endpoint;

#[path = "speed/proxy.rs"]
mod proxy;

#[path = "speed/serve.rs"]
mod serve;

#[path = "speed/process.rs"]
mod process;

#[path = "speed/client.rs"]
mod client;
#[path = "speed/load.rs"]
mod load;

#[path = "speed/page.rs"]
mod page;
#[path = "speed/soak.rs"]
mod soak;
#[path = "speed/start.rs"]
mod start;
#[path = "speed/streams.rs"]
mod streams;
#[path = "speed/turns.rs"]
mod turns;

#[path = "speed/report.rs"]
mod report;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use tempfile::TempDir;
use tokio::{net::TcpStream, runtime};

use self::{
    load::percentile,
    process::{Process, Programs},
    report::{Report, Row},
};

/// Why there are no figures.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often the disk is asked how fast it is.
const SYNCS: u32 = 50;

/// Measures how fast Toolgate is.
#[derive(Parser)]
#[command(name = "speed")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Short windows: to see that it works, not to judge by.
    #[arg(long)]
    quick: bool,
    /// Only this; repeatable.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// How many streams at once.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 32, 256])]
    streams: Vec<u32>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Also lets people ask for so long, like 10m or 90s, and looks whether memory grows.
    #[arg(long, value_name = "TIME", value_parser = time)]
    soak: Option<Duration>,
    /// Where the databases are put: on the disk that is to be measured.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Where the programs are, if they are built already.
    #[arg(long, value_name = "DIRECTORY")]
    programs: Option<PathBuf>,
}

/// The other people this program plays.
#[derive(Subcommand)]
enum Role {
    /// The model endpoint.
    #[command(hide = true)]
    Endpoint,
    /// The bare proxy.
    #[command(hide = true)]
    Proxy { upstream: SocketAddr },
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Start,
    Streams,
    Turns,
    Page,
}

/// What all measurements stand on.
struct Bench {
    programs: Programs,
    endpoint: Process,
    data: TempDir,
    streams: Vec<u32>,
    quick: bool,
}

impl Bench {
    /// A number for judging by, or for a quick look.
    const fn short(&self, long: u32, short: u32) -> u32 {
        if self.quick { short } else { long }
    }

    /// How long one thing is measured.
    fn window(&self) -> Duration {
        Duration::from_secs(self.short(20, 4).into())
    }

    /// A directory for one Toolgate.
    fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let directory = self.data.path().join(name);
        std::fs::create_dir(&directory)?;
        Ok(directory)
    }

    /// Deltas that the endpoint has said.
    async fn sent(&self) -> Result<u32, Failure> {
        let stream = TcpStream::connect(self.endpoint.address).await?;
        let (_, sent) = client::get(stream, "/sent").await?;
        Ok(sent.parse()?)
    }
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    match arguments.role {
        // One thread each: they are to take as little as they can from what is measured.
        None => single()?.block_on(measure(&arguments)),
        Some(Role::Endpoint) => Ok(single()?.block_on(endpoint::run())?),
        // As many as Toolgate has.
        Some(Role::Proxy { upstream }) => {
            let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
            Ok(runtime.block_on(proxy::run(upstream))?)
        }
    }
}

fn single() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

async fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let programs = match &arguments.programs {
        Some(directory) => directory.canonicalize()?,
        None => build()?,
    };
    let data = match &arguments.data {
        Some(directory) => TempDir::new_in(directory)?,
        None => TempDir::new()?,
    };
    let bench = Bench {
        programs: Programs {
            toolgate: programs.join("toolgate"),
            northwind: programs.join("northwind"),
        },
        endpoint: Process::role(&["endpoint"]).await?,
        data,
        streams: arguments.streams.clone(),
        quick: arguments.quick,
    };
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut report = Report::default();
    report.rows.extend(disk(bench.data.path())?);
    if wanted(Part::Start) {
        start::measure(&bench, &mut report).await?;
    }
    if wanted(Part::Streams) {
        streams::measure(&bench, &mut report).await?;
    }
    if wanted(Part::Turns) {
        turns::measure(&bench, &mut report).await?;
    }
    if wanted(Part::Page) {
        page::measure(&bench, &mut report).await?;
    }
    if let Some(lasting) = arguments.soak {
        soak::measure(&bench, lasting, &mut report).await?;
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    Ok(writeln!(std::io::stdout(), "{}", text.trim_end())?)
}

/// Builds the programs as they are deployed; the directory they are in.
fn build() -> Result<PathBuf, Failure> {
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--locked"])
        .args(["--package", "server", "--bin", "toolgate"])
        .args(["--package", "northwind", "--bin", "northwind"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status()?;
    if !built.success() {
        return Err("the programs do not build".into());
    }
    // Beside this one, if it was built for release too.
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("no target directory")?;
    Ok(target.join("release"))
}

/// How long the disk takes to have something for good, without which no turn begins.
fn disk(directory: &Path) -> Result<Option<Row>, Failure> {
    let mut file = std::fs::File::create(directory.join("synced"))?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    let took = percentile(&mut took, 50);
    Ok(took.map(|took| Row::of("the disk's sync of 4 KiB, p50", "ms", took)))
}

fn time(text: &str) -> Result<Duration, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let minutes = text
        .strip_suffix('m')
        .and_then(number)
        .map(Duration::from_mins);
    let seconds = || {
        text.strip_suffix('s')
            .and_then(number)
            .map(Duration::from_secs)
    };
    minutes
        .or_else(seconds)
        .ok_or_else(|| "a number with m or s, like 10m".to_owned())
}
