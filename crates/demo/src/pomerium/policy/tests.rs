use super::Decision::{Allow, Deny};
use super::*;

fn policy(yaml: &str) -> Policy {
    let value = serde_saphyr::from_str::<serde_json::Value>(yaml).unwrap();
    read("policy", &value).unwrap()
}

fn refusal(yaml: &str) -> String {
    let value = serde_saphyr::from_str::<serde_json::Value>(yaml).unwrap();
    read("routes[0].policy", &value).unwrap_err().to_string()
}

fn judge(yaml: &str, user: Option<DemoUser>, tool: Option<&str>) -> Decision {
    let call = tool.map(|tool| Asked {
        method: "tools/call",
        tool: Some(tool),
    });
    policy(yaml).judge(Subject { user, call }).decision
}

const ANA: Option<DemoUser> = Some(DemoUser::Ana);
const BEN: Option<DemoUser> = Some(DemoUser::Ben);

#[test]
fn unknown_keys_are_refused_by_name() {
    for (yaml, expected) in [
        (
            "[{allow: {or: [{groups: {has: admins}}]}}]",
            "routes[0].policy[0].allow.or[0]: key `groups` is not supported by the stand-in \
             (supported: accept, authenticated_user, domain, email, mcp_tool)",
        ),
        (
            "{permit: {or: []}}",
            "routes[0].policy: key `permit` is not supported by the stand-in \
             (supported: allow, deny)",
        ),
        (
            "{allow: {xor: []}}",
            "routes[0].policy.allow: key `xor` is not supported by the stand-in \
             (supported: and, or, not, nor)",
        ),
        (
            "{allow: {or: [{email: {matches: x}}]}}",
            "routes[0].policy.allow.or[0].email: key `matches` is not supported by the stand-in \
             (supported: is, starts_with, ends_with, contains, in, not_in)",
        ),
        (
            "{allow: {or: [{domain: {in: x}}]}}",
            "routes[0].policy.allow.or[0].domain.in: must be a list of strings",
        ),
        (
            "{allow: {or: [{accept: true, domain: x}]}}",
            "routes[0].policy.allow.or[0]: must name exactly one criterion",
        ),
        (
            "{allow: {or: [{email: {}}]}}",
            "routes[0].policy.allow.or[0].email: names no test",
        ),
        (
            "{allow: {or: {accept: true}}}",
            "routes[0].policy.allow.or: must be a list of criteria",
        ),
        ("[allow]", "routes[0].policy[0]: must be a mapping"),
    ] {
        assert_eq!(refusal(yaml), expected);
    }
}

#[test]
fn no_rule_allows_nobody() {
    for yaml in [
        "{}",
        "[]",
        "{allow: {or: []}}",
        "{deny: {or: [{mcp_tool: x}]}}",
    ] {
        assert_eq!(judge(yaml, ANA, None), Decision::Deny, "{yaml}");
    }
}

#[test]
fn a_criterion_about_people_wants_somebody_signed_in() {
    let by_domain = "[{allow: {or: [{domain: {is: example.com}}]}}]";
    assert_eq!(judge(by_domain, None, None), Decision::SignIn);
    assert_eq!(judge(by_domain, ANA, None), Decision::Allow);
    let public = "{allow: {or: [{accept: true}, {domain: example.com}]}}";
    assert_eq!(judge(public, None, None), Decision::Allow);
    let denied_people = "{allow: {or: [{accept: true}]}, deny: {or: [{email: a@b}]}}";
    assert_eq!(judge(denied_people, None, None), Decision::SignIn);
    let inverted = "{allow: {not: [{domain: other.com}]}}";
    assert_eq!(judge(inverted, None, None), Decision::SignIn);
}

#[test]
fn operators_join_as_in_pomerium() {
    let of = |operator: &str| {
        let yaml =
            format!("{{allow: {{{operator}: [{{email: ana@example.com}}, {{domain: x}}]}}}}");
        (judge(&yaml, ANA, None), judge(&yaml, BEN, None))
    };
    assert_eq!(of("and"), (Deny, Deny));
    assert_eq!(of("or"), (Allow, Deny));
    assert_eq!(of("not"), (Deny, Allow));
    assert_eq!(of("nor"), (Allow, Allow));
}

#[test]
fn blocks_and_rules_allow_side_by_side_and_one_denial_wins() {
    let rules = "[{allow: {and: [{email: ana@example.com}], or: [{email: ben@example.com}]}}, \
                  {deny: {or: [{mcp_tool: {starts_with: admin_}}, {mcp_tool: {in: [drop]}}]}}]";
    assert_eq!(judge(rules, ANA, None), Decision::Allow);
    assert_eq!(judge(rules, BEN, Some("read")), Decision::Allow);
    assert_eq!(judge(rules, BEN, Some("admin_x")), Decision::Deny);
    assert_eq!(judge(rules, ANA, Some("drop")), Decision::Deny);
}

#[test]
fn a_tool_criterion_holds_for_tool_calls_only() {
    let allowed = "{allow: {and: [{authenticated_user: true}, {mcp_tool: {not_in: [drop]}}]}}";
    assert_eq!(judge(allowed, ANA, None), Decision::Deny);
    assert_eq!(judge(allowed, ANA, Some("drop")), Decision::Deny);
    assert_eq!(judge(allowed, ANA, Some("read")), Decision::Allow);
}

#[test]
fn every_test_of_a_matcher_must_hold() {
    for (matcher, matches) in [
        ("{starts_with: ana, ends_with: .com}", true),
        ("{starts_with: ana, ends_with: .org}", false),
        ("{contains: '@ex'}", true),
        ("{in: [ben@example.com]}", false),
        ("{not_in: [ben@example.com]}", true),
        ("ANA@example.com", false),
    ] {
        let yaml = format!("{{allow: {{or: [{{email: {matcher}}}]}}}}");
        let expected = if matches {
            Decision::Allow
        } else {
            Decision::Deny
        };
        assert_eq!(judge(&yaml, ANA, None), expected, "{matcher}");
    }
}

#[test]
fn the_reasons_are_those_that_decided() {
    let yaml =
        "{allow: {and: [{domain: {is: example.com}}]}, deny: {or: [{mcp_tool: {is: drop}}]}}";
    let judged = |user, call| {
        let Judgement { allow, deny, .. } = policy(yaml).judge(Subject { user, call });
        let joined = |verdict: Verdict| verdict.reasons.into_iter().collect::<Vec<_>>().join(" ");
        (allow.holds, joined(allow), deny.holds, joined(deny))
    };
    let call = |method, tool| Some(Asked { method, tool });
    for (user, call, (allow, allow_why), (deny, deny_why)) in [
        (
            ANA,
            None,
            (true, "domain-ok"),
            (false, "mcp-not-a-tool-call"),
        ),
        (
            ANA,
            call("tools/list", None),
            (true, "domain-ok"),
            (false, "mcp-not-a-tool-call"),
        ),
        (
            ANA,
            call("tools/call", Some("drop")),
            (true, "domain-ok"),
            (true, "mcp-tool-match"),
        ),
        (
            None,
            call("tools/call", Some("read")),
            (false, "user-unauthenticated"),
            (false, "mcp-tool-no-match"),
        ),
    ] {
        let expected = (allow, allow_why.to_owned(), deny, deny_why.to_owned());
        assert_eq!(judged(user, call), expected);
    }
}
