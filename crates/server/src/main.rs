//! The `toolgate` program.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use server::{
    Listeners, ServeError, SetupError, Shutdown, admin,
    config::{self, Config, ConfigError, Layered, Source as _},
    doctor, programs,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_subscriber::EnvFilter;

/// The exit code of a start that the settings stopped (`EX_CONFIG` of sysexits.h).
const BAD_SETTINGS: u8 = 78;

/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";

/// The same of a command that a person runs: what it prints says the rest.
const QUIET_FILTER: &str = "error";

/// What is never logged unless `RUST_LOG` names it: these libraries write whole payloads.
const QUIET: [(&str, &str); 2] = [("rmcp", "rmcp=off"), ("async_openai", "async_openai=off")];

/// An MCP host that runs behind Pomerium: any OpenAI-compatible model gets your company's tools.
///
/// Settings come from the environment and from toolgate.toml; the README lists them.
#[derive(Parser)]
#[command(name = "toolgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The settings file. Default: toolgate.toml, if there is one.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Serves the page and the API (the default).
    Serve,
    /// Looks at settings, Pomerium, MCP servers and the model endpoint, and says what to mend.
    Doctor(doctor::Arguments),
    /// Asks the Toolgate of this machine whether it is ready; for the health check of a container.
    Healthcheck,
    #[command(flatten)]
    Program(programs::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None | Some(Command::Serve) => start(arguments.config).await,
        Some(Command::Doctor(wanted)) => match examine(wanted, arguments.config).await {
            Ok(code) => return code,
            Err(failed) => Err(failed),
        },
        Some(Command::Healthcheck) => healthcheck(arguments.config).await,
        Some(Command::Program(command)) => program(command, arguments.config).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { message, code }) => {
            complain(&message);
            code
        }
    }
}

fn filter(default: &str) -> Result<EnvFilter, Failed> {
    let wanted = Layered::default().get("RUST_LOG");
    let mut directives = wanted.unwrap_or_else(|| default.to_owned());
    for (library, quiet) in QUIET {
        if !directives.contains(library) {
            directives = format!("{directives},{quiet}");
        }
    }
    EnvFilter::try_new(directives).map_err(|error| Failed {
        message: format!("RUST_LOG: {error}"),
        code: ExitCode::from(BAD_SETTINGS),
    })
}

/// Why the program ends, in one line.
struct Failed {
    message: String,
    code: ExitCode,
}

fn settings(file: Option<PathBuf>) -> Result<Layered, ConfigError> {
    let file = file.or_else(|| Some(PathBuf::from("toolgate.toml")).filter(|path| path.exists()));
    Layered::load(file.as_deref())
}

/// Logs to standard error: standard output is for a person or a shell.
fn log_quietly() -> Result<(), Failed> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter(QUIET_FILTER)?)
        .init();
    Ok(())
}

/// Runs the doctor; the exit code says what was found.
async fn examine(wanted: doctor::Arguments, file: Option<PathBuf>) -> Result<ExitCode, Failed> {
    log_quietly()?;
    Ok(ExitCode::from(doctor::run(wanted, settings(file)).await))
}

/// Runs a command whose standard output is for a person or a shell.
async fn program(command: programs::Command, file: Option<PathBuf>) -> Result<(), Failed> {
    log_quietly()?;
    let settings = settings(file).map_err(bad_settings)?;
    let done = programs::run(command, &settings).await;
    done.map_err(|error| Failed {
        message: error.to_string(),
        code: match error {
            programs::Error::Settings(_) => ExitCode::from(BAD_SETTINGS),
            programs::Error::Failed(_) => ExitCode::FAILURE,
        },
    })
}

async fn healthcheck(file: Option<PathBuf>) -> Result<(), Failed> {
    log_quietly()?;
    let settings = settings(file).map_err(bad_settings)?;
    let address = config::admin_listen(&settings).map_err(bad_settings)?;
    let ready = admin::ask_ready(address).await;
    ready.map_err(|message| Failed {
        message,
        code: ExitCode::FAILURE,
    })
}

async fn start(file: Option<PathBuf>) -> Result<(), Failed> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter(LOG_FILTER)?)
        .init();
    let source = settings(file).map_err(bad_settings)?;
    let config = Config::read(&source).map_err(bad_settings)?;
    for name in config::unknown_in_environment() {
        tracing::warn!(name, "the environment sets what is no setting: misspelt?");
    }
    let listeners = Listeners {
        public: bind("TOOLGATE_LISTEN", config.listen).await?,
        admin: Some(bind("TOOLGATE_ADMIN_LISTEN", config.admin_listen).await?),
    };
    let shutdown = Shutdown {
        drain: CancellationToken::new(),
        now: CancellationToken::new(),
    };
    let signalled = shutdown.clone();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        signal().await;
        signalled.drain.cancel();
        signal().await;
        signalled.now.cancel();
    });
    let served = server::serve(config, listeners, shutdown).await;
    served.map_err(|error| Failed {
        message: chain(&error),
        code: match &error {
            ServeError::Setup(SetupError::CaFile { .. } | SetupError::Store(_)) => {
                ExitCode::from(BAD_SETTINGS)
            }
            ServeError::Setup(_) | ServeError::Io(_) => ExitCode::FAILURE,
        },
    })
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failed> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| Failed {
        message: format!("{key}: cannot listen on {address}: {error}"),
        code: ExitCode::from(BAD_SETTINGS),
    })
}

/// Waits for SIGTERM or ctrl-c.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _unavailable = tokio::signal::ctrl_c().await;
}

fn bad_settings(error: impl std::error::Error) -> Failed {
    Failed {
        message: error.to_string(),
        code: ExitCode::from(BAD_SETTINGS),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[expect(
    clippy::print_stderr,
    reason = "the one line a person reads when the start fails"
)]
fn complain(message: &str) {
    eprintln!("toolgate: {message}");
}
