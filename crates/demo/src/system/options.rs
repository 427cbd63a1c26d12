//! What can be chosen about the system.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{model, notes, pomerium};

/// Settings that name a model endpoint: with one of them set, there is no scripted model.
const ENDPOINT_KEYS: [&str; 3] = ["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_API_KEY_FILE"];

/// How the system is put together.
#[derive(Clone, Default)]
pub struct Options {
    /// The page's port.
    pub port: Port,
    /// The directory of the databases; `None` makes a temporary one.
    pub data: Option<PathBuf>,
    /// The user's own SQLite file for northwind to serve; `None` serves a demo database.
    pub database: Option<PathBuf>,
    /// Where northwind writes the calls it received; `None` keeps no journal.
    pub journal: Option<PathBuf>,
    /// Settings of Toolgate's, by the names of their environment variables. What the system
    /// decides itself (addresses, files, the scripted model) is put over them.
    pub settings: HashMap<String, String>,
    /// Where a Toolgate that somebody else runs listens, with [`super::Demo::settings`]; `None`
    /// runs one in the system itself.
    pub toolgate: Option<SocketAddr>,
    /// The scripted model, used unless the settings name an endpoint.
    pub model: model::Options,
    /// The stand-in; its routes are the system's own.
    pub pomerium: pomerium::Options,
    /// MCP servers behind the stand-in beside northwind.
    pub servers: Vec<Server>,
    /// Rules for northwind's route beside its own, each one in Pomerium's policy language on one
    /// line: `deny: {or: [{mcp_tool: {is: write_query}}]}`.
    pub rules: Vec<String>,
    /// Notes, an MCP server that wants an account of the user's to be connected; `None` leaves it
    /// out.
    pub notes: Option<notes::Options>,
    /// Rules for Notes' route beside its own, as [`Self::rules`].
    pub notes_rules: Vec<String>,
    /// How long the stand-in lets Toolgate answer.
    pub answers: Answers,
}

/// How long Pomerium lets an upstream answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// As long as it takes: the route has `timeout: 0s` and `idle_timeout: 0s`.
    #[default]
    Whole,
    /// 30 s, as on a route that says nothing of it.
    Cut,
}

/// An MCP server that the stand-in has a route to, for everybody at example.com.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name of the route; in lower case, before `.localhost`, it is also its host.
    pub name: String,
    /// Where it is: `http://127.0.0.1:9000/mcp`.
    pub upstream: String,
}

/// Which port the page is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one or the next free one.
    From(u16),
    /// This one and no other; 0 is any free one.
    Exactly(u16),
}

impl Default for Port {
    fn default() -> Self {
        Self::From(8000)
    }
}

impl Options {
    /// Whether Toolgate will ask the scripted model.
    pub fn is_scripted(&self) -> bool {
        let set = |key: &&str| {
            self.settings
                .get(*key)
                .is_some_and(|value| !value.trim().is_empty())
        };
        !ENDPOINT_KEYS.iter().any(set)
    }

    pub(super) fn scripted(&self) -> Option<model::Options> {
        let database = match &self.database {
            Some(_) => model::Database::Unknown,
            None => self.model.database,
        };
        self.is_scripted().then(|| model::Options {
            database,
            ..self.model.clone()
        })
    }

    /// northwind, which takes the word of `pomerium` about who asks.
    pub(super) fn northwind(
        &self,
        data: &Path,
        pomerium: northwind::Pomerium,
    ) -> northwind::Options {
        let source = match &self.database {
            Some(file) => northwind::Source::File(file.clone()),
            None => northwind::Source::Demo(data.join("northwind.db")),
        };
        let mut options = northwind::Options::new(source);
        options.journal.clone_from(&self.journal);
        options.pomerium = Some(pomerium);
        options
    }
}

impl fmt::Debug for Options {
    /// Leaves out the settings' values: keys are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("port", &self.port)
            .field("data", &self.data)
            .field("database", &self.database)
            .field("journal", &self.journal)
            .field("settings", &self.settings.keys())
            .field("toolgate", &self.toolgate)
            .field("model", &self.model)
            .field("pomerium", &self.pomerium)
            .field("servers", &self.servers)
            .field("rules", &self.rules)
            .field("notes", &self.notes)
            .field("notes_rules", &self.notes_rules)
            .field("answers", &self.answers)
            .finish()
    }
}
