//! Who may use the forwarder: programs on this machine, and no page that a browser shows.

use axum::http::{HeaderMap, HeaderName, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use wire::http::is_loopback;

use crate::error::Problem;

/// Where a browser says a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Looks at each request before anything of it is forwarded.
#[derive(Debug)]
pub(super) struct Gate {
    /// The digest of what callers must send as bearer: comparing digests tells nothing by its time.
    key: Option<[u8; 32]>,
}

impl Gate {
    pub(super) fn new(key: Option<SecretString>) -> Self {
        Self {
            key: key.map(|key| digest(key.expose_secret())),
        }
    }

    /// Whether the request may pass.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !is_local(headers) || is_page(headers) {
            return Err(Problem::not_from_here());
        }
        match self.key {
            Some(key) if bearer(headers).map(digest) != Some(key) => Err(Problem::wrong_key()),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether the request names this machine: a page may have made its own name lead here (DNS
/// rebinding).
fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let host = host.and_then(|host| host.to_str().ok());
    more.is_none() && host.is_some_and(|host| is_loopback(without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// Whether a page of a browser's sent it. The forwarder has no pages, so each is foreign.
fn is_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    headers.contains_key(header::ORIGIN) || sites.any(|site| site != "none")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn names_of_elsewhere_and_pages_are_refused() {
        let gate = Gate::new(None);
        for refused in [
            &[][..],
            &[("host", "evil.example:8484")],
            &[("host", "127.0.0.1.evil.example")],
            &[("host", "127.0.0.1:8484"), ("host", "evil.example")],
            &[
                ("host", "127.0.0.1:8484"),
                ("origin", "https://evil.example"),
            ],
            &[("host", "127.0.0.1:8484"), ("origin", "null")],
            &[("host", "127.0.0.1:8484"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost"), ("sec-fetch-site", "same-site")],
        ] {
            let problem = gate.admit(&headers(refused)).unwrap_err();
            assert_eq!(problem.status, 403, "{refused:?}");
        }
        for passes in [
            &[("host", "127.0.0.1:8484")][..],
            &[("host", "localhost:8484")],
            &[("host", "[::1]:8484")],
            &[("host", "[::1]")],
            &[("host", "localhost"), ("sec-fetch-site", "none")],
        ] {
            assert!(gate.admit(&headers(passes)).is_ok(), "{passes:?}");
        }
    }

    #[test]
    fn a_forwarder_with_a_key_wants_it() {
        let gate = Gate::new(Some("sk-1".into()));
        let host = ("host", "localhost");
        for wrong in [
            "Bearer sk-2",
            "Bearer ",
            "Basic sk-1",
            "sk-1",
            "Bearer sk-11",
        ] {
            let problem = gate
                .admit(&headers(&[host, ("authorization", wrong)]))
                .unwrap_err();
            assert_eq!(problem.status, 401, "{wrong}");
        }
        assert!(gate.admit(&headers(&[host])).is_err());
        let right = headers(&[host, ("authorization", "bearer sk-1")]);
        assert!(gate.admit(&right).is_ok());
    }
}
