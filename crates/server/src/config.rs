//! Settings: read once at start, from the environment and `toolgate.toml`, and nowhere else.

mod reach;
mod source;

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use chat::{limits, policy::ApprovalMode, prompt};
use secrecy::SecretString;
use url::Url;

pub use reach::{Reach, logins_directory};
pub use source::{Layered, Source};

/// The longest duration that can be set: a week.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Everything an operator can set.
///
/// Each field is the environment variable of its name in capitals, with `TOOLGATE_` before it
/// unless said otherwise, and the key of its name in `toolgate.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the page and the API listen. `127.0.0.1:3000`.
    pub listen: SocketAddr,
    /// The origin that people open: the client route's `from`.
    pub public_url: Url,
    /// `host:port` to dial for Pomerium's route hosts when DNS would not lead there.
    pub pomerium_addr: Option<String>,
    /// A file of extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
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
    /// Where conversations are kept. `sqlite://toolgate.db`.
    pub database_url: String,
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
    "TOOLGATE_PUBLIC_URL",
    "TOOLGATE_POMERIUM_ADDR",
    "TOOLGATE_CA_FILE",
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
    "TOOLGATE_DATABASE_URL",
];

impl Config {
    /// Reads every setting from `source`.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigError> {
        let read = Reader { source };
        Ok(Self {
            listen: read.or(
                "TOOLGATE_LISTEN",
                "127.0.0.1:3000",
                "an address such as 0.0.0.0:3000",
            )?,
            public_url: public_url(&read)?,
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
            database_url: database_url(&read)?,
        })
    }

    /// The host of the public URL: the assertion's audience.
    pub fn public_host(&self) -> &str {
        self.public_url.host_str().unwrap_or_default()
    }
}

fn public_url(read: &Reader<'_>) -> Result<Url, ConfigError> {
    let key = "TOOLGATE_PUBLIC_URL";
    let Some(text) = read.text(key) else {
        return Err(invalid(
            key,
            "not set. Set it to the address people open, the `from` of Toolgate's route in \
             Pomerium, such as https://chat.example.com. (Standalone mode, without Pomerium, is \
             still to come.)",
        ));
    };
    let url = http_url(key, &text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(
            key,
            "must be an origin without path, such as https://chat.example.com",
        ));
    }
    Ok(url)
}

fn base_url(read: &Reader<'_>) -> Result<Url, ConfigError> {
    let key = "OPENAI_BASE_URL";
    let text = read
        .text(key)
        .unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
    http_url(key, &text)
}

fn http_url(key: &str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|e| invalid(key, format!("{text:?} is no URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid(
            key,
            format!("{text:?} must begin with https:// or http://"),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(key, "must not hold a user name or password"));
    }
    Ok(url)
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

/// Reads single values and says which key was wrong.
struct Reader<'a> {
    source: &'a dyn Source,
}

impl Reader<'_> {
    /// The value, trimmed; an empty one counts as not set.
    fn text(&self, key: &str) -> Option<String> {
        let value = self.source.get(key)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn or<T: FromStr>(&self, key: &str, default: &str, wanted: &str) -> Result<T, ConfigError> {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        text.parse()
            .map_err(|_| invalid(key, format!("{text:?} is not {wanted}")))
    }

    fn positive<T>(&self, key: &str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr + Default + PartialOrd,
    {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        match text.parse::<T>() {
            Ok(value) if value > T::default() => Ok(value),
            _ => Err(invalid(
                key,
                format!("{text:?} is not a whole number above 0"),
            )),
        }
    }

    fn duration(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        parse_duration(&text).ok_or_else(|| {
            invalid(
                key,
                format!(
                    "{text:?} is not a duration from 1ms to 168h, such as 500ms, 90s, 30m or 1h"
                ),
            )
        })
    }

    fn secret(&self, key: &str) -> Result<Option<SecretString>, ConfigError> {
        let file_key = format!("{key}_FILE");
        let value = match (self.text(key), self.text(&file_key)) {
            (Some(_), Some(_)) => return Err(invalid(key, format!("set as well as {file_key}"))),
            (Some(value), None) => value,
            (None, None) => return Ok(None),
            (None, Some(path)) => std::fs::read_to_string(&path)
                .map_err(|e| invalid(&file_key, format!("cannot read {path}: {e}")))?
                .trim()
                .to_owned(),
        };
        if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(invalid(
                key,
                "holds characters that cannot stand in a header",
            ));
        }
        Ok((!value.is_empty()).then(|| SecretString::from(value)))
    }

    fn pomerium_addr(&self) -> Result<Option<String>, ConfigError> {
        let key = "TOOLGATE_POMERIUM_ADDR";
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let port = text.rsplit_once(':').and_then(|(host, port)| {
            (!host.is_empty() && !host.contains('/'))
                .then_some(port)?
                .parse::<u16>()
                .ok()
        });
        match port {
            Some(1..) => Ok(Some(text)),
            Some(0) | None => Err(invalid(key, format!("{text:?} is not host:port"))),
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let duration = match unit.trim() {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    (!duration.is_zero() && duration <= LONGEST).then_some(duration)
}

fn invalid(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        problem: problem.into(),
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
        assert_eq!(config.public_host(), "chat.example.com");
    }

    #[test]
    fn without_a_public_url_the_error_says_what_to_do() {
        let none = HashMap::<String, String>::new();
        let error = Config::read(&none).unwrap_err().to_string();
        assert!(
            error.starts_with("TOOLGATE_PUBLIC_URL: not set."),
            "{error}"
        );
        assert!(error.contains("tandalone mode"), "{error}");
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

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600)] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
    }
}
