use super::*;

/// Toolgate's route as it should be.
const CHAT: &str = "
  - from: https://chat.example.com
    to: http://toolgate:3000
    mcp: {client: {}}
    pass_identity_headers: true
    timeout: 0s
    idle_timeout: 0s
    policy: [{allow: {or: [{domain: {is: example.com}}]}}]
";

/// An MCP server's route as it should be.
const DATABASE: &str = "
  - from: https://db.example.com
    to: http://northwind:8080/mcp
    mcp: {server: {max_request_bytes: 1048576}}
    policy:
      - allow: {and: [{domain: {is: example.com}}]}
        deny: {or: [{mcp_tool: {is: write_query}}]}
";

/// What stands above the routes.
const GLOBAL: &str = "
runtime_flags: {mcp: true}
shared_secret: c2VjcmV0
databroker_storage_type: file
authorize_log_fields: [request-id, mcp-method, mcp-tool]
";

fn expected(public_url: Option<&str>) -> Expected {
    Expected {
        public_url: public_url.map(|url| url.parse().unwrap()),
        max_request_bytes: 1 << 20,
    }
}

fn look(text: &str) -> Vec<Check> {
    examine("c.yaml", text, &expected(Some("https://chat.example.com")))
}

/// The checks of a file with `routes` that are not fine.
fn wrong(routes: &str) -> Vec<Check> {
    let mut checks = look(&format!("{GLOBAL}routes:{routes}"));
    checks.retain(|check| check.verdict != Verdict::Ok);
    checks
}

/// A file in which one line of a good route is another one.
fn changed(route: &str, line: &str, other: &str) -> String {
    assert!(route.contains(line), "{line}");
    let rest = if route == CHAT { DATABASE } else { CHAT };
    format!("{}{rest}", route.replace(line, other))
}

fn without(route: &str, line: &str) -> String {
    changed(route, line, "")
}

/// The only thing that is wrong.
#[track_caller]
fn only(routes: &str) -> Check {
    let mut checks = wrong(routes);
    assert_eq!(checks.len(), 1, "{checks:#?}");
    checks.remove(0)
}

/// The only check of this name.
#[track_caller]
fn only_of(routes: &str, id: &str) -> Check {
    let mut checks = wrong(routes);
    checks.retain(|check| check.id == id);
    assert_eq!(checks.len(), 1, "{checks:#?}");
    checks.remove(0)
}

const SURE: &str = "    pass_identity_headers: true\n";
const POLICY: &str = "    policy: [{allow: {or: [{domain: {is: example.com}}]}}]\n";

/// A line of Toolgate's route, what stands there instead, what is found, and what is to be done.
const CLIENT_FLAWS: &[(&str, &str, &str, &str)] = &[
    ("    timeout: 0s\n", "", "routes.timeout", "`timeout: 0s`"),
    (
        "    timeout: 0s\n",
        "    timeout: 5m\n",
        "routes.timeout",
        "`timeout: 0s`",
    ),
    (
        "    timeout: 0s\n",
        "    timeout: '30'\n",
        "routes.duration",
        "`timeout: 0s`",
    ),
    (
        "    idle_timeout: 0s\n",
        "",
        "routes.idle_timeout",
        "`idle_timeout: 0s`",
    ),
    (
        "idle_timeout: 0s",
        "idle_timeout: 1h",
        "routes.idle_timeout",
        "`idle_timeout: 0s`",
    ),
    (
        SURE,
        "",
        "routes.pass_identity_headers",
        "`pass_identity_headers: true`",
    ),
    (
        "headers: true",
        "headers: false",
        "routes.pass_identity_headers",
        "headers: true`",
    ),
    (POLICY, "", "routes.policy", "`policy: "),
    (POLICY, "    policy: {}\n", "routes.policy", "`policy: "),
    (POLICY, "    policy: []\n", "routes.policy", "`policy: "),
    (
        POLICY,
        "    policy: [{deny: {or: [{email: {is: a}}]}}]\n",
        "routes.policy",
        "`policy: ",
    ),
    (
        POLICY,
        "    allow_public_unauthenticated_access: true\n",
        "routes.policy",
        "`policy: ",
    ),
    (
        "mcp: {client: {}}",
        "mcp: {}",
        "routes.mcp_role",
        "`mcp: {client: {}}`",
    ),
    (
        "mcp: {client: {}}",
        "mcp:",
        "routes.mcp_role",
        "`mcp: {client: {}}`",
    ),
    (
        "mcp: {client: {}}",
        "mcp: {client: }",
        "routes.mcp_null",
        "`mcp: {client: {}}`",
    ),
    (
        "mcp: {client: {}}",
        "mcp: {pass_upstream_access_token: true}",
        "routes.mcp_old",
        "`mcp: {client: {}}`",
    ),
    (
        "mcp: {client: {}}",
        "mcp: {client: {}, server: {}}",
        "routes.mcp_both",
        "`mcp: {client: {}}`",
    ),
    (
        "    mcp: {client: {}}\n",
        "",
        "routes.toolgate",
        "`mcp: {client: {}}`",
    ),
    (
        "    to: http://toolgate:3000\n",
        "",
        "routes.to",
        "`to: http://HOST:PORT`",
    ),
];

#[test]
fn each_flaw_of_toolgates_route_is_found_and_nothing_else() {
    for &(line, other, id, mend) in CLIENT_FLAWS {
        let check = only(&changed(CHAT, line, other));
        assert_eq!(
            (check.id, check.verdict),
            (id, Verdict::Fail),
            "{line} -> {other}"
        );
        let told = check.mend.unwrap();
        assert!(told.contains(mend), "{line} -> {other}: {told}");
    }
}

const MCP: &str = "mcp: {server: {max_request_bytes: 1048576}}";
const DENY: &str = "        deny: {or: [{mcp_tool: {is: write_query}}]}\n";
const TO: &str = "to: http://northwind:8080/mcp";

/// The same for the route of an MCP server.
const SERVER_FLAWS: &[(&str, &str, &str, Verdict, &str)] = &[
    (
        MCP,
        "mcp: {server: {}}",
        "routes.max_request_bytes",
        Verdict::Fail,
        "max_request_bytes: 1048576",
    ),
    (
        MCP,
        "mcp: {server: {max_request_bytes: 65536}}",
        "routes.max_request_bytes",
        Verdict::Fail,
        "TOOLGATE_MCP_MAX_REQUEST_BYTES to 65536",
    ),
    (
        MCP,
        "mcp: {server: {max_request_bytes: 1 MB}}",
        "routes.max_request_bytes",
        Verdict::Fail,
        "1048576",
    ),
    (
        MCP,
        "mcp: {}",
        "routes.mcp_role",
        Verdict::Fail,
        "`mcp: {server: {max_request_bytes: 1048576}}`",
    ),
    (
        MCP,
        "mcp: {server: }",
        "routes.mcp_null",
        Verdict::Fail,
        "`mcp: {server: {}}`",
    ),
    (
        MCP,
        "mcp: {upstream_oauth2: {client_id: abc, client_secret: s3cret}}",
        "routes.mcp_old",
        Verdict::Fail,
        "`mcp: {server: {upstream_oauth2: {client_id: abc, client_secret: …}, max_request_bytes: 1048576}}`",
    ),
    (
        MCP,
        "mcp: {server: {max_request_bytes: 1048576, path: /mcp}}",
        "routes.path_twice",
        Verdict::Fail,
        "take /mcp out of `to`",
    ),
    (
        MCP,
        "mcp: {server: {max_request_bytes: 1048576, upstream_oauth2: {endpoint: {auth_style: \
             header}}}}",
        "routes.auth_style",
        Verdict::Warn,
        "take `auth_style` out",
    ),
    (
        DENY,
        "        deny: {or: [{mcp_tool: {is: a}}]}\n    timeout: 30s\n",
        "routes.timeout",
        Verdict::Warn,
        "`timeout: 0s`",
    ),
    (
        "- allow: {and: [{domain: {is: example.com}}]}",
        "- allow: {}",
        "routes.policy",
        Verdict::Fail,
        "`policy: ",
    ),
    (
        "{domain: {is: example.com}}",
        "{mcp_tool: {is: a}}",
        "routes.mcp_tool_allow",
        Verdict::Warn,
        "under `deny`",
    ),
    (
        "https://db.example.com",
        "https://*.example.com",
        "routes.wildcard",
        Verdict::Warn,
        "`from`",
    ),
    (
        "https://db.example.com",
        "db.example.com",
        "routes.from",
        Verdict::Fail,
        "`from: https://HOST`",
    ),
    (
        TO,
        "tu: http://northwind:8080/mcp",
        "routes.to",
        Verdict::Fail,
        "`to: ",
    ),
];

#[test]
fn each_flaw_of_a_servers_route_is_found_and_nothing_else() {
    for &(line, other, id, verdict, mend) in SERVER_FLAWS {
        let check = only(&changed(DATABASE, line, other));
        assert_eq!(
            (check.id, check.verdict),
            (id, verdict),
            "{line} -> {other}"
        );
        let told = check.mend.unwrap();
        assert!(told.contains(mend), "{line} -> {other}: {told}");
        assert!(
            !format!("{told}{}", check.what).contains("s3cret"),
            "{told}"
        );
    }
}

#[test]
fn routes_that_share_a_host_are_told_with_the_one_that_wins() {
    let server = DATABASE.replace("db.example.com", "chat.example.com");
    let plain = "
  - {from: 'https://chat.example.com', to: 'http://docs'}
";
    for second in [&server, plain] {
        let check = only_of(&format!("{CHAT}{second}"), "routes.shared_host");
        assert_eq!(check.verdict, Verdict::Fail);
        assert!(check.what.contains("the route at line 7"), "{}", check.what);
        assert!(check.mend.unwrap().contains("`from`"));
    }
}

#[test]
fn each_flaw_of_the_whole_is_found() {
    let routes = format!("routes:{CHAT}{DATABASE}");
    for (line, other, id, verdict) in [
        (
            "{mcp: true}",
            "{mcp: false}",
            "routes.runtime_flag",
            Verdict::Fail,
        ),
        (
            "shared_secret: c2VjcmV0\n",
            "",
            "routes.shared_secret",
            Verdict::Warn,
        ),
        (
            "databroker_storage_type: file\n",
            "",
            "routes.databroker",
            Verdict::Warn,
        ),
        (
            "_type: file",
            "_type: memory",
            "routes.databroker",
            Verdict::Warn,
        ),
        (
            "shared_secret",
            "default_upstream_timeout: '9'\nshared_secret",
            "routes.duration",
            Verdict::Fail,
        ),
    ] {
        let text = format!("{}{routes}", GLOBAL.replace(line, other));
        let mut checks = look(&text);
        checks.retain(|check| check.verdict != Verdict::Ok);
        assert_eq!(checks.len(), 1, "{line}: {checks:#?}");
        assert_eq!((checks[0].id, checks[0].verdict), (id, verdict), "{line}");
    }
    let text = format!("{}{routes}", GLOBAL.replace(", mcp-tool]", "]"));
    let hint = look(&text)
        .into_iter()
        .find(|check| check.id == "routes.audit");
    assert!(hint.unwrap().mend.unwrap().contains("mcp-tool"));
}

#[test]
fn a_file_that_is_no_configuration_says_so_with_its_line() {
    for (text, id, what) in [
        (
            "routes:\n  - from: https://a\n  to: b\n",
            "routes.yaml",
            "c.yaml:",
        ),
        ("routes: [\n", "routes.yaml", "c.yaml:"),
        ("routes:\n", "routes.none", "c.yaml:1: `routes` is empty"),
        ("a: 1\n", "routes.none", "c.yaml:1: no `routes`"),
        ("just text\n", "routes.none", "c.yaml:1: no `routes`"),
        (
            "policy:\n  - from: https://a\n",
            "routes.none",
            "`policy` is their old name",
        ),
    ] {
        let checks = look(text);
        assert_eq!(checks.len(), 1, "{text}: {checks:#?}");
        assert_eq!(
            (checks[0].id, checks[0].verdict),
            (id, Verdict::Fail),
            "{text}"
        );
        assert!(checks[0].what.contains(what), "{text}: {}", checks[0].what);
    }
}

#[test]
fn odd_routes_are_findings_and_no_panic() {
    for routes in [
        " 7\n",
        "\n  - 7\n  - null\n  - []\n",
        " {a: b}\n",
        "\n  - {from: [1], to: {}}\n",
    ] {
        let checks = wrong(routes);
        assert!(
            checks.iter().any(|check| check.verdict == Verdict::Fail),
            "{routes}"
        );
    }
}

#[test]
fn a_good_file_has_nothing_to_mend() {
    let text = format!("{GLOBAL}routes:{CHAT}{DATABASE}");
    for public_url in [Some("https://chat.example.com"), None] {
        let checks = examine("c.yaml", &text, &expected(public_url));
        let flawless = checks
            .iter()
            .all(|check| check.verdict == Verdict::Ok && check.mend.is_none());
        assert!(flawless, "{checks:#?}");
        let told: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "c.yaml:7: https://chat.example.com: MCP client route",
                "c.yaml:15: https://db.example.com: MCP server route",
            ]
        );
    }
}

#[test]
fn what_pomerium_takes_as_well_is_no_finding() {
    for routes in [
        changed(
            CHAT,
            "    timeout: 0s\n    idle_timeout: 0s\n",
            "    allow_websockets: true\n",
        ),
        changed(
            CHAT,
            "timeout: 0s\n    idle_timeout: 0s",
            "timeout: '0'\n    idle_timeout: 0",
        ),
        changed(
            CHAT,
            "policy: [{allow: {or: [{domain: {is: example.com}}]}}]",
            "allowed_domains: [example.com]",
        ),
        changed(CHAT, "policy: [{allow", "policy: {allow").replace("}}]}}]", "}}]}}"),
        changed(DATABASE, "8080/mcp", "8080").replace("1048576}", "1048576, path: /mcp}"),
        format!(
            "{CHAT}{DATABASE}
  - {{from: 'https://chat.example.com', prefix: /docs, to: 'http://docs'}}
  - {{from: 'https://old.example.com', redirect: {{host_redirect: chat.example.com}}}}
"
        ),
    ] {
        assert_eq!(wrong(&routes), [], "{routes}");
    }
    let global = format!("{GLOBAL}pass_identity_headers: true\ndefault_upstream_timeout: 0s\n");
    let chat = without(CHAT, "    pass_identity_headers: true\n    timeout: 0s\n");
    let checks = look(&format!("{global}routes:{chat}"));
    assert!(
        checks.iter().all(|check| check.verdict == Verdict::Ok),
        "{checks:#?}"
    );
}

#[test]
fn another_applications_client_route_is_only_warned_of() {
    let other = CHAT
        .replace("chat.", "other.")
        .replace("    timeout: 0s\n", "");
    let check = only(&format!("{CHAT}{DATABASE}{other}"));
    assert_eq!((check.id, check.verdict), ("routes.timeout", Verdict::Warn));
}

#[test]
fn a_public_url_that_no_route_has_is_told_with_the_one_that_is_there() {
    let text = format!("{GLOBAL}routes:{CHAT}{DATABASE}");
    let checks = examine("c.yaml", &text, &expected(Some("https://chat.example.org")));
    let check = checks
        .iter()
        .find(|check| check.id == "routes.toolgate")
        .unwrap();
    assert_eq!(check.verdict, Verdict::Fail);
    let mend = check.mend.as_deref().unwrap();
    assert!(
        mend.contains("TOOLGATE_PUBLIC_URL=https://chat.example.com"),
        "{mend}"
    );
}

#[test]
fn an_old_form_hides_nothing_else_that_is_wrong() {
    let chat = CHAT
        .replace("{client: {}}", "{pass_upstream_access_token: true}")
        .replace("    timeout: 0s\n", "");
    let ids: Vec<&str> = wrong(&format!("{chat}{DATABASE}"))
        .iter()
        .map(|check| check.id)
        .collect();
    assert_eq!(ids, ["routes.mcp_old", "routes.timeout"]);
}

#[test]
fn a_finding_stands_at_the_line_of_its_key() {
    let check = only(&changed(
        CHAT,
        "timeout: 0s\n    idle",
        "timeout: 30s\n    idle",
    ));
    assert!(
        check
            .what
            .starts_with("c.yaml:11: https://chat.example.com: `timeout`"),
        "{}",
        check.what
    );
}
