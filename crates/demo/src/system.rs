//! The whole system in one process, on loopback.
//!
//! ```text
//! browser ── http ──> stand-in ── http + TE ──> Toolgate ── http ──> model
//!                        ^                         │
//!                        └──────── TLS, HTTP/2 ────┘ (routes, MCP)
//!                        │
//!                        └── http ──> northwind, Notes
//! ```

mod data;
mod options;
mod parts;
mod routes;

use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use server::config::{Config, ConfigError};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::options::{Answers, Options, Port, Server};
use self::{
    data::Data,
    parts::{Ended, Part},
    routes::{NotesRoute, Routes},
};
use crate::{
    model::{self, Model},
    notes::{self, Notes},
    pomerium::{self, Listeners, Standin},
};

/// How long a part may take to end before it is left behind: Toolgate gives its running turns
/// 5 s.
const STOP: Duration = Duration::from_secs(8);
/// The host of the page; browsers know that names under `localhost` are this machine.
const CHAT_HOST: &str = "chat.localhost";
/// Questions that an empty conversation offers, of those that the script has an answer to.
const EXAMPLES: [&str; 4] = [
    "What were our sales by year?",
    "What notes do I have?",
    "Raise prices by 5 %",
    "Tell me a long story about a warehouse",
];

/// Ports tried for the page, the first included.
const PORTS_TRIED: usize = 100;

/// A running system. Dropping it without [`Demo::shutdown`] ends it too, but waits for nothing.
pub struct Demo {
    url: String,
    settings: HashMap<String, String>,
    data: Data,
    standin: Standin,
    model: Option<Model>,
    notes: Option<Notes>,
    toolgate: Part,
    neighbours: Part,
    ended: mpsc::Receiver<Ended>,
    _end_all: DropGuard,
}

/// Why the system did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket could not be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory of the data cannot be used.
    #[error("cannot use {}", path.display())]
    Data {
        /// The directory, or a file in it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The stand-in for Pomerium did not start.
    #[error("the stand-in for Pomerium did not start")]
    Pomerium(#[from] pomerium::Error),
    /// The scripted model did not start.
    #[error("the scripted model did not start")]
    Model(#[source] io::Error),
    /// Notes did not start.
    #[error("Notes did not start")]
    Notes(#[source] io::Error),
    /// A setting of Toolgate's is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The program cannot be told when to stop.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// A part does not answer.
    #[error("nothing answers at {address}")]
    NotReady {
        /// Where it should.
        address: SocketAddr,
        /// What happened instead.
        source: io::Error,
    },
    /// A part ended by itself.
    #[error("{part} ended by itself")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why, if it said so.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Demo {
    /// Starts every part and waits until northwind and Toolgate answer.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let http = bind_page(options.port).await?;
        let (tls, northwind_listener) = (bind(0).await?, bind(0).await?);
        let (page, northwind_addr) = (local(&http)?, local(&northwind_listener)?);
        let (toolgate_addr, toolgate_listener) = if let Some(elsewhere) = options.toolgate {
            (elsewhere, None)
        } else {
            let listener = bind(0).await?;
            (local(&listener)?, Some(listener))
        };
        let url = format!("http://{CHAT_HOST}:{}", page.port());
        let data = Data::prepare(options.data.as_deref())?;

        let all = CancellationToken::new();
        let (toolgate, neighbours) = (Part::new(&all), Part::new(&all));
        let end_all = all.drop_guard();
        let (tell, mut ended) = mpsc::channel(parts::MAX_ENDED);

        let notes = match &options.notes {
            None => None,
            Some(notes) => Some(start_notes(notes, page, &neighbours).await?),
        };
        let routes = Routes {
            page,
            toolgate: toolgate_addr,
            northwind: northwind_addr,
            servers: &options.servers,
            rules: &options.rules,
            notes: notes.as_ref().map(|notes| NotesRoute {
                address: notes.address(),
                client: notes.client(),
                rules: &options.notes_rules,
            }),
            answers: options.answers,
        };
        let standin = Standin::start(
            pomerium::Options {
                config: routes.yaml(),
                ..options.pomerium.clone()
            },
            Listeners { http, tls },
            neighbours.tracker(),
            &neighbours.shutdown(),
        )?;
        let database = options.northwind(data.path(), identity_of(&standin));
        let serving = northwind::serve(northwind_listener, database, neighbours.shutdown());
        neighbours.run("northwind", serving, tell.clone());
        let model = match options.scripted() {
            None => None,
            Some(scripted) => Some(scripted_model(scripted, &neighbours).await?),
        };

        let mut settings = options.settings;
        settings.extend(model.iter().flat_map(model_settings));
        if model.is_some() {
            suggest_examples(&mut settings);
        }
        settings.extend(own_settings(&url, &standin, &data)?);
        parts::ready(northwind_addr, &mut ended).await?;
        if let Some(listener) = toolgate_listener {
            let config = Config::read(&settings)?;
            // Nobody asks for its health here, and its port may be taken.
            let listeners = server::Listeners {
                public: listener,
                admin: None,
            };
            let shutdown = server::Shutdown::at_once(toolgate.shutdown());
            let serving = server::serve(config, listeners, shutdown);
            toolgate.run("Toolgate", serving, tell);
            parts::ready(toolgate_addr, &mut ended).await?;
        }
        Ok(Self {
            url,
            settings,
            data,
            standin,
            model,
            notes,
            toolgate,
            neighbours,
            ended,
            _end_all: end_all,
        })
    }

    /// Where the page is: `http://chat.localhost:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Toolgate's settings in this system, by the names of their environment variables. A key for
    /// the model may be among them.
    pub fn settings(&self) -> &HashMap<String, String> {
        &self.settings
    }

    /// The directory of the databases. A temporary one goes away with the system.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The stand-in for Pomerium.
    pub fn standin(&self) -> &Standin {
        &self.standin
    }

    /// The scripted model, unless the settings name another endpoint.
    pub fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// Notes, unless it was left out.
    pub fn notes(&self) -> Option<&Notes> {
        self.notes.as_ref()
    }

    /// Waits until a part ends that was not told to, which is always an error.
    pub async fn ended(&mut self) -> Error {
        parts::next_ended(&mut self.ended).await
    }

    /// Ends everything: Toolgate first, so that it can say goodbye to the others. Returns when
    /// every task has ended and temporary files are gone; a part that does not end is left
    /// behind after 8 s with a warning.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.toolgate.stop("Toolgate", STOP).await;
        self.neighbours.stop("the other parts", STOP).await;
        self.data.remove()
    }
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo")
            .field("url", &self.url)
            .field("data", &self.data)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

async fn scripted_model(options: model::Options, part: &Part) -> Result<Model, Error> {
    let listener = bind(0).await?;
    Model::start(options, listener, part.tracker(), part.shutdown()).map_err(Error::Model)
}

async fn start_notes(
    options: &notes::Options,
    page: SocketAddr,
    part: &Part,
) -> Result<Notes, Error> {
    let failed = |_| Error::Notes(io::Error::other("there are no random numbers"));
    let secret = notes::random_secret().map_err(failed)?;
    let client = routes::notes_client(page.port(), secret);
    let listener = bind(0).await?;
    Notes::start(
        options.clone(),
        client,
        listener,
        part.tracker(),
        part.shutdown(),
    )
    .map_err(Error::Notes)
}

/// Whose assertions northwind takes: the stand-in's, for northwind's own route.
fn identity_of(standin: &Standin) -> northwind::Pomerium {
    northwind::Pomerium {
        host: routes::DATABASE_HOST.to_owned(),
        jwks: None,
        address: Some(standin.tls_addr().to_string()),
        ca_pem: Some(standin.ca_pem().as_bytes().to_vec()),
    }
}

/// How Toolgate finds the scripted model.
fn model_settings(model: &Model) -> [(String, String); 2] {
    [
        ("OPENAI_BASE_URL".to_owned(), model.base_url()),
        ("TOOLGATE_MODEL".to_owned(), model.first_model().to_owned()),
    ]
}

/// Has the page suggest what the script answers, unless something else was asked for.
fn suggest_examples(settings: &mut HashMap<String, String>) {
    let examples = settings.entry("TOOLGATE_EXAMPLES".to_owned());
    examples.or_insert_with(|| EXAMPLES.join("\n"));
}

/// How Toolgate finds the stand-in and its own database.
fn own_settings(url: &str, standin: &Standin, data: &Data) -> Result<[(String, String); 4], Error> {
    Ok([
        ("TOOLGATE_PUBLIC_URL", url.to_owned()),
        ("TOOLGATE_POMERIUM_ADDR", standin.tls_addr().to_string()),
        ("TOOLGATE_CA_FILE", data.write_ca(standin.ca_pem())?),
        ("TOOLGATE_DATABASE_URL", data.sqlite_url()),
    ]
    .map(|(key, value)| (key.to_owned(), value)))
}

/// Binds the page's port, or the first free one from it on.
async fn bind_page(port: Port) -> Result<TcpListener, Error> {
    let (first, tries) = match port {
        Port::Exactly(port) => (port, 1),
        Port::From(port) => (port, PORTS_TRIED),
    };
    let mut result = bind(first).await;
    for port in (first..).take(tries).skip(1) {
        if result.is_ok() {
            break;
        }
        result = bind(port).await;
    }
    result
}

async fn bind(port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen {
            address: address.to_string(),
            source,
        })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Error> {
    let failed = |source| Error::Listen {
        address: "a free port".to_owned(),
        source,
    };
    listener.local_addr().map_err(failed)
}

#[cfg(test)]
mod tests;
