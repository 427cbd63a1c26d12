//! Signing in for programs: `toolgate login`, `token`, `logout` and `connect`.
//!
//! A program has no browser, so a person signs in once for it (Pomerium's programmatic login), and
//! the token that stands for their session is kept in a file of theirs. A program then uses the
//! token as its API key ([`Command::Token`]), or talks to a forwarder on this machine that adds it
//! ([`Command::Connect`]).

mod callback;
mod connect;
mod key;
mod login;
mod logins;
mod origin;
pub(crate) mod secret;
mod site;
mod terminal;

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    http::{Http, HttpOptions},
    tap::TraceTap,
};

use self::{logins::Logins, origin::Origin, site::Site};
use crate::config::{ConfigError, Reach, Source, logins_directory};

/// What a person runs for their programs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Signs you in to a Toolgate behind Pomerium, in your browser, and keeps the token.
    Login {
        /// Toolgate's address, such as `https://chat.example.com`.
        url: Origin,
        /// Only prints the address to sign in at.
        #[arg(long)]
        no_browser: bool,
    },
    /// Prints the API key for SDKs, if the login still holds.
    Token {
        /// Toolgate's address; needed only if you are signed in to several.
        url: Option<Origin>,
    },
    /// Forgets a login. (Pomerium's session goes on until you sign out or it expires.)
    Logout {
        /// Toolgate's address.
        url: Origin,
    },
    /// Serves Toolgate's API on this machine: adds your login to each request and keeps the
    /// session fresh while requests are open.
    Connect {
        /// Toolgate's address.
        url: Origin,
        /// Where to listen; only this machine can.
        #[arg(long, default_value = "127.0.0.1:8484")]
        listen: SocketAddr,
        /// A file with what callers must send as API key, if others use this machine too; `-` is
        /// standard input. (An argument could be read by everybody on the machine.)
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// Why a command ended without doing what it is for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// Anything else, in words that say what to do.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// Runs a command to its end.
pub async fn run(command: Command, source: &dyn Source) -> Result<(), Error> {
    let logins = logins_directory(source).ok_or_else(|| {
        Error::failed("neither HOME nor XDG_CONFIG_HOME says where logins are to be kept")
    })?;
    let logins = Logins::of(logins);
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let reach = Reach::read(source)?;
    let way = Way {
        http: http(reach, &tasks, &stop)?,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let done = match command {
        Command::Login { url, no_browser } => {
            let show = if no_browser {
                login::Show::Address
            } else {
                login::Show::Browser
            };
            login::login(&way, &logins, &url, show).await
        }
        Command::Token { url } => login::token(&way, &logins, url).await,
        Command::Logout { url } => login::logout(&logins, &url),
        Command::Connect {
            url,
            listen,
            key_file,
        } => {
            let entrance = connect::Entrance { listen, key_file };
            connect::connect(&way, logins, url, entrance).await
        }
    };
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    done
}

/// The API key of the login that is kept for `origin`, if there is one.
pub(crate) fn stored_key(source: &dyn Source, origin: &str) -> Result<Option<SecretString>, Error> {
    let origin = origin.parse().map_err(Error::failed)?;
    let Some(directory) = logins_directory(source) else {
        return Ok(None);
    };
    let login = Logins::of(directory).get(&origin)?;
    Ok(login.map(|login| login.token.api_key()))
}

/// The way out, and what tasks live by.
struct Way {
    http: Http,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Way {
    fn site(&self, origin: &Origin) -> Site {
        Site::new(self.http.clone(), origin.clone())
    }
}

fn http(reach: Reach, tasks: &TaskTracker, stop: &CancellationToken) -> Result<Http, Error> {
    let options = HttpOptions {
        pomerium_addr: reach.pomerium_addr,
        ca_pem: reach.ca_pem,
        tap: std::sync::Arc::new(TraceTap),
        tasks: tasks.clone(),
        shutdown: stop.clone(),
    };
    Http::new(options).map_err(|error| Error::failed(error.to_string()))
}
