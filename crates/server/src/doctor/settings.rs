//! Toolgate's own settings, its listeners and its database.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use store::disk::{Room, Stopped};
use url::Url;
use wire::http::is_loopback;

use super::{
    origin,
    report::{Check, Group, Report},
    way::Way,
};
use crate::config::{
    Config, ConfigError, ConfiguredServer, KEYS, Layered, Source as _, TrafficMode,
    unknown_in_environment,
};

/// The largest MCP request that Pomerium's tool policy is known to see whole, bytes: what the
/// routes are told to set.
const POLICY_BYTES: usize = 1 << 20;

/// How an SQLite file begins (file format, section 1.2).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// What to do about a setting that cannot be used.
pub(super) fn mend(error: &ConfigError) -> String {
    match error {
        ConfigError::Invalid { key, .. } => format!("set {key} as the line above says"),
        ConfigError::File { path, .. } => {
            format!(
                "mend {}, or name another file with --config",
                path.display()
            )
        }
    }
}

/// What can be said without asking anybody.
pub(super) async fn without_network(config: &Config, source: &Layered, report: &mut Report) {
    report.add(&sources(source));
    report.extend(unknown());
    report.add(&mode(config));
    report.extend(limits(config));
    report.extend(ca_file(config));
    report.extend(plain_key(config));
    report.extend(config.servers.iter().filter_map(plain_bearer));
    let url = config.database_url.clone();
    let mode = config.traffic.mode;
    let looked = tokio::task::spawn_blocking(move || {
        let path = database_path(&url);
        let traffic = match mode {
            TrafficMode::Off => None,
            TrafficMode::Full | TrafficMode::Metadata => traffic_file(&path),
        };
        [Some(database(&path)), traffic, room(&path, mode)]
    });
    report.extend(looked.await.into_iter().flatten().flatten());
}

/// Which settings come from where: names only.
fn sources(source: &Layered) -> Check {
    let environment = Layered::default();
    // An empty value counts as none, as for `serve`: compose files set many.
    let sets = |source: &Layered, key: &str| {
        let value = source.get(key);
        value.is_some_and(|value| !value.trim().is_empty())
    };
    let (from_environment, rest): (Vec<&str>, Vec<&str>) =
        KEYS.iter().partition(|key| sets(&environment, key));
    let from_file: Vec<&str> = rest.into_iter().filter(|key| sets(source, key)).collect();
    let words = |keys: &[&str], place: &str| {
        (!keys.is_empty()).then(|| format!("{place}: {}", keys.join(", ")))
    };
    let told: Vec<String> = [
        words(&from_environment, "from the environment"),
        words(&from_file, "from the settings file"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let what = if told.is_empty() {
        "nothing is set: every default counts".to_owned()
    } else {
        told.join("; ")
    };
    Check::ok(Group::Settings, "settings.read", what)
}

fn unknown() -> Vec<Check> {
    let told = |name: String| {
        let what = format!("{name} is no setting of Toolgate's, and counts for nothing");
        let mend = format!("take {name} out of the environment, or write it as the README has it");
        Check::warn(Group::Settings, "settings.unknown", what).mend(mend)
    };
    unknown_in_environment().into_iter().map(told).collect()
}

fn mode(config: &Config) -> Check {
    let id = "settings.mode";
    if let Some(url) = &config.public_url {
        let what = format!("behind Pomerium, as {}", origin(url));
        return Check::ok(Group::Settings, id, what);
    }
    let what = "standalone: no TOOLGATE_PUBLIC_URL, so whoever sits at this machine is the one \
                user";
    let mend = "behind Pomerium, set TOOLGATE_PUBLIC_URL to the `from` of Toolgate's route";
    Check::ok(Group::Settings, id, what).mend(mend)
}

fn limits(config: &Config) -> Vec<Check> {
    let warn = |what: String, mend: String| {
        Check::warn(Group::Settings, "settings.limits", what).mend(mend)
    };
    let mut checks = Vec::new();
    let bytes = config.mcp_max_request_bytes;
    if config.public_url.is_some() && bytes > POLICY_BYTES {
        let what = format!("TOOLGATE_MCP_MAX_REQUEST_BYTES={bytes} is more than most routes see");
        let mend = format!(
            "set `max_request_bytes` of every MCP server's route to at least {bytes}, or \
             TOOLGATE_MCP_MAX_REQUEST_BYTES to {POLICY_BYTES}"
        );
        checks.push(warn(what, mend));
    }
    if config.call_timeout > config.call_max {
        let what = "TOOLGATE_CALL_TIMEOUT is longer than TOOLGATE_CALL_MAX, and never reached";
        let mend = "set TOOLGATE_CALL_TIMEOUT below TOOLGATE_CALL_MAX";
        checks.push(warn(what.to_owned(), mend.to_owned()));
    }
    if config.max_turns_per_user > config.max_turns {
        let what = "TOOLGATE_MAX_TURNS_PER_USER is above TOOLGATE_MAX_TURNS, and never reached";
        let mend = "set TOOLGATE_MAX_TURNS_PER_USER below TOOLGATE_MAX_TURNS";
        checks.push(warn(what.to_owned(), mend.to_owned()));
    }
    if checks.is_empty() {
        let what = "limits fit each other".to_owned();
        checks.push(Check::ok(Group::Settings, "settings.limits", what));
    }
    checks
}

/// The extra root certificates: whether they are certificates is found out when they are used.
fn ca_file(config: &Config) -> Option<Check> {
    let path = config.ca_file.as_ref()?;
    let shown = path.display();
    File::open(path).ok()?;
    let what = format!("TOOLGATE_CA_FILE: {shown} is there");
    Some(Check::ok(Group::Settings, "settings.ca_file", what))
}

/// A key that would travel in clear.
fn plain_key(config: &Config) -> Option<Check> {
    let in_clear = is_in_clear(&config.openai_base_url);
    (config.openai_api_key.is_some() && in_clear).then(|| {
        let what = "OPENAI_API_KEY goes to OPENAI_BASE_URL in clear: the URL is http";
        let mend = "set OPENAI_BASE_URL to an https:// address, unless the network is your own";
        Check::warn(Group::Settings, "settings.plain_key", what).mend(mend)
    })
}

/// The same of a server's.
fn plain_bearer(server: &ConfiguredServer) -> Option<Check> {
    (server.bearer.is_some() && is_in_clear(&server.url)).then(|| {
        let (name, place) = (&server.name, origin(&server.url));
        let what = format!("bearer_token of [servers.{name}] goes to {place} in clear");
        let mend = "set its `url` to an https:// address, unless the network is your own";
        Check::warn(Group::Settings, "settings.plain_key", what).mend(mend)
    })
}

/// Whether what is sent there can be read on the way: without TLS, and not to this machine.
fn is_in_clear(url: &Url) -> bool {
    url.scheme() == "http" && !url.host_str().is_some_and(is_loopback)
}

fn database_path(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    PathBuf::from(path.strip_prefix("//").unwrap_or(path))
}

/// Whether the traffic file could be opened, if there is one.
fn traffic_file(database: &Path) -> Option<Check> {
    let path = store::traffic::beside(database);
    let start = begins(&path).ok()?;
    (!start.is_empty() && start != SQLITE).then(|| {
        let what = format!(
            "traffic file {}: the file is no SQLite database",
            path.display()
        );
        let mend = "move it away, or set TOOLGATE_TRAFFIC=off";
        Check::fail(Group::Settings, "settings.traffic", what).mend(mend)
    })
}

/// Whether the disk of the database has room.
fn room(database: &Path, mode: TrafficMode) -> Option<Check> {
    let room = Room::at(database)?;
    let free = room.free / (1024 * 1024);
    let records = mode != TrafficMode::Off;
    let lacks = match (room.for_turns(), room.for_traffic(Stopped::No)) {
        (false, _) if records => "no answers are begun, and traffic is not recorded",
        (false, _) => "no answers are begun",
        (true, false) if records => "traffic is not recorded",
        (true, _) => return None,
    };
    let what = format!("disk: {free} MiB are free: {lacks}");
    let mend = "make room on the disk of TOOLGATE_DATABASE_URL";
    Some(Check::warn(Group::Settings, "settings.disk", what).mend(mend))
}

/// What `serve` would do with the database. Nothing is created, and nothing is written.
fn database(path: &Path) -> Check {
    let id = "settings.database";
    let shown = path.display();
    let fail = |what: String| {
        let mend = "set TOOLGATE_DATABASE_URL to sqlite://FILE in a directory that Toolgate may \
                    write to";
        Check::fail(Group::Settings, id, what).mend(mend)
    };
    match begins(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                Some(_) | None => Path::new("."),
            };
            if directory.is_dir() {
                let what = format!("database {shown}: not there yet, `serve` creates it");
                return Check::ok(Group::Settings, id, what);
            }
            let missing = directory.display();
            fail(format!(
                "database {shown}: the directory {missing} does not exist"
            ))
        }
        Err(error) => fail(format!("database {shown}: {error}")),
        Ok(start) if !start.is_empty() && start != SQLITE => {
            fail(format!("database {shown}: the file is no SQLite database"))
        }
        Ok(_) => match OpenOptions::new().write(true).open(path) {
            Ok(_) => {
                let what = format!("database {shown}: there and writable");
                Check::ok(Group::Settings, id, what)
            }
            Err(error) => fail(format!("database {shown}: cannot be written: {error}")),
        },
    }
}

/// The first bytes of a file, as many as an SQLite database begins with.
fn begins(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?
        .take(SQLITE.len() as u64)
        .read_to_end(&mut start)?;
    Ok(start)
}

/// Whether `serve` can listen, or listens already.
pub(super) async fn listeners(way: &Way, config: &Config, report: &mut Report) {
    let public = Listener {
        key: "TOOLGATE_LISTEN",
        address: config.listen,
        path: "/api/session",
        is_ours: |answer| answer.contains("\"toolgate\"") || answer.contains("\"token_seconds\""),
    };
    let admin = Listener {
        key: "TOOLGATE_ADMIN_LISTEN",
        address: config.admin_listen,
        path: "/livez",
        is_ours: |_| true,
    };
    for listener in [public, admin] {
        report.add(&listener.check(way).await);
    }
}

/// Where `serve` listens, and how it answers there.
struct Listener {
    key: &'static str,
    address: SocketAddr,
    path: &'static str,
    is_ours: fn(&str) -> bool,
}

impl Listener {
    async fn check(&self, way: &Way) -> Check {
        let Self { key, address, .. } = self;
        let id = "settings.listen";
        let ok = |what: String| Check::ok(Group::Settings, id, what);
        let fail = |what: String| {
            let mend = format!("set {key} to an address of this machine that is free");
            Check::fail(Group::Settings, id, what).mend(mend)
        };
        match tokio::net::TcpListener::bind(address).await {
            Ok(_) => ok(format!("{key}: {address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if self.answers(way).await {
                    ok(format!("{key}: Toolgate listens on {address} already"))
                } else {
                    fail(format!("{key}: another program has {address}"))
                }
            }
            Err(error) => fail(format!("{key}: cannot listen on {address}: {error}")),
        }
    }

    async fn answers(&self, way: &Way) -> bool {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let at = SocketAddr::new(ip, self.address.port());
        let Ok(url) = Url::parse(&format!("http://{at}{}", self.path)) else {
            return false;
        };
        let answer = way.get(url).await;
        answer.is_ok_and(|answer| (self.is_ours)(&String::from_utf8_lossy(&answer.body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn verdict(path: &Path) -> (Verdict, String) {
        let check = database(&database_path(&format!("sqlite://{}", path.display())));
        (check.verdict, check.what)
    }

    #[test]
    fn a_server_s_token_in_clear_is_told_and_never_shown() {
        let server = |url: &str, bearer: Option<&str>| ConfiguredServer {
            name: "Mail".to_owned(),
            url: url.parse().unwrap(),
            bearer: bearer.map(Into::into),
            trust_hints: false,
            traffic: None,
        };
        let secret = Some("sk-1");
        let told = plain_bearer(&server("http://mail.example/mcp?key=sk-1", secret)).unwrap();
        assert_eq!(told.verdict, Verdict::Warn);
        assert!(told.what.contains("[servers.Mail]"), "{}", told.what);
        assert!(!told.what.contains("sk-1"), "{}", told.what);
        for fine in [
            server("http://mail.example/mcp", None),
            server("https://mail.example/mcp", secret),
            server("http://127.0.0.1:8080/mcp", secret),
            server("http://localhost:8080/mcp", secret),
        ] {
            assert!(plain_bearer(&fine).is_none(), "{}", fine.url);
        }
    }

    #[test]
    fn a_database_is_looked_at_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("notes.txt"), "not a database at all").unwrap();
        let (is, what) = verdict(&at("notes.txt"));
        assert_eq!(is, Verdict::Fail);
        assert!(what.contains("no SQLite"), "{what}");
        let (is, what) = verdict(&at("no/such/toolgate.db"));
        assert_eq!(is, Verdict::Fail);
        assert!(what.contains("does not exist"), "{what}");
        assert_eq!(verdict(directory.path()).0, Verdict::Fail);
        std::fs::write(at("ours.db"), SQLITE).unwrap();
        assert_eq!(verdict(&at("ours.db")).0, Verdict::Ok);
        let (is, what) = verdict(&at("new.db"));
        assert_eq!(is, Verdict::Ok);
        assert!(what.contains("creates it"), "{what}");
        assert!(!at("new.db").exists());
    }
}
