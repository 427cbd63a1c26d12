use super::*;

struct Refused {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

fn judge(refused: &Refused, in_session: InSession) -> Trouble {
    let mut headers = HeaderMap::new();
    for (name, value) in refused.headers {
        headers.insert(*name, value.parse().unwrap());
    }
    Rejection {
        status: StatusCode::from_u16(refused.status).unwrap(),
        headers: &headers,
        body: refused.body.as_bytes(),
        in_session: matches!(in_session, InSession::Yes),
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
    let trouble = Trouble::of_rpc_error(&denial).unwrap();
    assert_eq!(trouble.kind, Kind::Denied);
    assert_eq!(trouble.failure.request_id.as_deref(), Some("r"));
    let plain = serde_json::json!({ "code": -32602, "message": "access denied to row 7" });
    assert_eq!(Trouble::of_rpc_error(&plain), None);
}

#[test]
fn an_excerpt_is_one_short_line() {
    assert_eq!(excerpt(b" <p>\n  hi </p>"), "<p> hi </p>");
    assert!(excerpt("word ".repeat(100).as_bytes()).ends_with('…'));
    assert!(excerpt(&[b'x'; 10_000]).chars().count() <= EXCERPT + 1);
}
