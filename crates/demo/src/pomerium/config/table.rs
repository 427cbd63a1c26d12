//! A mapping of the configuration that knows where it stands, for messages that name the place.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

/// Units of time and their seconds; those that begin alike stand longest first.
const UNITS: [(&str, f64); 6] = [
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

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
        self.only_beside(known, &[])
    }

    /// Refuses the first key that is neither in `known` nor in `passed_over`.
    pub(in crate::pomerium) fn only_beside(
        &self,
        known: &[&str],
        passed_over: &[&str],
    ) -> Result<(), ConfigError> {
        let is_strange = |key: &str| !known.contains(&key) && !passed_over.contains(&key);
        let Some(key) = self.map.keys().find(|key| is_strange(key)) else {
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

    /// Every entry, of which each must be a string.
    pub(in crate::pomerium) fn all_texts(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let text = |(key, value): (&String, &Value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => Err(ConfigError::new(&self.place(key), "must be a string")),
        };
        self.map.iter().map(text).collect()
    }

    /// A truth value.
    pub(in crate::pomerium) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(*flag)),
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

    /// A length of time in Go's notation (`1m30s`); the inner `None` is `0s`, which Pomerium takes
    /// for "without end".
    #[expect(
        clippy::option_option,
        reason = "absent and without end are different things"
    )]
    pub(in crate::pomerium) fn duration(
        &self,
        key: &str,
    ) -> Result<Option<Option<Duration>>, ConfigError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match read_duration(text) {
            Some(length) => Ok(Some(Some(length).filter(|length| !length.is_zero()))),
            None => Err(ConfigError::new(
                &self.place(key),
                "must be a duration such as 0s or 1m30s",
            )),
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

    /// A URL of an upstream, with or without a path.
    pub(in crate::pomerium) fn upstream(&self, key: &str) -> Result<Url, ConfigError> {
        self.url(key, &["http", "https"])
    }

    /// A URL of an authorization server.
    pub(in crate::pomerium) fn endpoint(&self, key: &str) -> Result<Url, ConfigError> {
        self.url(key, &["http", "https"])
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

/// Numbers, each with a unit, added up; or a bare `0`.
fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let (number, _) = rest.split_at(rest.len() - unit.len());
        let (after, seconds) = UNITS
            .iter()
            .find_map(|(name, seconds)| Some((unit.strip_prefix(name)?, seconds)))?;
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_those_of_go() {
        for (text, millis) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("soon", None),
            ("1e400s", None),
        ] {
            assert_eq!(
                read_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
