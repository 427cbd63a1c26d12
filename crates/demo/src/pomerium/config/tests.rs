use super::super::policy::Policy;
use super::route::McpServer;
use super::*;

const SIGN_IN: &str = "authenticate_service_url: http://authenticate.localhost:8000\n";

fn refusal(routes: &str) -> String {
    let yaml = format!("{SIGN_IN}{routes}");
    Config::read(&yaml).unwrap_err().to_string()
}

fn route(keys: &str) -> String {
    format!("routes:\n  - {{from: 'http://a.localhost', to: 'http://127.0.0.1:1', {keys}}}\n")
}

#[test]
fn a_refusal_names_the_route_and_the_key() {
    for (keys, expected) in [
        (
            "tls_skip_verify: true",
            "key `tls_skip_verify` is not supported by the stand-in (supported: from, to, name, \
             description, logo_url, mcp, pass_identity_headers, preserve_host_header, timeout, \
             idle_timeout, policy)",
        ),
        (
            "pass_identity_headers: 'yes'",
            ".pass_identity_headers: must be true or false",
        ),
        (
            "timeout: soon",
            ".timeout: must be a duration such as 0s or 1m30s",
        ),
        (
            "mcp: {}",
            ".mcp: must name exactly one role, `client` or `server`",
        ),
        (
            "mcp: {client: {pass_upstream_access_token: true}}",
            ".mcp.client: key `pass_upstream_access_token` is not supported by the stand-in; it \
             must be empty",
        ),
        (
            "mcp: {server: {authorization_server_url: 'https://a'}}",
            ".mcp.server: key `authorization_server_url` is not supported by the stand-in \
             (supported: path, max_request_bytes, upstream_oauth2)",
        ),
        (
            "mcp: {server: {upstream_oauth2: {endpoint: {auth_url: 'http://a'}}}}",
            ".mcp.server.upstream_oauth2.endpoint.token_url: is missing",
        ),
        (
            "mcp: {server: {upstream_oauth2: {authorization_url_params: {prompt: 1}}}}",
            ".mcp.server.upstream_oauth2.authorization_url_params.prompt: must be a string",
        ),
        (
            "mcp: {server: {max_request_bytes: -1}}",
            ".mcp.server.max_request_bytes: must be a whole number below 2^32",
        ),
        ("name: [a]", ".name: must be a string"),
    ] {
        let told = refusal(&route(keys));
        let told = told.strip_prefix("routes[0] (http://a.localhost)").unwrap();
        assert_eq!(told.trim_start_matches(": "), expected);
    }
}

#[test]
fn a_refusal_is_one_line() {
    for (yaml, expected) in [
        ("routes: {}", "configuration.routes: must be a list"),
        (
            "set_response_headers: {}",
            "configuration: key `set_response_headers` is not supported",
        ),
        ("routes: [{to: 'http://b:1'}]", "routes[0].from: is missing"),
        ("routes: [{from: 'x'}]", "routes[0] (x).from: is no URL"),
        (
            "routes: [{from: 'http://a/path', to: 'http://b'}]",
            "routes[0] (http://a/path).from: must have one host and no path",
        ),
        (
            "routes: [{from: 'https://*.a.test', to: 'http://b'}]",
            "routes[0] (https://*.a.test).from: must have one host",
        ),
        (
            "routes: [{from: 'http://a', to: 'tcp://b'}]",
            "routes[0] (http://a).to: must be a URL with http or https",
        ),
        (
            "runtime_flags: {mcp: false}",
            "configuration.runtime_flags: `mcp` is always true in the stand-in",
        ),
        (
            "authorize_log_fields: [user, password]",
            "configuration.authorize_log_fields: `password` is no field",
        ),
        (
            "routes: [{from: 'http://a:1', to: 'http://b'}, {from: 'http://A:2', to: 'http://b'}]",
            "routes[1].from: host a is taken already",
        ),
        (
            "routes: [{from: 'http://authenticate.localhost', to: 'http://b'}]",
            "routes[0].from: host authenticate.localhost is taken already",
        ),
        ("routes: [", "configuration: line 2 column 9: "),
        (
            "routes: []\nroutes: []",
            "configuration: line 3 column 1: duplicate",
        ),
    ] {
        let told = refusal(yaml);
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let missing = Config::read("routes: []").unwrap_err().to_string();
    assert_eq!(
        missing,
        "configuration.authenticate_service_url: is missing"
    );
}

#[test]
fn a_full_configuration_is_read() {
    let config = Config::read(
        "authenticate_service_url: https://authenticate.example.com
routes:
  - from: https://chat.example.com:8443
    to: http://127.0.0.1:3000
    mcp: {client: {}}
    pass_identity_headers: true
    preserve_host_header: true
    timeout: 0s
    idle_timeout: 1m30s
    policy: [{allow: {or: [{domain: {is: example.com}}]}}]
  - from: https://db.example.com
    to: http://127.0.0.1:8080/mcp
    name: Database
    description: Demo
    mcp: {server: {max_request_bytes: 1048576}}
  - from: http://github.localhost:8000
    to: http://127.0.0.1:8081
    mcp: {server: {path: /mcp}}
",
    )
    .unwrap();
    let names = [
        "authenticate.example.com",
        "chat.example.com",
        "db.example.com",
        "github.localhost",
    ];
    assert_eq!(config.hosts(), names);
    let [chat, db, github] = &config.routes[..] else {
        panic!("three routes");
    };
    assert_eq!(chat.kind, Kind::Client);
    assert_eq!(chat.identity, Identity::Passed);
    assert_eq!(chat.upstream_host, UpstreamHost::Preserved);
    assert_eq!(chat.server_url(), None);
    assert_eq!(db.server_url().unwrap(), "https://db.example.com");
    assert_eq!(db.identity, Identity::Withheld);
    assert_eq!(db.policy, Policy::default());
    assert_eq!(
        github.server_url().unwrap(),
        "http://github.localhost:8000/mcp"
    );
    assert_eq!(
        github.kind,
        Kind::Server(Box::new(McpServer {
            path: "/mcp".to_owned(),
            max_request_bytes: 4096,
            oauth: None,
        }))
    );
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cuts = |total, idle| Cuts { total, idle };
    assert_eq!(chat.cuts, cuts(None, seconds(90)));
    assert_eq!(db.cuts, cuts(None, None));
}

#[test]
fn a_route_that_says_nothing_is_cut() {
    let read = |top: &str, keys: &str| {
        let yaml = format!("{SIGN_IN}{top}{}", route(keys));
        Config::read(&yaml).unwrap().routes.remove(0).cuts
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cuts = |total, idle| Cuts { total, idle };
    assert_eq!(read("", "name: a"), cuts(seconds(30), seconds(300)));
    // A length for silence alone leaves the whole in force.
    assert_eq!(read("", "idle_timeout: 0s"), cuts(seconds(30), None));
    assert_eq!(read("", "timeout: '0'"), cuts(None, seconds(300)));
    let server = "mcp: {server: {}}, timeout: 10s";
    assert_eq!(read("", server), cuts(seconds(10), None));
    let top = "default_upstream_timeout: 1m\n";
    assert_eq!(read(top, "name: a"), cuts(seconds(60), seconds(300)));
}

#[test]
fn what_only_a_real_pomerium_needs_is_passed_over() {
    let config = Config::read(
        "authenticate_service_url: https://authenticate.example.com
autocert: true
idp_provider: google
shared_secret: c2VjcmV0
databroker_storage_type: file
mcp_allowed_client_id_domains: [claude.ai]
runtime_flags: {mcp: true}
pass_identity_headers: true
authorize_log_fields: [request-id, mcp-tool, route-id]
routes:
  - from: https://notes.example.com
    to: http://127.0.0.1:1
    mcp:
      server:
        upstream_oauth2:
          client_id: id
          client_secret: secret
          scopes: [read, write]
          authorization_url_params: {prompt: consent}
          endpoint: {auth_url: 'http://a/x', token_url: 'http://a/y', auth_style: in_params}
",
    )
    .unwrap();
    assert_eq!(config.audit_fields.len(), 3);
    let [notes] = &config.routes[..] else {
        panic!("one route");
    };
    assert_eq!(notes.identity, Identity::Passed);
    let oauth = notes.server().unwrap().oauth.as_ref().unwrap();
    assert_eq!(
        (&*oauth.client_id, &*oauth.client_secret, &oauth.scopes[..]),
        ("id", "secret", &["read".to_owned(), "write".to_owned()][..])
    );
    let prompt = ("prompt".to_owned(), "consent".to_owned());
    assert_eq!(oauth.authorization_params, [prompt]);
    let endpoint = oauth.endpoint.as_ref().unwrap();
    assert_eq!(endpoint.token_url.as_str(), "http://a/y");
}
