//! `toolgate doctor`: looks at everything that Toolgate needs, and says what to mend.
//!
//! It reads the settings that `serve` reads, and goes the ways that `serve` goes: the same HTTP
//! client, the same clients of Pomerium, of MCP servers and of model endpoints. It changes
//! nothing anywhere. What the routes in Pomerium's configuration file lack is found without asking
//! anybody (`--pomerium-config`).

mod settings;

mod pomerium;

mod servers;

mod model;

mod routes;

mod login;
mod report;
mod way;

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use url::Url;

use self::{
    login::Login,
    report::{Check, Form, Group, Report},
    routes::Expected,
    way::Way,
};
use crate::config::{Config, ConfigError, KEYS, Layered, Source as _};

/// The exit code when something has to be mended.
const SOMETHING_FAILED: u8 = 1;

/// The exit code when the settings cannot be read (`EX_CONFIG` of sysexits.h).
const BAD_SETTINGS: u8 = 78;

/// What `toolgate doctor` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Looks at the routes in Pomerium's configuration as well; without any setting of Toolgate's,
    /// only at them.
    #[arg(long, value_name = "FILE")]
    pomerium_config: Option<PathBuf>,
    /// Writes one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Waits 35 s to see whether Pomerium cuts long answers.
    #[arg(long)]
    long: bool,
    /// A file with what `toolgate token` prints, in place of the login that `toolgate login` keeps;
    /// `-` is standard input. (An argument could be read by everybody on the machine.)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Checks everything, writes a line for each check as soon as it is done, and returns the exit
/// code: 0 if nothing failed, 1 if something did, 78 if the settings cannot be read.
pub async fn run(arguments: Arguments, settings: Result<Layered, ConfigError>) -> u8 {
    let mut report = Report::new(form(&arguments), Box::new(io::stdout()));
    let readable = with_settings(&arguments, settings, &mut report).await;
    let tally = report.finish();
    match readable {
        Err(Unreadable) => BAD_SETTINGS,
        Ok(()) if tally.fail > 0 => SOMETHING_FAILED,
        Ok(()) => 0,
    }
}

/// The settings cannot be read, and there is nothing else to look at.
struct Unreadable;

async fn with_settings(
    arguments: &Arguments,
    settings: Result<Layered, ConfigError>,
    report: &mut Report,
) -> Result<(), Unreadable> {
    let id = "settings.read";
    let file = arguments.pomerium_config.as_deref();
    let read = settings.and_then(|source| Ok((Config::read(&source)?, source)));
    let (config, source) = match (read, file) {
        (Ok(read), _) => read,
        (Err(error), None) => {
            let check = Check::fail(Group::Settings, id, error.to_string());
            report.add(&check.mend(settings::mend(&error)));
            return Err(Unreadable);
        }
        (Err(error), Some(file)) => {
            let check = Check::warn(Group::Settings, id, error.to_string());
            report.add(&check.mend(settings::mend(&error)));
            report.extend(of_file(file, &Expected::default()));
            return Ok(());
        }
    };
    if let Some(file) = file
        && !is_set(&source)
    {
        let what = "no setting of Toolgate's is here: only the routes are looked at";
        report.add(&Check::skipped(Group::Settings, id, what));
        report.extend(of_file(file, &Expected::default()));
        return Ok(());
    }
    examine(arguments, &config, &source, report).await;
    Ok(())
}

/// Whether anybody has set anything of Toolgate's own.
fn is_set(source: &Layered) -> bool {
    let own = KEYS.iter().filter(|key| key.starts_with("TOOLGATE_"));
    let mut set = own.filter(|key| source.get(key).is_some());
    set.next().is_some() || source.table("servers").is_some()
}

async fn examine(arguments: &Arguments, config: &Config, source: &Layered, report: &mut Report) {
    settings::without_network(config, source, report).await;
    let way = match Way::open(config) {
        Ok(way) => way,
        Err(check) => return report.add(&check),
    };
    settings::listeners(&way, config, report).await;
    let mut found = Vec::new();
    let mut login = None;
    if let Some(public_url) = &config.public_url {
        let find = Login::find(arguments.token_file.as_deref(), public_url, source);
        let visit = pomerium::Visit {
            way: &way,
            config,
            public_url,
            login: &find,
            long: arguments.long,
        };
        found = visit.check(report).await;
        login = find.ok();
    }
    servers::check(&way, config, &found, login.as_ref(), report).await;
    model::check(&way, config, report).await;
    way.close().await;
    if let Some(file) = &arguments.pomerium_config {
        let expected = Expected {
            public_url: config.public_url.clone(),
            max_request_bytes: config.mcp_max_request_bytes,
        };
        report.extend(of_file(file, &expected));
    }
}

/// An origin as people write it.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A base URL as it may be shown: a query, or a name and a password, may be a secret.
fn place(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// The checks of Pomerium's configuration file.
fn of_file(path: &Path, expected: &Expected) -> Vec<Check> {
    let shown = path.display().to_string();
    match read_file(path) {
        Ok(text) => routes::examine(&shown, &text, expected),
        Err(error) => {
            let what = format!("{shown} cannot be read: {error}");
            let mend = "name Pomerium's configuration file after --pomerium-config";
            vec![Check::fail(Group::Routes, "routes.file", what).mend(mend)]
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(routes::FILE_BYTES + 1);
    if file.read_to_string(&mut text)? as u64 > routes::FILE_BYTES {
        let problem = format!("it is larger than {} bytes", routes::FILE_BYTES);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

fn form(arguments: &Arguments) -> Form {
    // https://no-color.org: set, and not empty.
    let plain = Layered::default()
        .get("NO_COLOR")
        .is_some_and(|set| !set.is_empty());
    if arguments.json {
        Form::Json
    } else if io::stdout().is_terminal() && !plain {
        Form::Coloured
    } else {
        Form::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_in_a_url_is_not_shown() {
        let url = "https://ana:pw@model.example:8443/v1?api-key=sk-1#x";
        assert_eq!(
            place(&url.parse().unwrap()),
            "https://model.example:8443/v1"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_or_has_no_end_is_a_failure() {
        for path in ["/nowhere/config.yaml", "/dev/zero", "/"] {
            let checks = of_file(Path::new(path), &Expected::default());
            assert_eq!(checks.len(), 1, "{path}");
            assert_eq!(checks[0].verdict, report::Verdict::Fail, "{path}");
        }
    }
}
