//! Where settings come from.

use std::{collections::HashMap, path::Path};

use super::{ConfigError, KEYS};

/// Something that knows settings by the name of their environment variable.
pub trait Source {
    /// The value of `key`, if it is set.
    fn get(&self, key: &str) -> Option<String>;

    /// A table of the settings file: `[servers.NAME]` is in `servers`.
    fn table(&self, _name: &str) -> Option<&toml::Table> {
        None
    }
}

/// The variables of the environment that look like settings of Toolgate's and are none.
pub fn unknown_in_environment() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> = names.filter(|name| is_unknown(name)).collect();
    unknown.sort();
    unknown
}

fn is_unknown(name: &str) -> bool {
    name.starts_with("TOOLGATE_") && !KEYS.contains(&name)
}

/// The tables of the settings file, and how they begin.
const TABLES: &[(&str, &str)] = &[
    ("servers", "[servers.NAME]"),
    ("traffic_servers", "[traffic_servers]"),
];

/// The keys that can be arrays of strings in the settings file.
const LISTS: &[&str] = &["TOOLGATE_EXAMPLES"];

impl<S: std::hash::BuildHasher> Source for HashMap<String, String, S> {
    fn get(&self, key: &str) -> Option<String> {
        HashMap::get(self, key).cloned()
    }
}

/// The process environment over a settings file: what the environment says wins.
#[derive(Debug, Default)]
pub struct Layered {
    file: HashMap<String, String>,
    tables: toml::Table,
}

impl Layered {
    /// The environment, over `file` if there is one.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| file_error(path, format!("cannot be read: {e}")))?;
        parse(&text).map_err(|problem| file_error(path, problem))
    }
}

impl Source for Layered {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    fn get(&self, key: &str) -> Option<String> {
        std::env::var(key)
            .ok()
            .or_else(|| self.file.get(key).cloned())
    }

    fn table(&self, name: &str) -> Option<&toml::Table> {
        self.tables.get(name)?.as_table()
    }
}

/// The settings of a file, by environment variable, and its tables.
fn parse(text: &str) -> Result<Layered, String> {
    let mut settings: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| not_toml(text, &e))?;
    let mut tables = toml::Table::new();
    for (name, begins) in TABLES {
        match settings.remove(*name) {
            None => {}
            Some(table @ toml::Value::Table(_)) => drop(tables.insert((*name).to_owned(), table)),
            Some(_) => return Err(format!("`{name}` must be a table, as in {begins}")),
        }
    }
    let file: Result<_, String> = settings
        .into_iter()
        .map(|(name, value)| {
            let key = KEYS
                .iter()
                .find(|key| file_name(key) == name)
                .ok_or_else(|| format!("unknown setting `{name}`"))?;
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Array(texts) if LISTS.contains(key) => lines(&name, texts)?,
                toml::Value::Boolean(_)
                | toml::Value::Float(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_)
                | toml::Value::Table(_) => {
                    return Err(format!("`{name}` must be a string or a whole number"));
                }
            };
            Ok(((*key).to_owned(), value))
        })
        .collect();
    Ok(Layered {
        file: file?,
        tables,
    })
}

/// The strings of an array, as a variable of the environment has them: each on a line.
fn lines(name: &str, texts: Vec<toml::Value>) -> Result<String, String> {
    let mut lines = String::new();
    for text in texts {
        let toml::Value::String(text) = text else {
            return Err(format!("`{name}` must be an array of strings"));
        };
        lines.push_str(&text.replace('\n', " "));
        lines.push('\n');
    }
    Ok(lines)
}

/// What is wrong with the text, on one line.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(0, |before| before.lines().count().max(1));
    format!(
        "line {line} is not TOML: {}",
        error.message().replace('\n', " ")
    )
}

/// A key as it stands in the file: `TOOLGATE_LISTEN` is `listen`, `OPENAI_BASE_URL` is
/// `openai_base_url`.
fn file_name(key: &str) -> String {
    key.strip_prefix("TOOLGATE_").unwrap_or(key).to_lowercase()
}

fn file_error(path: &Path, problem: String) -> ConfigError {
    ConfigError::File {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_settings_without_prefix() {
        let text = "listen = \"0.0.0.0:80\"\nmax_turns = 7\nopenai_base_url = 'http://x'";
        let file = parse(text).unwrap().file;
        assert_eq!(file["TOOLGATE_LISTEN"], "0.0.0.0:80");
        assert_eq!(file["TOOLGATE_MAX_TURNS"], "7");
        assert_eq!(file["OPENAI_BASE_URL"], "http://x");
    }

    #[test]
    fn an_array_is_as_lines_are_in_the_environment() {
        let file = parse("examples = [\"What|when?\", \"Who?\"]").unwrap().file;
        assert_eq!(file["TOOLGATE_EXAMPLES"], "What|when?\nWho?\n");
        assert!(parse("examples = [1]").unwrap_err().contains("`examples`"));
        assert!(parse("listen = [\"a\"]").unwrap_err().contains("`listen`"));
    }

    #[test]
    fn an_unknown_setting_and_a_wrong_type_are_named() {
        assert_eq!(
            parse("lisen = \"x\"").unwrap_err(),
            "unknown setting `lisen`"
        );
        assert!(parse("listen = true").unwrap_err().contains("`listen`"));
        assert!(parse("listen = ").unwrap_err().contains("TOML"));
        let error = parse("servers = \"x\"").unwrap_err();
        assert!(error.contains("[servers.NAME]"), "{error}");
    }

    #[test]
    fn a_variable_that_looks_like_a_setting_and_is_none_is_noticed() {
        assert!(is_unknown("TOOLGATE_LISTN"));
        assert!(!is_unknown("TOOLGATE_LISTEN"));
        assert!(!is_unknown("OPENAI_ORG"));
    }
}
