//! Whether a northwind serves: the path that says so, and the program that asks it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::get::get;

/// Answers 200 to anybody while the server serves. It says nothing about its data, so it needs no
/// assertion.
pub(crate) const PATH: &str = "/livez";

/// How long an answer may take. Container health checks commonly wait for 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the northwind whose `--listen` is `listen` whether it serves: one that is on all addresses
/// (`0.0.0.0`, `[::]`) is asked on loopback.
///
/// # Errors
/// Nothing answers there within 3 s, or something that is not well.
pub async fn check(listen: &str) -> io::Result<()> {
    let asked = async {
        let address = lookup_host(listen)
            .await?
            .next()
            .ok_or_else(|| io::Error::other("the name has no address"))?;
        let stream = TcpStream::connect(reachable(address)).await?;
        get(stream, "localhost", PATH).await
    };
    let (status, _) = timeout(PATIENCE, asked)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer within 3 s"))??;
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(io::Error::other(format!("it answers {status}")))
    }
}

/// Where a program on this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            let address = reachable(listen.parse().unwrap());
            assert_eq!(address.to_string(), asked);
        }
    }
}
