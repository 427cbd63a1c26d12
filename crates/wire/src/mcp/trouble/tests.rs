use std::time::{Duration, Instant};

use ::http::{HeaderMap, StatusCode};

use super::*;
use crate::http::Sent;

struct Refused {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

fn judge(refused: &Refused, in_session: InSession) -> Trouble {
    judge_from(refused, in_session, (Layer::Pomerium, now()))
}

fn now() -> Sent {
    Sent {
        at: Instant::now(),
        bytes: 40_000,
    }
}

fn judge_from(refused: &Refused, in_session: InSession, (led_to, sent): (Layer, Sent)) -> Trouble {
    let mut headers = HeaderMap::new();
    for (name, value) in refused.headers {
        headers.insert(*name, value.parse().unwrap());
    }
    Rejection {
        status: StatusCode::from_u16(refused.status).unwrap(),
        headers: &headers,
        body: refused.body.as_bytes(),
        in_session: matches!(in_session, InSession::Yes),
        sent,
        led_to,
    }
    .judge()
}

#[derive(Clone, Copy)]
enum InSession {
    Yes,
    No,
}

const CHALLENGE: (&str, &str) = (
    "www-authenticate",
    "Bearer resource_metadata=\"https://db.example.test/.well-known/oauth-protected-resource\"",
);

#[test]
fn answers_mean_what_pomerium_means_by_them() {
    let refused_upstream = r#"{"requestId":"r","status":"503","statusText":"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"}"#;
    let cases: [(u16, &[_], &str, Kind, Layer); 12] = [
        (
            401,
            &[CHALLENGE],
            r#"{"error":"Unauthorized","request_id":"r"}"#,
            Kind::StaleToken,
            Layer::Pomerium,
        ),
        (
            401,
            &[CHALLENGE, ("cache-control", "no-store")],
            "",
            Kind::NeedsConnect,
            Layer::Pomerium,
        ),
        (401, &[], "give me a key", Kind::Denied, Layer::Server),
        (403, &[], "<html>", Kind::Denied, Layer::Server),
        (
            413,
            &[],
            "Payload Too Large",
            Kind::TooLarge,
            Layer::Pomerium,
        ),
        (
            302,
            &[("location", "https://login.test/")],
            "",
            Kind::Unreachable,
            Layer::Pomerium,
        ),
        (429, &[], "", Kind::Unreachable, Layer::Server),
        (
            404,
            &[],
            r#"{"statusText":"route_not_found"}"#,
            Kind::NoEndpoint,
            Layer::Pomerium,
        ),
        (
            502,
            &[("cache-control", "no-store")],
            "",
            Kind::Unreachable,
            Layer::Pomerium,
        ),
        (502, &[], "bad gateway", Kind::Lost, Layer::Server),
        (
            503,
            &[],
            refused_upstream,
            Kind::Unreachable,
            Layer::Pomerium,
        ),
        (500, &[], "oops", Kind::Protocol, Layer::Server),
    ];
    for (status, headers, body, kind, layer) in cases {
        let headers: &'static [_] = headers.to_vec().leak();
        let trouble = judge(
            &Refused {
                status,
                headers,
                body,
            },
            InSession::No,
        );
        assert_eq!(
            (trouble.kind, trouble.failure.layer),
            (kind, layer),
            "{status} {body}"
        );
        assert_eq!(trouble.failure.status, Some(status));
        assert!(!trouble.failure.advice.is_empty());
    }
}

#[test]
fn a_server_of_the_operators_is_not_pomerium() {
    let sent = now();
    for (status, headers, body, kind, words) in [
        (
            401,
            [CHALLENGE].as_slice(),
            r#"{"error":"Unauthorized","request_id":"r"}"#,
            Kind::Denied,
            "bearer_token",
        ),
        (401, &[CHALLENGE], "", Kind::Denied, "bearer_token"),
        (413, &[], "", Kind::TooLarge, "whoever runs the server"),
        (
            502,
            &[("cache-control", "no-store")],
            "",
            Kind::Lost,
            "check",
        ),
    ] {
        let refused = Refused {
            status,
            headers: headers.to_vec().leak(),
            body,
        };
        let trouble = judge_from(&refused, InSession::No, (Layer::Server, sent));
        assert_eq!(trouble.kind, kind, "{status} {body}");
        assert_eq!(trouble.failure.layer, Layer::Server);
        assert!(trouble.failure.advice.contains(words), "{trouble:?}");
    }
}

#[test]
fn a_server_that_pomerium_has_no_credentials_for_is_not_called_down() {
    let refused = Refused {
        status: 502,
        headers: &[("cache-control", "no-store")],
        body: "",
    };
    let failure = judge(&refused, InSession::No).failure;
    assert!(
        failure.message.contains("want of credentials"),
        "{failure:?}"
    );
    assert!(!failure.message.contains("reached"), "{failure:?}");
    for setting in [
        "upstream_oauth2",
        "authorization_server_url",
        "pass_identity_headers: true",
        "try again",
    ] {
        assert!(failure.advice.contains(setting), "{failure:?}");
    }
}

#[test]
fn a_missing_certificate_is_a_denial_of_pomeriums_and_of_nobody_elses() {
    let page = r#"{"error":"device not authorized","request_id":"r"}"#;
    for status in [450, 495, 496] {
        let refused = Refused {
            status,
            headers: &[("x-request-id", "id-1")],
            body: page,
        };
        let Trouble { kind, failure } = judge(&refused, InSession::No);
        assert_eq!((kind, failure.layer), (Kind::Denied, Layer::Pomerium));
        assert!(
            failure.message.contains("device or client certificate"),
            "{failure:?}"
        );
        assert_eq!(failure.status, Some(status));
        assert_eq!(failure.request_id.as_deref(), Some("id-1"));
        let own = judge_from(&refused, InSession::No, (Layer::Server, now()));
        assert_eq!(
            (own.kind, own.failure.layer),
            (Kind::NoEndpoint, Layer::Server)
        );
        assert!(!own.failure.message.contains("Pomerium"), "{own:?}");
    }
}

#[test]
fn a_refusal_is_said_to_be_of_whoever_refused_with_the_reason() {
    let reason = "The request carries no X-Pomerium-Jwt-Assertion. Ask through Pomerium, on a \
                  route with pass_identity_headers: true.";
    for body in [
        serde_json::json!({"error": "forbidden", "message": reason}),
        serde_json::json!({"error": "forbidden", "error_description": reason}),
        serde_json::json!({"error": {"code": 7, "message": reason}}),
        serde_json::json!({"title": "Forbidden", "detail": reason}),
    ] {
        let refused = Refused {
            status: 403,
            headers: &[],
            body: body.to_string().leak(),
        };
        let Trouble { kind, failure } = judge(&refused, InSession::No);
        assert_eq!((kind, failure.layer), (Kind::Denied, Layer::Server));
        let words = format!("the server refuses this (403: {reason})");
        assert_eq!(failure.message, words);
        assert!(failure.advice.contains("whoever runs the server"));
        assert!(!failure.advice.contains("request id"), "{failure:?}");
    }
    let pomeriums = Refused {
        status: 403,
        headers: &[],
        body: r#"{"error":"Forbidden","request_id":"r"}"#,
    };
    let failure = judge(&pomeriums, InSession::No).failure;
    assert_eq!(failure.layer, Layer::Pomerium);
    assert!(failure.advice.contains("request id"), "{failure:?}");
    // The page by which Pomerium refuses a GET carries its challenge.
    let page = Refused {
        status: 401,
        headers: &[CHALLENGE],
        body: "<html>",
    };
    let failure = judge(&page, InSession::No).failure;
    assert_eq!(failure.layer, Layer::Pomerium);
}

#[test]
fn sizes_are_told_of_what_is_too_large() {
    let refused = Refused {
        status: 413,
        headers: &[],
        body: "Payload Too Large",
    };
    let failure = judge(&refused, InSession::No).failure;
    assert!(failure.message.contains("40000 bytes"), "{failure:?}");
    assert!(failure.advice.contains("max_request_bytes"), "{failure:?}");
}

#[test]
fn an_answer_that_a_route_cut_says_which_setting_is_missing() {
    let refused = Refused {
        status: 504,
        headers: &[],
        body: "upstream request timeout",
    };
    let after = |seconds: u64, led_to| {
        let at = Instant::now().checked_sub(Duration::from_secs(seconds));
        let sent = Sent {
            at: at.unwrap(),
            bytes: 1,
        };
        let trouble = judge_from(&refused, InSession::No, (led_to, sent));
        assert_eq!(trouble.kind, Kind::Lost, "its outcome stays what it is");
        trouble.failure.advice
    };
    let cut = after(30, Layer::Pomerium);
    assert!(
        cut.contains("`timeout: 0s`") && cut.contains("check"),
        "{cut}"
    );
    for (seconds, led_to) in [
        (20, Layer::Pomerium),
        (40, Layer::Pomerium),
        (30, Layer::Server),
    ] {
        let advice = after(seconds, led_to);
        assert!(!advice.contains("timeout"), "{seconds}: {advice}");
    }
}

#[test]
fn a_session_is_gone_only_for_those_who_had_one() {
    let not_found = Refused {
        status: 404,
        headers: &[],
        body: "",
    };
    assert_eq!(judge(&not_found, InSession::Yes).kind, Kind::SessionGone);
    assert_eq!(judge(&not_found, InSession::No).kind, Kind::NoEndpoint);
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    let bad_request = Refused {
        status: 400,
        headers: &[],
        body,
    };
    assert_eq!(judge(&bad_request, InSession::Yes).kind, Kind::SessionGone);
    assert_eq!(judge(&bad_request, InSession::No).kind, Kind::NoEndpoint);
}

#[test]
fn a_denial_names_its_request_and_other_invalid_params_are_none() {
    let denial = serde_json::json!({
        "code": -32602,
        "message": "access denied, please see the authorization log for the request r for details",
        "data": { "request_id": "r" },
    });
    let trouble = Trouble::of_rpc_error(&denial, Layer::Pomerium).unwrap();
    assert_eq!(trouble.kind, Kind::Denied);
    assert_eq!(trouble.failure.request_id.as_deref(), Some("r"));
    let plain = serde_json::json!({ "code": -32602, "message": "access denied to row 7" });
    assert_eq!(Trouble::of_rpc_error(&plain, Layer::Pomerium), None);
    // Another server that says the same says it for itself.
    assert_eq!(Trouble::of_rpc_error(&denial, Layer::Server), None);
}

#[test]
fn an_excerpt_is_one_short_line() {
    assert_eq!(excerpt(b" <p>\n  hi </p>"), "<p> hi </p>");
    assert!(excerpt("word ".repeat(100).as_bytes()).ends_with('…'));
    assert!(excerpt(&[b'x'; 10_000]).chars().count() <= EXCERPT + 1);
}
