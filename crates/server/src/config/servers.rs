//! MCP servers that the operator names, beside those that Pomerium lists.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{
    ConfigError, Reader, TrafficMode, http_url, invalid,
    reader::{secret, secret_file},
};

/// Bytes of a server's name: it stands in the names of functions, which are short.
const NAME_BYTES: usize = 64;

/// Stands behind the name of one that Pomerium has a server of the same name for.
pub(crate) const TELL_APART: &str = " (config)";

const LIST: &str = "TOOLGATE_MCP_SERVERS";

/// A server from the configuration.
#[derive(Clone, Debug)]
pub struct ConfiguredServer {
    /// Its name.
    pub name: String,
    /// Where MCP is spoken, with TLS or without.
    pub url: Url,
    /// What it is sent as bearer: nothing else is.
    pub bearer: Option<SecretString>,
    /// Whether what its tools say of themselves (`readOnlyHint`) counts.
    pub trust_hints: bool,
    /// How much of what is said to it is recorded; as of the others if none.
    pub traffic: Option<TrafficMode>,
}

/// `[servers.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    bearer_token: Option<String>,
    bearer_token_file: Option<String>,
    #[serde(default)]
    trust_hints: bool,
    traffic: Option<TrafficMode>,
}

/// The servers of the list and of the tables, by name.
pub(super) fn read(
    read: &Reader<'_>,
    public_url: Option<&Url>,
) -> Result<Vec<ConfiguredServer>, ConfigError> {
    let mut servers = Vec::new();
    let list = read.text(LIST).unwrap_or_default();
    for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let server = listed(entry)?;
        check(LIST, &server, &servers, public_url)?;
        servers.push(server);
    }
    for (name, value) in read.source.table("servers").into_iter().flatten() {
        let key = format!("[servers.{name}]");
        let server = tabled(&key, name, value)?;
        check(&key, &server, &servers, public_url)?;
        servers.push(server);
    }
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(servers)
}

fn listed(entry: &str) -> Result<ConfiguredServer, ConfigError> {
    let Some((name, url)) = entry.split_once('=') else {
        let problem = format!("{entry:?} is not name=url; several are separated by commas");
        return Err(invalid(LIST, problem));
    };
    Ok(ConfiguredServer {
        name: name.trim().to_owned(),
        url: http_url(LIST, url.trim())?,
        bearer: None,
        trust_hints: false,
        traffic: None,
    })
}

fn tabled(key: &str, name: &str, value: &toml::Value) -> Result<ConfiguredServer, ConfigError> {
    let table = Table::deserialize(value.clone())
        .map_err(|error| invalid(key, error.message().replace('\n', " ")))?;
    let bearer = match (table.bearer_token, table.bearer_token_file) {
        (Some(_), Some(_)) => {
            let problem = "has `bearer_token` as well as `bearer_token_file`";
            return Err(invalid(key, problem));
        }
        (Some(token), None) => Some(token),
        (None, Some(path)) => Some(secret_file(key, &path)?),
        (None, None) => None,
    };
    let bearer = match bearer {
        // One that was meant to be there and is empty would be found out only by the server.
        Some(text) => match secret(key, &text)? {
            Some(bearer) => Some(bearer),
            None => return Err(invalid(key, "its bearer token is empty")),
        },
        None => None,
    };
    Ok(ConfiguredServer {
        name: name.trim().to_owned(),
        url: http_url(key, &table.url)?,
        bearer,
        trust_hints: table.trust_hints,
        traffic: table.traffic,
    })
}

fn check(
    key: &str,
    server: &ConfiguredServer,
    before: &[ConfiguredServer],
    public_url: Option<&Url>,
) -> Result<(), ConfigError> {
    let name = &server.name;
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let problem = format!("{name:?} is no name: 1 to {NAME_BYTES} bytes, on one line");
        return Err(invalid(key, problem));
    }
    if before.iter().any(|other| other.name == *name) {
        return Err(invalid(key, format!("two servers are named {name:?}")));
    }
    let public = public_url.and_then(Url::host_str);
    if public.is_some() && server.url.host_str() == public {
        let problem = format!(
            "{name:?} is on the host of TOOLGATE_PUBLIC_URL, which is Pomerium's: servers behind \
             Pomerium are found by themselves"
        );
        return Err(invalid(key, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::{super::written::Written, *};

    fn servers(list: &str, tables: &str) -> Result<Vec<ConfiguredServer>, String> {
        let source = Written::of(&[(LIST, list)], tables);
        let public = "https://chat.example.com".parse().unwrap();
        let servers = read(&Reader { source: &source }, Some(&public));
        servers.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_server_is_named() {
        for (list, wanted) in [
            ("db", "name=url"),
            ("=http://127.0.0.1:1", "no name"),
            ("db=127.0.0.1:1", "db"),
            ("db=ftp://x", "https://"),
            ("db=http://u:p@x/", "password"),
            ("db=http://x,db=http://y", "two servers"),
            ("db=https://chat.example.com/mcp", "TOOLGATE_PUBLIC_URL"),
        ] {
            let error = servers(list, "").map(|_| ()).unwrap_err();
            assert!(error.starts_with("TOOLGATE_MCP_SERVERS: "), "{error}");
            if wanted != "db" {
                assert!(error.contains(wanted), "{list}: {error}");
            }
        }
        for (table, wanted) in [
            ("bearer_token = 'x'", "url"),
            ("url = 'http://x'\nbearer = 'x'", "bearer"),
            ("url = 'http://x'\ntrust_hints = 'yes'", "boolean"),
            ("url = 'http://x'\nbearer_token = ''", "empty"),
            ("url = 'http://x'\nbearer_token = 'ü'", "header"),
            (
                "url = 'http://x'\nbearer_token_file = '/nowhere'",
                "/nowhere",
            ),
            (
                "url = 'http://x'\nbearer_token = 'x'\nbearer_token_file = 'y'",
                "as well as",
            ),
        ] {
            let error = servers("", &format!("[servers.db]\n{table}"));
            let error = error.map(|_| ()).unwrap_err();
            assert!(error.starts_with("[servers.db]: "), "{error}");
            assert!(error.contains(wanted), "{table}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let twice = servers("db=http://x", "[servers.db]\nurl = 'http://y'");
        assert!(twice.unwrap_err().contains("two servers"));
    }

    #[test]
    fn the_list_and_the_tables_add_up() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "key-1\n").unwrap();
        let table = format!(
            "[servers.Notes]\nurl = 'https://notes.example.com/mcp'\ntrust_hints = true\n\
             bearer_token_file = '{}'",
            file.path().display()
        );
        let list = "Zed=http://127.0.0.1:9000/mcp?a=b, db = http://127.0.0.1:9001/mcp,";
        let servers = servers(list, &table).unwrap();
        let seen: Vec<_> = servers
            .iter()
            .map(|server| {
                let bearer = server.bearer.as_ref().map(SecretString::expose_secret);
                let (name, url) = (server.name.as_str(), server.url.as_str());
                (name, url, bearer, server.trust_hints)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (
                    "Notes",
                    "https://notes.example.com/mcp",
                    Some("key-1"),
                    true
                ),
                ("Zed", "http://127.0.0.1:9000/mcp?a=b", None, false),
                ("db", "http://127.0.0.1:9001/mcp", None, false),
            ]
        );
        assert!(!format!("{servers:?}").contains("key-1"));
    }
}
