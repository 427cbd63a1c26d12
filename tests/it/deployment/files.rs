//! Reading the deployment files, and running the programs they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use cargo_metadata::Message;
use serde_json::Value;
use server::config::KEYS;

/// The lines that are switched off, switched on: see the head of the file.
pub(super) fn uncommented(config: &str) -> String {
    let line = |line: &str| {
        let on = line.strip_prefix('#').filter(|rest| {
            rest.starts_with("  ") || rest.starts_with(|first: char| !first.is_whitespace())
        });
        format!("{}\n", on.unwrap_or(line))
    };
    config.lines().map(line).collect()
}

pub(super) fn switched_on() -> Value {
    yaml(&uncommented(&read("pomerium-config.yaml")))
}

pub(super) fn compose() -> Value {
    yaml(&read("docker-compose.yaml"))
}

pub(super) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = compose["services"].as_object().unwrap();
    services
        .iter()
        .map(|(name, service)| (name.as_str(), service))
}

/// The addresses of the routes.
pub(super) fn froms(config: &Value) -> Vec<String> {
    let routes = config["routes"].as_array().unwrap();
    routes
        .iter()
        .map(|route| text(&route["from"]).to_owned())
        .collect()
}

/// Every value of the tree that is no table or list, with the way to it.
pub(super) fn leaves(at: &str, value: &Value) -> Vec<(String, String)> {
    let below = |key: &str| {
        if at.is_empty() {
            key.to_owned()
        } else {
            format!("{at}.{key}")
        }
    };
    match value {
        Value::Object(table) => table
            .iter()
            .flat_map(|(key, value)| leaves(&below(key), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .flat_map(|(index, value)| leaves(&below(&index.to_string()), value))
            .collect(),
        Value::String(text) => vec![(at.to_owned(), text.clone())],
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            vec![(at.to_owned(), value.to_string())]
        }
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub(super) fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap();
    list.iter().map(|one| text(one).to_owned()).collect()
}

/// The names in `${NAME}`, `${NAME:-default}` and `${NAME:?problem}`.
pub(super) fn variables(file: &str) -> BTreeSet<String> {
    let rest = file.split("${").skip(1);
    rest.map(|rest| {
        let name =
            rest.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
        name.into_iter().next().unwrap_or_default().to_owned()
    })
    .collect()
}

/// The settings of the README's tables, with their default where it is a value.
pub(super) fn documented_settings() -> BTreeMap<String, Option<String>> {
    let mut settings = BTreeMap::new();
    for line in read("README.md").lines() {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [keys, defaults, _] = cells[..] else {
            continue;
        };
        let keys: Vec<_> = keys.split(", ").filter_map(quoted).collect();
        if !keys.iter().any(|key| KEYS.contains(&key.as_str())) {
            continue;
        }
        let defaults: Vec<_> = defaults.split(", ").map(quoted).collect();
        for (index, key) in keys.into_iter().enumerate() {
            let default = defaults.get(index).cloned().flatten();
            settings.insert(key, default);
        }
    }
    settings
}

pub(super) fn quoted(cell: &str) -> Option<String> {
    let inner = cell.strip_prefix('`')?.strip_suffix('`')?;
    Some(inner.to_owned())
}

#[track_caller]
pub(super) fn similar(left: &str, right: &str) {
    for (left, right) in left.lines().zip(right.lines()) {
        assert_eq!(left, right);
    }
    assert_eq!(left, right);
}

/// What the instruction says in the stage of that name; of a health check, its command as a
/// compose file writes it.
pub(super) fn stage(name: &str, instruction: &str) -> String {
    let docker = read("Dockerfile").replace("\\\n", " ");
    let head = format!(" AS {name}");
    let mut lines = docker.lines().skip_while(|line| !line.ends_with(&head));
    assert!(lines.next().is_some(), "no stage {name}");
    let said = lines
        .take_while(|line| !line.starts_with("FROM "))
        .find_map(|line| line.strip_prefix(instruction))
        .unwrap_or_else(|| panic!("no {instruction} in {name}"))
        .trim();
    match said.split_once(" CMD [") {
        Some((_, command)) => format!("[\"CMD\",{}", command.replace("\", \"", "\",\"")),
        None => said.to_owned(),
    }
}

/// What the images set for their programs.
pub(super) fn image_environment() -> Vec<(String, String)> {
    let both = ["toolgate", "northwind"].map(|program| stage(program, "ENV"));
    let pairs = both.iter().flat_map(|said| said.split_whitespace());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// Runs a program of ours with nothing in its environment.
pub(super) fn run(program: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(built(program))
        .args(arguments)
        .env_clear()
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The program, built with the features it has in these tests.
pub(super) fn built(program: &str) -> PathBuf {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format=json"])
            .args([
                "--package",
                "tests",
                "--package",
                "server",
                "--bin",
                "toolgate",
            ])
            .args(["--package", "northwind", "--bin", "northwind"])
            .current_dir(root())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the programs do not build");
        let messages = Message::parse_stream(built.stdout.as_slice());
        messages
            .filter_map(|message| match message {
                Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
                _ => None,
            })
            .map(Into::into)
            .collect()
    });
    let named = built
        .iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == program));
    named.unwrap().clone()
}

pub(super) fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
