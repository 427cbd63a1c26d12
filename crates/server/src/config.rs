//! Settings: read once at start, from the environment and `toolgate.toml`, and nowhere else.

mod reach;
mod reader;
mod servers;
mod source;
mod traffic;
#[cfg(test)]
mod written;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chat::{limits, policy::ApprovalMode, prompt};
use secrecy::SecretString;
use url::Url;

pub use reach::{Reach, logins_directory};
use reader::{Reader, http_url, invalid};
pub use servers::ConfiguredServer;
pub(crate) use servers::TELL_APART;
pub use source::{Layered, Source, unknown_in_environment};
pub use traffic::{TrafficMode, TrafficSettings};

/// Everything an operator can set.
///
/// Each field is the environment variable of its name in capitals, with `TOOLGATE_` before it
/// unless said otherwise, and the key of its name in `toolgate.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the page and the API listen. `127.0.0.1:3000`.
    pub listen: SocketAddr,
    /// Where `/livez` and `/readyz` listen, and never through Pomerium. `127.0.0.1:3001`.
    pub admin_listen: SocketAddr,
    /// The origin that people open: the client route's `from`. Without it Toolgate stands alone:
    /// it serves one person, on this machine.
    pub public_url: Option<Url>,
    /// `host:port` to dial for Pomerium's route hosts when DNS would not lead there.
    pub pomerium_addr: Option<String>,
    /// A file of extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// `TOOLGATE_MCP_SERVERS` and the tables `[servers.NAME]`: servers beside those that Pomerium
    /// lists.
    pub servers: Vec<ConfiguredServer>,
    /// The largest MCP request sent, bytes. 1,048,576; at most the smallest `max_request_bytes`
    /// of the Pomerium routes, or tool policy would not see the request.
    pub mcp_max_request_bytes: usize,
    /// `OPENAI_BASE_URL`: the model endpoint. `https://api.openai.com/v1`.
    pub openai_base_url: Url,
    /// `OPENAI_API_KEY` or `OPENAI_API_KEY_FILE`; goes to the model endpoint and nowhere else.
    pub openai_api_key: Option<SecretString>,
    /// The model that answers; the endpoint's first when not set.
    pub model: Option<String>,
    /// What the model is told before the conversation.
    pub system_prompt: String,
    /// When a person is asked before a call. `unsafe`.
    pub approval: ApprovalMode,
    /// Turns of one user running at once. 4.
    pub max_turns_per_user: usize,
    /// Turns of all users running at once. 256.
    pub max_turns: usize,
    /// Model rounds of a turn. 32.
    pub max_rounds: u32,
    /// How long a call may be silent. 120 s.
    pub call_timeout: Duration,
    /// How long a call may take in all. 30 min.
    pub call_max: Duration,
    /// How long a model round may take to its first byte. 300 s.
    pub round_first_byte: Duration,
    /// How long a model round may be silent after that. 120 s.
    pub round_idle: Duration,
    /// Bytes of a result that the model is shown. 49,152.
    pub result_shown_bytes: usize,
    /// How long Pomerium's External Tokens live; only tests have reason to change it. 300 s.
    pub token_life: Duration,
    /// How long running turns go on after SIGTERM before they are put down; 0 is not at all. 25 s.
    pub drain: Duration,
    /// Questions that an empty conversation offers; none: some about the user's servers.
    pub examples: Vec<String>,
    /// Where conversations are kept. `sqlite://toolgate.db`.
    pub database_url: String,
    /// What of the traffic is recorded, and how long it is kept.
    pub traffic: TrafficSettings,
}

/// A setting that stops the start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that cannot be used.
    #[error("{key}: {problem}")]
    Invalid {
        /// The setting.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The settings file cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The keys there are, as environment variables.
pub const KEYS: &[&str] = &[
    "TOOLGATE_LISTEN",
    "TOOLGATE_ADMIN_LISTEN",
    "TOOLGATE_PUBLIC_URL",
    "TOOLGATE_POMERIUM_ADDR",
    "TOOLGATE_CA_FILE",
    "TOOLGATE_MCP_SERVERS",
    "TOOLGATE_MCP_MAX_REQUEST_BYTES",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_API_KEY_FILE",
    "TOOLGATE_MODEL",
    "TOOLGATE_SYSTEM_PROMPT",
    "TOOLGATE_APPROVAL",
    "TOOLGATE_MAX_TURNS_PER_USER",
    "TOOLGATE_MAX_TURNS",
    "TOOLGATE_MAX_ROUNDS",
    "TOOLGATE_CALL_TIMEOUT",
    "TOOLGATE_CALL_MAX",
    "TOOLGATE_ROUND_FIRST_BYTE",
    "TOOLGATE_ROUND_IDLE",
    "TOOLGATE_RESULT_SHOWN_BYTES",
    "TOOLGATE_TOKEN_LIFE",
    "TOOLGATE_DRAIN",
    "TOOLGATE_EXAMPLES",
    "TOOLGATE_DATABASE_URL",
    "TOOLGATE_TRAFFIC",
    "TOOLGATE_TRAFFIC_MAX_AGE",
    "TOOLGATE_TRAFFIC_MAX_BYTES",
];

impl Config {
    /// Reads every setting from `source`.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigError> {
        let read = Reader { source };
        let public_url = public_url(&read)?;
        let servers = servers::read(&read, public_url.as_ref())?;
        Ok(Self {
            listen: listen(&read, public_url.as_ref())?,
            admin_listen: admin_listen(source)?,
            traffic: traffic::read(&read, &servers)?,
            servers,
            public_url,
            pomerium_addr: read.pomerium_addr()?,
            ca_file: read.text("TOOLGATE_CA_FILE").map(PathBuf::from),
            mcp_max_request_bytes: read.positive("TOOLGATE_MCP_MAX_REQUEST_BYTES", 1 << 20)?,
            openai_base_url: base_url(&read)?,
            openai_api_key: read.secret("OPENAI_API_KEY")?,
            model: read.text("TOOLGATE_MODEL"),
            system_prompt: read
                .text("TOOLGATE_SYSTEM_PROMPT")
                .unwrap_or_else(|| prompt::SYSTEM_PROMPT.to_owned()),
            approval: approval(&read)?,
            max_turns_per_user: read.positive("TOOLGATE_MAX_TURNS_PER_USER", 4)?,
            max_turns: read.positive("TOOLGATE_MAX_TURNS", 256)?,
            max_rounds: read.positive("TOOLGATE_MAX_ROUNDS", 32)?,
            call_timeout: read.duration("TOOLGATE_CALL_TIMEOUT", Duration::from_mins(2))?,
            call_max: read.duration("TOOLGATE_CALL_MAX", Duration::from_mins(30))?,
            round_first_byte: read.duration("TOOLGATE_ROUND_FIRST_BYTE", Duration::from_mins(5))?,
            round_idle: read.duration("TOOLGATE_ROUND_IDLE", Duration::from_mins(2))?,
            result_shown_bytes: read
                .positive("TOOLGATE_RESULT_SHOWN_BYTES", limits::RESULT_SHOWN_BYTES)?,
            token_life: read.duration("TOOLGATE_TOKEN_LIFE", Duration::from_mins(5))?,
            drain: read.duration_or_zero("TOOLGATE_DRAIN", Duration::from_secs(25))?,
            examples: read.examples()?,
            database_url: database_url(&read)?,
        })
    }

    /// The host of the public URL, if there is one: the assertion's audience.
    pub fn public_host(&self) -> Option<&str> {
        self.public_url.as_ref()?.host_str()
    }
}

/// Where the admin port listens: all that `toolgate healthcheck` needs to know.
pub fn admin_listen(source: &dyn Source) -> Result<SocketAddr, ConfigError> {
    let wanted = "an address such as 127.0.0.1:3001";
    Reader { source }.or("TOOLGATE_ADMIN_LISTEN", "127.0.0.1:3001", wanted)
}

fn listen(read: &Reader<'_>, public_url: Option<&Url>) -> Result<SocketAddr, ConfigError> {
    let key = "TOOLGATE_LISTEN";
    let wanted = "an address such as 0.0.0.0:3000";
    let address: SocketAddr = read.or(key, "127.0.0.1:3000", wanted)?;
    if public_url.is_none() && !address.ip().is_loopback() {
        let problem = format!(
            "{address} can be reached from other machines, but without TOOLGATE_PUBLIC_URL \
             Toolgate serves whoever reaches it as its one user. Set TOOLGATE_PUBLIC_URL to the \
             `from` of Toolgate's route in Pomerium, or listen on 127.0.0.1."
        );
        return Err(invalid(key, problem));
    }
    Ok(address)
}

fn public_url(read: &Reader<'_>) -> Result<Option<Url>, ConfigError> {
    let key = "TOOLGATE_PUBLIC_URL";
    let Some(text) = read.text(key) else {
        if read.text("TOOLGATE_POMERIUM_ADDR").is_some() {
            return Err(invalid(
                key,
                "not set, though TOOLGATE_POMERIUM_ADDR is. Set it to the address people open, \
                 the `from` of Toolgate's route in Pomerium, such as https://chat.example.com.",
            ));
        }
        return Ok(None);
    };
    let url = http_url(key, &text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(
            key,
            "must be an origin without path, such as https://chat.example.com",
        ));
    }
    Ok(Some(url))
}

fn base_url(read: &Reader<'_>) -> Result<Url, ConfigError> {
    let key = "OPENAI_BASE_URL";
    let text = read
        .text(key)
        .unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
    http_url(key, &text)
}

fn approval(read: &Reader<'_>) -> Result<ApprovalMode, ConfigError> {
    let key = "TOOLGATE_APPROVAL";
    match read.text(key).as_deref() {
        None | Some("unsafe") => Ok(ApprovalMode::Unsafe),
        Some("never") => Ok(ApprovalMode::Never),
        Some("always") => Ok(ApprovalMode::Always),
        Some(other) => Err(invalid(
            key,
            format!("{other:?} is none of `never`, `unsafe`, `always`"),
        )),
    }
}

fn database_url(read: &Reader<'_>) -> Result<String, ConfigError> {
    let key = "TOOLGATE_DATABASE_URL";
    let url = read
        .text(key)
        .unwrap_or_else(|| "sqlite://toolgate.db".to_owned());
    if url.starts_with("sqlite:") {
        Ok(url)
    } else {
        let scheme = url.split(':').next().unwrap_or_default();
        Err(invalid(
            key,
            format!("`{scheme}:` is not supported; use sqlite://FILE"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let mut map: HashMap<String, String> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        map.entry("TOOLGATE_PUBLIC_URL".to_owned())
            .or_insert("https://chat.example.com".to_owned());
        Config::read(&map).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(config.openai_base_url.as_str(), "https://api.openai.com/v1");
        assert_eq!(config.approval, ApprovalMode::Unsafe);
        assert_eq!(config.database_url, "sqlite://toolgate.db");
        assert_eq!(config.public_host(), Some("chat.example.com"));
        assert_eq!(config.admin_listen.to_string(), "127.0.0.1:3001");
        assert_eq!(config.drain, Duration::from_secs(25));
        let drain = read(&[("TOOLGATE_DRAIN", "0s")]).unwrap().drain;
        assert_eq!(drain, Duration::ZERO);
    }

    fn alone(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let map: HashMap<String, String> = pairs.collect();
        Config::read(&map).map_err(|e| e.to_string())
    }

    #[test]
    fn without_a_public_url_it_listens_to_this_machine_only() {
        for beyond in ["0.0.0.0:3000", "[::]:3000", "192.168.1.2:80"] {
            let error = alone(&[("TOOLGATE_LISTEN", beyond)]).map(|_| ());
            let error = error.unwrap_err();
            assert!(error.starts_with("TOOLGATE_LISTEN: "), "{error}");
            assert!(error.contains("TOOLGATE_PUBLIC_URL"), "{error}");
        }
        let config = alone(&[("TOOLGATE_LISTEN", "[::1]:3000")]).unwrap();
        assert_eq!(config.public_url, None);

        let forgotten = alone(&[("TOOLGATE_POMERIUM_ADDR", "pomerium:443")]).map(|_| ());
        let error = forgotten.unwrap_err();
        assert!(error.starts_with("TOOLGATE_PUBLIC_URL: not set"), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key() {
        for (key, value) in [
            ("TOOLGATE_LISTEN", "3000"),
            ("TOOLGATE_PUBLIC_URL", "chat.example.com"),
            ("TOOLGATE_PUBLIC_URL", "https://chat.example.com/x"),
            ("TOOLGATE_POMERIUM_ADDR", "pomerium"),
            ("TOOLGATE_MCP_MAX_REQUEST_BYTES", "1 MB"),
            ("OPENAI_BASE_URL", "ftp://x"),
            ("OPENAI_BASE_URL", "https://user:pw@x/v1"),
            ("OPENAI_API_KEY", "a\nb"),
            ("TOOLGATE_APPROVAL", "sometimes"),
            ("TOOLGATE_MAX_TURNS", "0"),
            ("TOOLGATE_MAX_ROUNDS", "-1"),
            ("TOOLGATE_CALL_TIMEOUT", "0s"),
            ("TOOLGATE_CALL_TIMEOUT", "2 fortnights"),
            ("TOOLGATE_DATABASE_URL", "postgres://x"),
        ] {
            let error = read(&[(key, value)]).map(|_| ()).unwrap_err();
            assert!(
                error.starts_with(&format!("{key}: ")),
                "{key}={value}: {error}"
            );
        }
    }

    #[test]
    fn a_secret_never_shows_in_debug() {
        let config = read(&[("OPENAI_API_KEY", "sk-very-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
