//! The deployment files hold together: with each other, with the programs they run, and with the
//! README that explains them. Docker itself is not needed.

mod files;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
};

use cargo_metadata::{MetadataCommand, TargetKind};
use demo::pomerium::{Listeners, Options, Standin};
use serde_json::Value;
use server::config::{Config, KEYS};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use files::{
    compose, documented_settings, froms, image_environment, leaves, read, root, run, services,
    similar, stage, switched_on, text, texts, uncommented, variables, yaml,
};

/// What stands for the reader's own domain.
const PLACEHOLDER: &str = "example.com";

#[test]
fn only_pomerium_publishes_ports() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let published = service.get("ports");
        if name == "pomerium" {
            assert_eq!(
                published,
                Some(&serde_json::json!(["443:443", "80:80"])),
                "{name}"
            );
        } else {
            assert_eq!(published, None, "{name}");
        }
        assert_eq!(service.get("network_mode"), None, "{name}");
        assert_eq!(service.get("privileged"), None, "{name}");
    }
}

#[test]
fn toolgate_and_the_servers_meet_only_in_pomerium() {
    let compose = compose();
    let of = |name: &str| texts(&compose["services"][name]["networks"]);
    assert!(of("toolgate").is_disjoint(&of("northwind")));
    assert!(!of("pomerium").is_disjoint(&of("toolgate")));
    assert!(!of("pomerium").is_disjoint(&of("northwind")));
    assert_eq!(compose["networks"]["servers"]["internal"], true);
}

#[test]
fn every_service_says_whether_it_is_well() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let test = &service["healthcheck"]["test"];
        let words: Vec<_> = test.as_array().unwrap().iter().map(text).collect();
        match name {
            "pomerium" => assert_eq!(words, ["CMD", "/bin/pomerium", "health"]),
            program => {
                assert_eq!(words[..2], ["CMD", program], "{name}");
                assert_eq!(stage(program, "HEALTHCHECK"), format!("{test}"), "{name}");
                let help = run(program, &[&words[2..], &["--help"]].concat());
                assert!(help.status.success(), "{words:?}: {help:?}");
            }
        }
    }
}

#[test]
fn toolgate_starts_last_stops_first_and_has_time_to_drain() {
    let compose = compose();
    let toolgate = &compose["services"]["toolgate"];
    for other in ["pomerium", "northwind"] {
        let condition = &toolgate["depends_on"][other]["condition"];
        assert_eq!(condition, "service_healthy", "{other}");
        assert_eq!(
            compose["services"][other].get("depends_on"),
            None,
            "{other}"
        );
    }
    let seconds = |value: &Value| -> u32 { text(value).trim_end_matches('s').parse().unwrap() };
    let drain = seconds(&toolgate["environment"]["TOOLGATE_DRAIN"]);
    assert!(seconds(&toolgate["stop_grace_period"]) > drain + 10);
}

#[test]
fn what_the_services_are_told_they_understand() {
    let compose = compose();
    let told = |name: &str| -> Vec<String> {
        let environment = compose["services"][name]["environment"].as_object();
        environment.unwrap().keys().cloned().collect()
    };
    for key in told("toolgate") {
        assert!(KEYS.contains(&key.as_str()), "{key}");
    }
    let help = run("northwind", &["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for key in told("northwind") {
        assert!(help.contains(&format!("[env: {key}=")), "{key}: {help}");
    }
    let command = compose["services"]["northwind"]["command"]
        .as_array()
        .unwrap();
    for flag in command
        .iter()
        .map(text)
        .filter(|word| word.starts_with('-'))
    {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    for (key, value) in image_environment() {
        let known = KEYS.contains(&key.as_str()) || help.contains(&format!("[env: {key}="));
        assert!(known, "{key}={value}");
    }
}

#[test]
fn every_variable_is_in_the_example_and_in_the_readme() {
    let used: BTreeSet<_> = [read("docker-compose.yaml"), read("pomerium-config.yaml")]
        .iter()
        .flat_map(|file| variables(file))
        .collect();
    let example = read(".env.example");
    let offered: BTreeMap<_, _> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(
        used,
        offered.keys().map(|key| (*key).to_owned()).collect(),
        "used, and offered by .env.example"
    );
    let readme = read("README.md");
    for name in &used {
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
    }
    for (name, value) in offered {
        let expected = if name == "DOMAIN" { PLACEHOLDER } else { "" };
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn every_setting_is_in_the_readme_with_its_default() {
    let documented = documented_settings();
    for key in KEYS {
        assert!(documented.contains_key(*key), "{key} is not in the README");
    }
    for key in documented.keys() {
        assert!(
            KEYS.contains(&key.as_str()),
            "{key} is in the README and no setting"
        );
    }
    // Set to what the README calls their defaults, they change nothing.
    let public = ("TOOLGATE_PUBLIC_URL", "https://chat.example.com");
    let bare: HashMap<_, _> = [public]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let mut defaults = bare.clone();
    defaults.extend(
        documented
            .into_iter()
            .filter_map(|(key, default)| Some((key, default?))),
    );
    assert!(defaults.len() > 10, "{defaults:?}");
    let config = |settings| format!("{:#?}", Config::read(settings).unwrap());
    similar(&config(&bare), &config(&defaults));
}

#[test]
fn there_are_no_secrets_in_the_files() {
    for (key, value) in leaves("", &switched_on()) {
        let secret = key.contains("secret") || key.ends_with("signing_key");
        assert!(
            !secret || value == "CLIENT-SECRET",
            "{key} of pomerium-config.yaml"
        );
    }
    for file in [".gitignore", ".dockerignore"] {
        assert!(read(file).lines().any(|line| line == ".env"), "{file}");
    }
}

#[test]
fn there_is_one_placeholder_for_the_domain() {
    for from in froms(&switched_on()) {
        let url = Url::parse(&from).unwrap();
        let host = url.host_str().unwrap();
        assert!(host.ends_with(&format!(".{PLACEHOLDER}")), "{host}");
    }
    let compose = compose();
    let toolgate = &compose["services"]["toolgate"]["environment"]["TOOLGATE_PUBLIC_URL"];
    let northwind = &compose["services"]["northwind"]["environment"]["NORTHWIND_POMERIUM_HOST"];
    let filled = |value: &Value| {
        let (before, rest) = text(value).split_once("${DOMAIN").unwrap();
        let (_, after) = rest.split_once('}').unwrap();
        format!("{before}{PLACEHOLDER}{after}")
    };
    assert_eq!(
        froms(&yaml(&read("pomerium-config.yaml"))),
        [filled(toolgate), format!("https://{}", filled(northwind))]
    );
}

#[tokio::test]
async fn the_stand_in_serves_the_routes_also_those_switched_off() {
    for config in [
        read("pomerium-config.yaml"),
        uncommented(&read("pomerium-config.yaml")),
    ] {
        let listeners = Listeners {
            http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let options = Options {
            config: config.clone(),
            ..Options::default()
        };
        let started = Standin::start(options, listeners, &tracker, &shutdown);
        if let Err(error) = started {
            panic!("{error}\n{config}");
        }
        shutdown.cancel();
        tracker.close();
        tracker.wait().await;
    }
}

#[test]
fn the_examples_show_each_way_to_an_account() {
    let config = switched_on();
    let servers: Vec<_> = config["routes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|route| route["mcp"].get("server"))
        .collect();
    let oauth: Vec<_> = servers
        .iter()
        .filter_map(|server| server.get("upstream_oauth2"))
        .collect();
    assert!(servers.len() > oauth.len() + 1, "one is discovered");
    assert!(oauth.iter().any(|oauth| oauth.get("endpoint").is_some()));
    let params = |oauth: &&Value| oauth.get("authorization_url_params").is_some();
    assert!(oauth.iter().any(params));
    for server in servers {
        assert_eq!(server["max_request_bytes"], 1 << 20, "{server}");
    }
    let tool_rule = "routes.1.policy.0.deny.or.0.mcp_tool.is";
    assert!(leaves("", &config).iter().any(|(key, _)| key == tool_rule));
    let log_fields = texts(&config["authorize_log_fields"]);
    assert!(log_fields.contains("mcp-tool-parameters"));
}

#[test]
fn the_images_are_built_from_programs_that_exist() {
    let docker = read("Dockerfile");
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let compose = compose();
    for program in ["toolgate", "northwind"] {
        let target = &compose["services"][program]["build"]["target"];
        assert_eq!(target, program);
        assert!(stage(program, "COPY").contains(&format!("/out/{program} ")));
        assert_eq!(stage(program, "ENTRYPOINT"), format!("[\"{program}\"]"));
        let mut targets = metadata.packages.iter().flat_map(|package| {
            let binaries = package.targets.iter();
            binaries.map(move |target| (package.name.as_str(), target))
        });
        let package = targets
            .find(|(_, target)| target.name == program && target.kind.contains(&TargetKind::Bin))
            .map(|(package, _)| package)
            .unwrap();
        let built = format!("--package {package} --bin {program}");
        assert!(docker.contains(&built), "{built}");
    }
    let rust = metadata.packages[0].rust_version.clone().unwrap();
    let image = format!("FROM rust:{}.{}-", rust.major, rust.minor);
    assert!(docker.contains(&image), "{image}");
    let user = docker
        .lines()
        .find_map(|line| line.strip_prefix("USER "))
        .unwrap();
    let (user, group) = user.split_once(':').unwrap();
    for id in [user, group] {
        assert!(id.parse::<u32>().unwrap() > 0, "{id}");
    }
}

#[test]
fn the_doctor_finds_nothing_to_mend_in_the_routes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.yaml");
    fs::write(&file, uncommented(&read("pomerium-config.yaml"))).unwrap();
    for config in [root().join("pomerium-config.yaml"), file] {
        let config = config.to_str().unwrap();
        let looked = run("toolgate", &["doctor", "--pomerium-config", config]);
        let said = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(looked.status.success(), "{said}\n{looked:?}");
        // It cannot see Pomerium's environment, where docker-compose.yaml has the secret.
        let mends: Vec<_> = said.lines().filter(|line| line.contains("mend:")).collect();
        let [mend] = mends[..] else {
            panic!("{said}");
        };
        assert!(mend.contains("SHARED_SECRET"), "{said}");
    }
}
