//! The rules of the house that no compiler checks: the walls between the crates, and tidiness.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// Every crate of ours, and the crates of ours that it may use.
const WALLS: [(&str, &[&str]); 6] = [
    ("chat", &[]),
    ("demo", &["northwind", "server"]),
    ("northwind", &[]),
    ("server", &["chat", "store", "wire"]),
    ("store", &["chat"]),
    ("wire", &["chat"]),
];

/// All that the domain sees of the world: nothing that does IO.
const CHAT_SEES: [&str; 5] = ["jsonschema", "serde", "serde_json", "sha2", "thiserror"];

/// Lines of a file, its tests not counted.
const MAX_LINES: usize = 500;

#[test]
fn crates_use_only_what_their_walls_allow() {
    let metadata = metadata();
    let names: BTreeSet<_> = members(&metadata)
        .map(|package| package.name.as_str())
        .collect();
    let known = WALLS
        .iter()
        .map(|(name, _)| *name)
        .chain(["tests"])
        .collect();
    assert_eq!(names, known, "a crate without walls");
    for (name, allowed) in WALLS {
        let package = member(&metadata, name);
        let used = used(package, |kind| kind != DependencyKind::Development);
        let ours: Vec<_> = used
            .into_iter()
            .filter(|used| names.contains(used))
            .collect();
        assert_eq!(ours, allowed, "what {name} uses of ours");
    }
}

#[test]
fn even_in_tests_wire_and_store_never_see_each_other() {
    let metadata = metadata();
    for (name, allowed) in WALLS {
        let package = member(&metadata, name);
        for used in used(package, |kind| kind == DependencyKind::Development) {
            // Other people's servers may be played to anybody.
            let fits = allowed.contains(&used) || used == "northwind";
            let ours = WALLS.iter().any(|(crate_name, _)| *crate_name == used);
            assert!(fits || !ours, "the tests of {name} use {used}");
        }
    }
}

#[test]
fn the_domain_sees_nothing_that_does_io() {
    let metadata = metadata();
    let chat = member(&metadata, "chat");
    let used = used(chat, |kind| kind != DependencyKind::Development);
    assert_eq!(used.into_iter().collect::<Vec<_>>(), CHAT_SEES);
    let schema = chat
        .dependencies
        .iter()
        .find(|used| used.name == "jsonschema");
    assert!(
        schema.is_some_and(|used| !used.uses_default_features),
        "jsonschema's defaults fetch `$ref`s from anywhere"
    );
}

#[test]
fn only_the_store_has_sql_and_only_the_configuration_reads_the_environment() {
    let metadata = metadata();
    let with_sqlx = members(&metadata).filter(|package| used(package, |_| true).contains("sqlx"));
    assert_eq!(
        with_sqlx
            .map(|package| package.name.as_str())
            .collect::<Vec<_>>(),
        ["store"]
    );
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let store = path.starts_with("crates/store/");
        let config = path.starts_with("crates/server/src/config");
        if text.contains("sqlx::") && !store {
            wrong.push(format!("{} speaks SQL", path.display()));
        }
        if text.contains("env::var") && !config {
            wrong.push(format!("{} reads the environment", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_tidy() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let at = path.display();
        let lines = lines_without_tests(&path, &text);
        if lines > MAX_LINES {
            wrong.push(format!(
                "{at} has {lines} lines, more than {MAX_LINES}: split it"
            ));
        }
        if path.ends_with("mod.rs") {
            wrong.push(format!("{at}: a module `x` stands in `x.rs`"));
        }
        if text.contains("#[allow(") || text.contains("#![allow(") {
            wrong.push(format!(
                "{at}: `expect` a lint with a reason, do not `allow` it"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in members(&metadata()) {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true\n"),
            "{}: `[lints] workspace = true` is missing",
            package.name
        );
    }
}

#[test]
fn the_readme_documents_every_setting() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let keys = server::config::KEYS.iter();
    let missing: Vec<_> = keys
        .filter(|key| !readme.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    let command = command
        .cargo_path(env!("CARGO"))
        .manifest_path(root().join("Cargo.toml"));
    command.no_deps().exec().unwrap()
}

fn members(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata.workspace_packages().into_iter()
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    members(metadata)
        .find(|package| package.name.as_str() == name)
        .unwrap()
}

/// The names of the direct dependencies of these kinds.
fn used(package: &Package, wanted: impl Fn(DependencyKind) -> bool) -> BTreeSet<&str> {
    let dependencies = package.dependencies.iter();
    let wanted = |used: &&Dependency| wanted(used.kind);
    dependencies
        .filter(wanted)
        .map(|used| used.name.as_str())
        .collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every Rust file of ours, by its path from the root; this one, which names what is forbidden,
/// is left out.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("crates"), root().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.retain(|(path, _)| path != Path::new("tests/it/house.rs"));
    assert!(found.len() > 100, "the sources were not found: {found:?}");
    found
}

/// Lines of code that is no test: none in `tests.rs`, in a module `tests`, or in `tests/it`.
fn lines_without_tests(path: &Path, text: &str) -> usize {
    let in_tests = path.file_name().is_some_and(|name| name == "tests.rs")
        || path.starts_with("tests/it")
        || path.iter().skip(1).any(|part| part == "tests");
    if in_tests {
        return 0;
    }
    let own = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    own.lines().count()
}
