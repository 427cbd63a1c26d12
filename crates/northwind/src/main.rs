//! The `northwind` program: arguments, logs and signals around [`northwind::serve`].

use std::{
    error::Error,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use axum::http::Uri;
use clap::{Parser, Subcommand};
use northwind::{Options, Pomerium, Server, Source};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_subscriber::EnvFilter;

/// An MCP server over one SQLite file, at /mcp.
///
/// Without --database it serves a demo database, a trading company with some years of orders,
/// which it makes at its first start.
///
/// With --pomerium-host, every request must carry an assertion that this Pomerium signed for that
/// host, and whoami says who asks.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where to listen; port 0 takes a free one.
    #[arg(
        long,
        global = true,
        env = "NORTHWIND_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    listen: String,

    /// The SQLite file to serve. It must exist.
    #[arg(long, env = "NORTHWIND_DATABASE", value_name = "FILE")]
    database: Option<PathBuf>,

    /// The demo database to serve where no --database is given; made if it is missing.
    #[arg(
        long,
        env = "NORTHWIND_DEMO_DATABASE",
        value_name = "FILE",
        default_value = "northwind.db",
        conflicts_with = "database"
    )]
    demo_database: PathBuf,

    /// Append a JSON line to this file when a tool call starts and when it has ended.
    #[arg(long, env = "NORTHWIND_JOURNAL", value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Also accept this Host: NAME or NAME:PORT. Loopback names are always accepted. Repeatable.
    #[arg(
        long,
        env = "NORTHWIND_ALLOWED_HOST",
        value_name = "HOST",
        value_delimiter = ','
    )]
    allowed_host: Vec<String>,

    /// Also accept pages of this Origin: SCHEME://HOST:PORT, where PORT may be *. Repeatable.
    #[arg(
        long,
        env = "NORTHWIND_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    allowed_origin: Vec<String>,

    /// Seconds after which a call is stopped.
    #[arg(
        long,
        env = "NORTHWIND_TIME_LIMIT",
        value_name = "SECONDS",
        default_value_t = Options::DEFAULT_TIME_LIMIT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    time_limit: u64,

    /// The public host of the route in Pomerium that leads here: the audience of its assertions.
    #[arg(long, env = "NORTHWIND_POMERIUM_HOST", value_name = "HOST")]
    pomerium_host: Option<String>,

    /// Where Pomerium's keys are; without it `https://HOST/.well-known/pomerium/jwks.json`.
    #[arg(
        long,
        env = "NORTHWIND_POMERIUM_JWKS",
        value_name = "URL",
        requires = "pomerium_host"
    )]
    pomerium_jwks: Option<Uri>,

    /// What to dial for Pomerium's keys when DNS would not lead there.
    #[arg(
        long,
        env = "NORTHWIND_POMERIUM_ADDR",
        value_name = "HOST:PORT",
        requires = "pomerium_host"
    )]
    pomerium_addr: Option<String>,

    /// Root certificates beside the system's, PEM.
    #[arg(
        long,
        env = "NORTHWIND_CA_FILE",
        value_name = "FILE",
        requires = "pomerium_host"
    )]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the northwind at --listen whether it serves: exit code 0 if it does, 1 if not.
    Healthcheck,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Ends the process with 2 if the arguments are wrong.
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do about a standard error that is closed.
            drop(writeln!(std::io::stderr(), "northwind: {}", chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let listen = arguments.listen.clone();
    match arguments.command {
        None => serve(arguments, &listen).await,
        Some(Command::Healthcheck) => northwind::check(&listen)
            .await
            .map_err(|error| format!("{listen} does not serve: {error}").into()),
    }
}

async fn serve(arguments: Arguments, listen: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr()?;
    let options = options(arguments)?;

    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = TaskTracker::new();
    let token = shutdown.clone();
    signals.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = token.cancelled() => {}
        }
        token.cancel();
    });

    let opened = tokio::select! {
        opened = Server::open(options) => Some(opened),
        () = shutdown.cancelled() => None,
    };
    let outcome = match opened {
        // Only now will a request be answered.
        Some(Ok(server)) => match writeln!(std::io::stdout(), "northwind: http://{address}/mcp") {
            Ok(()) => {
                server.serve(listener, shutdown.clone()).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        },
        Some(Err(error)) => Err(error.into()),
        None => Ok(()),
    };
    shutdown.cancel();
    signals.close();
    signals.wait().await;
    outcome
}

fn options(arguments: Arguments) -> Result<Options, Box<dyn Error>> {
    let Arguments {
        command: _,
        listen: _,
        database,
        demo_database,
        journal,
        allowed_host,
        allowed_origin,
        time_limit,
        pomerium_host,
        pomerium_jwks,
        pomerium_addr,
        ca_file,
    } = arguments;
    let ca_pem = ca_file
        .map(|path| {
            std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        })
        .transpose()?;
    let source = database.map_or(Source::Demo(demo_database), Source::File);
    Ok(Options {
        journal,
        allowed_hosts: allowed_host,
        allowed_origins: allowed_origin,
        time_limit: Duration::from_secs(time_limit),
        pomerium: pomerium_host.map(|host| Pomerium {
            host,
            jwks: pomerium_jwks,
            address: pomerium_addr,
            ca_pem,
        }),
        ..Options::new(source)
    })
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        // SQLite's own cause only says the same again, with its number.
        cause = if error.is::<rusqlite::Error>() {
            None
        } else {
            error.source()
        };
    }
    line
}
