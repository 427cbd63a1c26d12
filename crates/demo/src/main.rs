//! The demo's program: starts the system, says how to use it, and ends it on ctrl-c.

use std::{
    collections::HashMap,
    error::Error as _,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use demo::{
    Answers, Demo, Error, Options, Port, Server, model, notes,
    pomerium::{self, AuditSink, DemoUser},
};
use server::config::{KEYS, Layered, Source as _};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise: the page shows the rest. (rmcp calls an error
/// what is a reader that went away.)
const LOG_FILTER: &str = "warn,rmcp=off,async_openai=off";

/// Questions that the greeting proposes.
const PROPOSED: [&str; 7] = [
    "What were our sales by year?",
    "Which tables are there, and what is in the largest?",
    "Compare customers, products and suppliers",
    "Delete the discontinued products",
    "Raise prices by 5 %",
    "What notes do I have?",
    "Who am I for the database?",
];

/// What Ben may not do, in the policy of northwind's route and of Notes': so that a denied tool
/// and a denied server can be seen.
const DENIED_TOOL: &str =
    "deny: {and: [{email: {is: ben@example.com}}, {mcp_tool: {is: write_query}}]}";
const DENIED_SERVER: &str = "deny: {or: [{email: {is: ben@example.com}}]}";

/// Starts Toolgate with everything around it, on this machine: a stand-in for Pomerium, a
/// database behind an MCP server, a second one that wants an account, and a scripted model.
///
/// With `OPENAI_BASE_URL` or `OPENAI_API_KEY` set, that endpoint answers instead of the scripted
/// model. Toolgate's other settings are taken from the environment too.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The page's port. Without it: 8000, or the next one that is free.
    #[arg(long)]
    port: Option<u16>,
    /// Keeps conversations and the demo database in this directory. Without it they are gone
    /// when the demo ends.
    #[arg(long)]
    data: Option<PathBuf>,
    /// An SQLite file of yours to ask about, in place of the demo database.
    #[arg(long)]
    database: Option<PathBuf>,
    /// An MCP server of yours beside northwind, as NAME=URL (`everything=http://127.0.0.1:3001/mcp`);
    /// may be given several times.
    #[arg(long = "server", value_name = "NAME=URL", value_parser = server)]
    servers: Vec<Server>,
    /// Prints a line for each request that Pomerium's policy judged, as Pomerium logs it.
    #[arg(long)]
    audit: bool,
    #[command(flatten)]
    trouble: Trouble,
    /// The pause between two words of the scripted model, milliseconds.
    #[arg(long, default_value_t = 30)]
    delay: u64,
}

/// What others can have wrong, to see what Toolgate makes of it.
#[derive(Debug, clap::Args)]
struct Trouble {
    /// Lets Notes not even list its tools before an account is connected.
    #[arg(long)]
    closed_notes: bool,
    /// Leaves `timeout: 0s` and `idle_timeout: 0s` off Toolgate's route: Pomerium cuts every answer
    /// after 30 s then, and Toolgate says so.
    #[arg(long)]
    cut_answers: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_FILTER.into());
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    // Before anything starts, so that no signal is lost.
    let stopped = stopped().map_err(Error::Signals)?;
    let options = options(arguments);
    let mut demo = Demo::start(options.clone()).await?;
    welcome(&demo, &options);
    tokio::select! {
        () = stopped => {}
        error = demo.ended() => {
            demo.shutdown().await?;
            return Err(error);
        }
    }
    say("\nStopping …");
    demo.shutdown().await
}

fn options(arguments: Arguments) -> Options {
    let environment = Layered::default();
    let settings: HashMap<String, String> = KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), environment.get(key)?)))
        .collect();
    let model = model::Options {
        delay: Duration::from_millis(arguments.delay),
        // So that ids in a kept database are never used again.
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
        ..model::Options::default()
    };
    let notes = notes::Options {
        listing: if arguments.trouble.closed_notes {
            notes::Listing::Closed
        } else {
            notes::Listing::Open
        },
        ..notes::Options::default()
    };
    Options {
        port: arguments.port.map_or_else(Port::default, Port::Exactly),
        data: arguments.data,
        database: arguments.database,
        settings,
        model,
        pomerium: pomerium::Options {
            audit: arguments.audit.then(|| AuditSink::new(print_line)),
            ..pomerium::Options::default()
        },
        servers: arguments.servers,
        rules: vec![DENIED_TOOL.to_owned()],
        notes: Some(notes),
        notes_rules: vec![DENIED_SERVER.to_owned()],
        answers: if arguments.trouble.cut_answers {
            Answers::Cut
        } else {
            Answers::Whole
        },
        ..Options::default()
    }
}

fn server(text: &str) -> Result<Server, String> {
    let (name, upstream) = text.split_once('=').ok_or("it has the form NAME=URL")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(legal) {
        return Err("the name is made of letters, digits and `-`".to_owned());
    }
    if !upstream.starts_with("http://") {
        return Err("the URL begins with http://".to_owned());
    }
    Ok(Server {
        name: name.to_owned(),
        upstream: upstream.to_owned(),
    })
}

/// Completes at ctrl-c, SIGTERM, or when the terminal goes away.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn welcome(demo: &Demo, options: &Options) {
    let model = match options.settings.get("OPENAI_BASE_URL") {
        _ if options.is_scripted() => {
            "scripted: its answers follow a script, no AI writes them.\n            \
             Set OPENAI_BASE_URL or OPENAI_API_KEY to ask a real one."
                .to_owned()
        }
        Some(url) => format!("the one at {url}"),
        None => "OpenAI's".to_owned(),
    };
    let data = match &options.data {
        Some(_) => format!("kept in {}", demo.data().display()),
        None => "gone when the demo ends (--data DIR keeps it)".to_owned(),
    };
    let users: Vec<&str> = DemoUser::ALL.into_iter().map(DemoUser::email).collect();
    say(&format!(
        "
  Toolgate is ready.

  Open      {url}
  Sign in   as {users}; there is no password.
            Policy keeps Ben from changing the database and from Notes.
  Ask       {questions}
  Programs  cargo run -p server -- login {url}
            cargo run -p server -- connect {url}
            (the latter prints their OPENAI_BASE_URL and key)
  Model     {model}
  Data      {data}
  Stop      ctrl-c
",
        url = demo.url(),
        users = users.join(" or "),
        questions = PROPOSED.join("\n            "),
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "what a person who starts the demo reads"
)]
fn say(text: &str) {
    println!("{text}");
}

/// Writes an audit line to standard output. Nobody minds if that is closed.
fn print_line(line: &str) {
    writeln!(io::stdout().lock(), "{line}").ok();
}

#[expect(
    clippy::print_stderr,
    reason = "the one line a person reads when the demo fails"
)]
fn complain(error: &Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail. Some errors name their cause themselves.
        if !text.contains(&cause.to_string()) {
            write!(text, ": {cause}").ok();
        }
        source = cause.source();
    }
    eprintln!("demo: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_has_an_answer() {
        for ask in PROPOSED {
            let mut known = model::QUESTIONS.iter().map(|question| question.ask);
            assert!(known.any(|known| known == ask), "{ask}");
        }
    }
}
