//! This machine: what never leaves it needs no TLS, and names under `localhost` need no DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether a URL's host or a `Host` header's (without its port) is this machine: a loopback
/// address, `localhost`, or a name under it (RFC 6761, section 6.3).
pub fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => bare.is_none() && is_localhost(host),
    }
}

/// Where to dial for `host` if it is `localhost` or under it: never to what DNS might say.
pub(super) fn addresses(host: &str, port: u16) -> Option<[SocketAddr; 2]> {
    is_localhost(host).then(|| {
        [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ]
    })
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for elsewhere in [
            "",
            "example.com",
            "localhost.example.com",
            "notlocalhost",
            "chat.localhost.evil",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "[localhost]",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
        for here in [
            "localhost",
            "LocalHost.",
            "chat.localhost",
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(here), "{here}");
        }
    }
}
