//! A mapping of the configuration that knows where it stands, for messages that name the place.

use serde_json::{Map, Value};
use url::Url;

/// Why a configuration is refused: one line that names the place and the key.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct ConfigError {
    at: String,
    problem: String,
}

impl ConfigError {
    pub(in crate::pomerium) fn new(at: &str, problem: &str) -> Self {
        Self {
            at: at.to_owned(),
            problem: problem.to_owned(),
        }
    }
}

/// A mapping and its place in the file.
pub(in crate::pomerium) struct Table<'a> {
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Table<'a> {
    /// The mapping at `at`.
    pub(in crate::pomerium) fn of(at: &str, value: &'a Value) -> Result<Self, ConfigError> {
        let map = value
            .as_object()
            .ok_or_else(|| ConfigError::new(at, "must be a mapping"))?;
        Ok(Self {
            at: at.to_owned(),
            map,
        })
    }

    /// Refuses the first key that is not in `known`.
    pub(in crate::pomerium) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        let Some(key) = self.map.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let problem = if known.is_empty() {
            format!("key `{key}` is not supported by the stand-in; it must be empty")
        } else {
            let known = known.join(", ");
            format!("key `{key}` is not supported by the stand-in (supported: {known})")
        };
        Err(ConfigError::new(&self.at, &problem))
    }

    /// The only entry of a mapping that must have exactly one: its key, its place, its value.
    pub(in crate::pomerium) fn single(
        &self,
        what: &str,
    ) -> Result<(&'a str, String, &'a Value), ConfigError> {
        let mut entries = self.map.iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Ok((key, self.place(key), value)),
            _ => Err(ConfigError::new(
                &self.at,
                &format!("must name exactly one {what}"),
            )),
        }
    }

    /// A value with its place; an absent key and `null` are the same.
    pub(in crate::pomerium) fn value(&self, key: &str) -> Option<(String, &'a Value)> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some((self.place(key), value))
    }

    /// A mapping.
    pub(in crate::pomerium) fn table(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        self.value(key)
            .map(|(at, value)| Table::of(&at, value))
            .transpose()
    }

    /// A list; absent means empty.
    pub(in crate::pomerium) fn list(&self, key: &str) -> Result<&'a [Value], ConfigError> {
        match self.value(key) {
            None => Ok(&[]),
            Some((_, Value::Array(list))) => Ok(list),
            Some((at, _)) => Err(ConfigError::new(&at, "must be a list")),
        }
    }

    /// A string.
    pub(in crate::pomerium) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((at, _)) => Err(ConfigError::new(&at, "must be a string")),
        }
    }

    /// A list of strings.
    pub(in crate::pomerium) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some((at, value)) = self.value(key) else {
            return Ok(None);
        };
        let texts = value.as_array().and_then(|list| {
            list.iter()
                .map(|one| one.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        match texts {
            Some(texts) => Ok(Some(texts)),
            None => Err(ConfigError::new(&at, "must be a list of strings")),
        }
    }

    /// A truth value; absent means no.
    pub(in crate::pomerium) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.value(key) {
            None => Ok(false),
            Some((_, Value::Bool(flag))) => Ok(*flag),
            Some((at, _)) => Err(ConfigError::new(&at, "must be true or false")),
        }
    }

    /// A whole number of 32 bits.
    pub(in crate::pomerium) fn number(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        let Some((at, value)) = self.value(key) else {
            return Ok(None);
        };
        match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(ConfigError::new(&at, "must be a whole number below 2^32")),
        }
    }

    /// Checks a duration in Go's notation (`0s`, `1m30s`). The stand-in cuts no response, so the
    /// length itself is of no use to it.
    pub(in crate::pomerium) fn duration(&self, key: &str) -> Result<(), ConfigError> {
        match self.text(key)? {
            Some(text) if !is_duration(text) => Err(ConfigError::new(
                &self.place(key),
                "must be a duration such as 0s or 1m30s",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A URL that is an origin: scheme, host, port and nothing else.
    pub(in crate::pomerium) fn origin(&self, key: &str) -> Result<Url, ConfigError> {
        let url = self.url(key, &["http", "https"])?;
        if url.path() != "/" || url.host_str().is_some_and(|host| host.contains('*')) {
            return Err(ConfigError::new(
                &self.place(key),
                "must have one host and no path; the stand-in routes by host alone",
            ));
        }
        Ok(url)
    }

    /// A URL of an upstream: plain HTTP, with or without a path.
    pub(in crate::pomerium) fn upstream(&self, key: &str) -> Result<Url, ConfigError> {
        self.url(key, &["http"])
    }

    fn url(&self, key: &str, schemes: &[&str]) -> Result<Url, ConfigError> {
        let refuse = |problem: &str| ConfigError::new(&self.place(key), problem);
        let Some(text) = self.text(key)? else {
            return Err(refuse("is missing"));
        };
        let url = Url::parse(text).map_err(|error| refuse(&format!("is no URL: {error}")))?;
        if !schemes.contains(&url.scheme()) || url.host_str().is_none() {
            return Err(refuse(&format!(
                "must be a URL with {}",
                schemes.join(" or ")
            )));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(refuse("must have no user, query or fragment"));
        }
        Ok(url)
    }

    fn place(&self, key: &str) -> String {
        format!("{}.{key}", self.at)
    }
}

/// Numbers, each with a unit; or a bare `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut parts = 0_usize;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let (number, _) = rest.split_at(rest.len() - unit.len());
        let Some(after) = ["ms", "us", "ns", "h", "m", "s"]
            .iter()
            .find_map(|name| unit.strip_prefix(name))
        else {
            return text == "0";
        };
        if number.parse::<f64>().is_err() {
            return false;
        }
        parts += 1;
        rest = after;
    }
    parts > 0
}
