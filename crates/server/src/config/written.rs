//! Settings as tests write them.

use std::collections::HashMap;

use super::Source;

/// Settings by their variables, and a file's tables.
pub(super) struct Written {
    settings: HashMap<String, String>,
    tables: toml::Table,
}

impl Written {
    pub(super) fn of(settings: &[(&str, &str)], tables: &str) -> Self {
        let settings = settings.iter();
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Self {
            settings: settings.collect(),
            tables: tables.parse().unwrap(),
        }
    }
}

impl Source for Written {
    fn get(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    fn table(&self, name: &str) -> Option<&toml::Table> {
        self.tables.get(name)?.as_table()
    }
}
