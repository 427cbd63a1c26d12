//! Single values: how they are written, and which key was wrong.

use std::{str::FromStr, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{ConfigError, Source};

/// The longest duration that can be set: a week.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// The longest age that can be set: ten years.
const OLDEST: Duration = Duration::from_hours(3650 * 24);

/// Questions that an empty conversation offers at most: more would be a list to read.
const EXAMPLES: usize = 6;

/// Bytes of such a question: what a button holds.
const EXAMPLE_BYTES: usize = 200;

/// Reads single values and says which key was wrong.
pub(super) struct Reader<'a> {
    pub(super) source: &'a dyn Source,
}

impl Reader<'_> {
    /// The value, trimmed; an empty one counts as not set.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let value = self.source.get(key)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(super) fn or<T: FromStr>(
        &self,
        key: &str,
        default: &str,
        wanted: &str,
    ) -> Result<T, ConfigError> {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        text.parse()
            .map_err(|_| invalid(key, format!("{text:?} is not {wanted}")))
    }

    pub(super) fn positive<T>(&self, key: &str, default: T) -> Result<T, ConfigError>
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

    pub(super) fn duration(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        let duration = self.duration_or_zero(key, default)?;
        if duration.is_zero() {
            return Err(invalid(key, "must be at least 1ms"));
        }
        Ok(duration)
    }

    pub(super) fn duration_or_zero(
        &self,
        key: &str,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        let wanted = "is not a duration up to 168h, such as 500ms, 90s, 30m or 1h";
        let duration = parse_duration(&text).filter(|duration| *duration <= LONGEST);
        duration.ok_or_else(|| invalid(key, format!("{text:?} {wanted}")))
    }

    /// How old something may get: durations, and days.
    pub(super) fn age(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        let age = parse_duration(&text).filter(|age| !age.is_zero() && *age <= OLDEST);
        let wanted = "is not an age from 1s to 3650d, such as 12h or 30d";
        age.ok_or_else(|| invalid(key, format!("{text:?} {wanted}")))
    }

    /// A number of bytes above 0.
    pub(super) fn bytes(&self, key: &str, default: u64) -> Result<u64, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        let bytes = parse_bytes(&text).filter(|bytes| *bytes > 0);
        let wanted = "is not a size, such as 512MiB, 2GiB or a number of bytes";
        bytes.ok_or_else(|| invalid(key, format!("{text:?} {wanted}")))
    }

    pub(super) fn secret(&self, key: &str) -> Result<Option<SecretString>, ConfigError> {
        let file_key = format!("{key}_FILE");
        let value = match (self.text(key), self.text(&file_key)) {
            (Some(_), Some(_)) => return Err(invalid(key, format!("set as well as {file_key}"))),
            (Some(value), None) => value,
            (None, None) => return Ok(None),
            (None, Some(path)) => secret_file(&file_key, &path)?,
        };
        secret(key, &value)
    }

    /// Short texts, one a line; on one line with `|` between them.
    pub(super) fn examples(&self) -> Result<Vec<String>, ConfigError> {
        let key = "TOOLGATE_EXAMPLES";
        let text = self.source.get(key).unwrap_or_default();
        let between = if text.contains('\n') { '\n' } else { '|' };
        let texts = text.split(between).map(str::trim);
        let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
        if texts.len() > EXAMPLES {
            let problem = format!("{} are more than {EXAMPLES} questions", texts.len());
            return Err(invalid(key, problem));
        }
        if let Some(long) = texts.iter().find(|text| text.len() > EXAMPLE_BYTES) {
            let problem = format!("{long:?} is longer than {EXAMPLE_BYTES} bytes");
            return Err(invalid(key, problem));
        }
        Ok(texts.into_iter().map(str::to_owned).collect())
    }

    pub(super) fn pomerium_addr(&self) -> Result<Option<String>, ConfigError> {
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

/// What a file holds that a secret is kept in.
pub(super) fn secret_file(key: &str, path: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|e| invalid(key, format!("cannot read {path}: {e}")))
}

/// A secret that can be sent as a header; an empty one counts as none.
pub(super) fn secret(key: &str, value: &str) -> Result<Option<SecretString>, ConfigError> {
    let value = value.trim();
    if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(invalid(
            key,
            "holds characters that cannot stand in a header",
        ));
    }
    Ok((!value.is_empty()).then(|| SecretString::from(value)))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(24 * 3600)?)),
        _ => None,
    }
}

/// A size: binary units (IEC 80000-13), and the decimal ones.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

pub(super) fn invalid(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        problem: problem.into(),
    }
}

/// An address of HTTP, without credentials in it.
pub(super) fn http_url(key: &str, text: &str) -> Result<Url, ConfigError> {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn examples_stand_on_lines_or_between_bars() {
        let read = |text: &str| {
            let source = HashMap::from([("TOOLGATE_EXAMPLES".to_owned(), text.to_owned())]);
            let examples = Reader { source: &source }.examples();
            examples.map_err(|error| error.to_string())
        };
        assert_eq!(read("").unwrap(), [""; 0]);
        assert_eq!(read("What?| Who?|").unwrap(), ["What?", "Who?"]);
        assert_eq!(read("a|b\n\n c \n").unwrap(), ["a|b", "c"]);
        assert!(read("1|2|3|4|5|6|7").unwrap_err().contains("more than 6"));
        let long = "x".repeat(EXAMPLE_BYTES + 1);
        assert!(read(&long).unwrap_err().starts_with("TOOLGATE_EXAMPLES: "));
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
