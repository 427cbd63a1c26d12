//! What of the traffic is recorded, and how long it is kept.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;

use super::{ConfigError, ConfiguredServer, Reader, TELL_APART, invalid};

/// How much of the traffic is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficMode {
    /// Everything but secrets.
    #[default]
    Full,
    /// No bodies.
    Metadata,
    /// Nothing.
    Off,
}

impl TrafficMode {
    /// The word in settings and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Metadata => "metadata",
            Self::Off => "off",
        }
    }
}

/// What of the traffic is recorded, and how long it is kept.
#[derive(Clone, Debug)]
pub struct TrafficSettings {
    /// `TOOLGATE_TRAFFIC`: how much is recorded. `full`.
    pub mode: TrafficMode,
    /// The same for single servers, by name: `[servers.NAME] traffic` and `[traffic_servers]`.
    pub servers: HashMap<String, TrafficMode>,
    /// `TOOLGATE_TRAFFIC_MAX_AGE`: how old an exchange may get. 7 days.
    pub max_age: Duration,
    /// `TOOLGATE_TRAFFIC_MAX_BYTES`: how large the file may get, bytes. 2 GiB.
    pub max_bytes: u64,
}

impl TrafficSettings {
    /// How much is recorded of what is said to this server; without one, to a model or Pomerium.
    pub fn mode_of(&self, server: Option<&str>) -> TrafficMode {
        let own = server.and_then(|server| self.servers.get(server));
        match (self.mode, own) {
            (TrafficMode::Off, _) | (_, None) => self.mode,
            (TrafficMode::Full | TrafficMode::Metadata, Some(own)) => *own,
        }
    }
}

pub(super) fn read(
    read: &Reader<'_>,
    configured: &[ConfiguredServer],
) -> Result<TrafficSettings, ConfigError> {
    let mut servers = HashMap::new();
    for server in configured {
        if let Some(mode) = server.traffic {
            servers.insert(server.name.clone(), mode);
            servers.insert(format!("{}{TELL_APART}", server.name), mode);
        }
    }
    let table = read.source.table("traffic_servers");
    for (name, value) in table.into_iter().flatten() {
        let key = format!("[traffic_servers] {name}");
        servers.insert(
            name.clone(),
            mode(&key, value.as_str().unwrap_or_default())?,
        );
    }
    let key = "TOOLGATE_TRAFFIC";
    Ok(TrafficSettings {
        mode: match read.text(key) {
            Some(text) => mode(key, &text)?,
            None => TrafficMode::default(),
        },
        servers,
        max_age: read.age("TOOLGATE_TRAFFIC_MAX_AGE", Duration::from_hours(7 * 24))?,
        max_bytes: read.bytes("TOOLGATE_TRAFFIC_MAX_BYTES", 2 << 30)?,
    })
}

fn mode(key: &str, text: &str) -> Result<TrafficMode, ConfigError> {
    [TrafficMode::Full, TrafficMode::Metadata, TrafficMode::Off]
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| {
            let problem = format!("{text:?} is none of `full`, `metadata`, `off`");
            invalid(key, problem)
        })
}

#[cfg(test)]
mod tests {
    use super::{super::written::Written, *};

    fn settings(pairs: &[(&str, &str)], tables: &str) -> Result<TrafficSettings, String> {
        let source = Written::of(pairs, tables);
        let config = crate::Config::read(&source).map_err(|error| error.to_string())?;
        Ok(config.traffic)
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (key, value) in [
            ("TOOLGATE_TRAFFIC", "some"),
            ("TOOLGATE_TRAFFIC", "Full"),
            ("TOOLGATE_TRAFFIC_MAX_AGE", "0s"),
            ("TOOLGATE_TRAFFIC_MAX_AGE", "a week"),
            ("TOOLGATE_TRAFFIC_MAX_AGE", "40000d"),
            ("TOOLGATE_TRAFFIC_MAX_BYTES", "0"),
            ("TOOLGATE_TRAFFIC_MAX_BYTES", "2 fortnights"),
            ("TOOLGATE_TRAFFIC_MAX_BYTES", "99999999999GiB"),
        ] {
            let error = settings(&[(key, value)], "").map(|_| ()).unwrap_err();
            assert!(
                error.starts_with(&format!("{key}: ")),
                "{key}={value}: {error}"
            );
        }
        let error = settings(&[], "[traffic_servers]\nNotes = 'some'").map(|_| ());
        assert!(error.unwrap_err().starts_with("[traffic_servers] Notes: "));
        let table = "[servers.Notes]\nurl = 'http://x'\ntraffic = 'some'";
        let error = settings(&[], table).map(|_| ()).unwrap_err();
        assert!(error.starts_with("[servers.Notes]: "), "{error}");
    }

    #[test]
    fn a_server_can_be_recorded_less_and_never_more_than_off() {
        let tables = "[servers.Files]\nurl = 'http://x'\ntraffic = 'metadata'\n\
                      [traffic_servers]\nNotes = 'off'\nDatabase = 'full'";
        let full = settings(&[], tables).unwrap();
        assert_eq!(full.mode_of(None), TrafficMode::Full);
        for (server, mode) in [
            ("Files", TrafficMode::Metadata),
            ("Files (config)", TrafficMode::Metadata),
            ("Notes", TrafficMode::Off),
            ("Database", TrafficMode::Full),
            ("Other", TrafficMode::Full),
        ] {
            assert_eq!(full.mode_of(Some(server)), mode, "{server}");
        }
        let off = settings(&[("TOOLGATE_TRAFFIC", "off")], tables).unwrap();
        assert_eq!(off.mode_of(Some("Database")), TrafficMode::Off);
    }

    #[test]
    fn ages_have_days_and_sizes_have_units() {
        let set = [
            ("TOOLGATE_TRAFFIC", "metadata"),
            ("TOOLGATE_TRAFFIC_MAX_AGE", "30d"),
            ("TOOLGATE_TRAFFIC_MAX_BYTES", "512MiB"),
        ];
        let set = settings(&set, "").unwrap();
        assert_eq!(set.mode, TrafficMode::Metadata);
        assert_eq!(set.max_age, Duration::from_hours(30 * 24));
        assert_eq!(set.max_bytes, 512 << 20);
        let default = settings(&[], "").unwrap();
        assert_eq!(default.max_age, Duration::from_hours(7 * 24));
        assert_eq!(default.max_bytes, 2 << 30);
    }
}
