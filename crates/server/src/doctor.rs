//! `toolgate doctor`: looks at everything that Toolgate needs, and says what to mend.
//!
//! It reads the settings that `serve` reads, and goes the ways that `serve` goes: the same
//! [`Http`], the same clients of Pomerium, of MCP servers and of model endpoints. It changes
//! nothing anywhere. What the routes in Pomerium's configuration file lack is found without asking
//! anybody (`--pomerium-config`).

mod settings;

mod pomerium;

mod servers;

mod model;

mod routes;

mod report;
mod way;

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use url::Url;

use self::{
    report::{Check, Form, Group, Report},
    routes::Expected,
    way::Way,
};
use crate::{
    config::{Config, ConfigError, KEYS, Layered, Source},
    programs,
};

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
    /// What `toolgate token` prints, in place of the login that `toolgate login` keeps.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
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
    let login = login(arguments, config, source, report);
    let mut found = Vec::new();
    if let Some(public_url) = &config.public_url {
        let visit = pomerium::Visit {
            way: &way,
            config,
            public_url,
            login: login.as_ref(),
        };
        found = visit.check(arguments.long, report).await;
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

/// What the requests behind Pomerium are sent with.
fn login(
    arguments: &Arguments,
    config: &Config,
    source: &Layered,
    report: &mut Report,
) -> Option<SecretString> {
    let public_url = config.public_url.as_ref()?;
    let id = "pomerium.login";
    let origin = origin(public_url);
    let run = format!("run `toolgate login {origin}`, then `toolgate doctor` again");
    let check = match (&arguments.token, programs::stored_key(source, &origin)) {
        (Some(token), _) => return Some(api_key(token)),
        (None, Ok(Some(key))) => return Some(key),
        (None, Ok(None)) => {
            let what = format!("not signed in to {origin}: what only people see was not looked at");
            Check::skipped(Group::Pomerium, id, what).mend(run)
        }
        (None, Err(error)) => {
            Check::warn(Group::Pomerium, id, format!("no login: {error}")).mend(run)
        }
    };
    report.add(&check);
    None
}

/// A token as Pomerium takes it as bearer: a programmatic one needs its prefix.
fn api_key(token: &str) -> SecretString {
    let token = token.trim();
    let is_jwt = token.split('.').count() == 3;
    if is_jwt && !token.starts_with("Pomerium-") {
        format!("Pomerium-{token}").into()
    } else {
        token.into()
    }
}

/// An origin as people write it.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
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
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_programmatic_token_gets_its_prefix_once_and_others_stay_as_they_are() {
        for (given, sent) in [
            ("a.b.c", "Pomerium-a.b.c"),
            ("Pomerium-a.b.c\n", "Pomerium-a.b.c"),
            ("pom_mat_abc", "pom_mat_abc"),
        ] {
            assert_eq!(api_key(given).expose_secret(), sent);
        }
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
