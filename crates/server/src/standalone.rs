//! Standing alone, without Pomerium: one person, on this machine.
//!
//! Nothing says who a request is from, so it must be from here. Toolgate then listens on loopback
//! only (`config` sees to that). A page of another site can still make a browser on this machine
//! send requests, and a name of that site's that leads to 127.0.0.1 makes them look like its own
//! (DNS rebinding): so only this machine's own names count as `Host`, and no foreign `Origin`.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, header, uri::Authority},
};
use chat::ids::{Sid, Subject};

use crate::{
    error::Problem,
    identity::{ASSERTION, Person},
};

/// The one user, and their one session.
const LOCAL: &str = "local";

/// The names of this machine that a request may ask for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Headers that a proxy adds: what came through one is from somebody whom nothing names.
const OF_PROXIES: [HeaderName; 7] = [
    HeaderName::from_static(ASSERTION),
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// The one person, if the request is theirs.
pub(crate) fn person(request: &Request) -> Result<Person, Problem> {
    let headers = request.headers();
    if OF_PROXIES.iter().any(|name| headers.contains_key(name)) {
        return Err(Problem::proxied());
    }
    // The target of a request can name a host too (RFC 9112, section 3.2.2), and then it counts.
    let target = request.uri().authority();
    if !target.is_none_or(is_here) || host(headers).is_none_or(|host| !is_here(&host)) {
        return Err(Problem::misdirected());
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if !origins.all(|from| from.to_str().is_ok_and(|from| is_origin(headers, from))) {
        return Err(Problem::cross_site());
    }
    Ok(Person {
        subject: Subject::from(LOCAL),
        sid: Sid::from(LOCAL),
        name: "You".to_owned(),
        email: None,
    })
}

/// Whether a page of ours was sent from `origin`: the one that the request asks for.
pub(crate) fn is_origin(headers: &HeaderMap, origin: &str) -> bool {
    host(headers).is_some_and(|host| origin.eq_ignore_ascii_case(&format!("http://{host}")))
}

/// The `Host` of the request, if there is exactly one.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else {
        return None;
    };
    host.to_str().ok()?.parse().ok()
}

fn is_here(authority: &Authority) -> bool {
    // `user@localhost` is no host.
    let plain = !authority.as_str().contains('@');
    plain
        && NAMES
            .iter()
            .any(|name| authority.host().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};

    use super::*;

    fn asked(target: &str, headers: &[(&str, &str)]) -> Result<Person, StatusCode> {
        let request = headers.iter().fold(
            axum::http::Request::builder().uri(target),
            |request, (name, value)| request.header(*name, *value),
        );
        person(&request.body(Body::empty()).unwrap()).map_err(|problem| problem.status)
    }

    #[test]
    fn a_name_that_is_not_this_machines_is_refused() {
        let refused = Err(StatusCode::MISDIRECTED_REQUEST);
        for host in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example:3000",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.0.0.2:3000",
            "[::2]:3000",
            "0.0.0.0:3000",
            "chat.localhost:3000",
            "",
        ] {
            assert_eq!(asked("/", &[("host", host)]), refused, "{host}");
        }
        assert_eq!(asked("/", &[]), refused);
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(asked("/", &twice), refused);
        let target = asked("http://evil.example/", &[("host", "localhost")]);
        assert_eq!(target, refused);
    }

    #[test]
    fn another_sites_origin_and_a_proxys_request_are_refused() {
        let refused = Err(StatusCode::FORBIDDEN);
        let host = ("host", "localhost:3000");
        for origin in [
            "http://evil.example",
            "null",
            "https://localhost:3000",
            "http://localhost:3001",
            "http://localhost",
            "http://127.0.0.1:3000",
        ] {
            assert_eq!(asked("/", &[host, ("origin", origin)]), refused, "{origin}");
        }
        for name in [
            ASSERTION,
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
        ] {
            assert_eq!(asked("/", &[host, (name, "x")]), refused, "{name}");
        }
    }

    #[test]
    fn whoever_asks_from_here_is_the_one_user() {
        for host in ["localhost", "LOCALHOST:3000", "127.0.0.1:80", "[::1]:3000"] {
            let origin = format!("http://{host}");
            let bearer = ("authorization", "Bearer sk-anything");
            let person = asked("/", &[("host", host), ("origin", &origin), bearer]).unwrap();
            assert_eq!(person.subject, Subject::from("local"));
            assert_eq!(person.email, None);
        }
    }
}
