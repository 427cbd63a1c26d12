//! Where connections go: Pomerium's hosts to the address the operator named, others by DNS.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use ::http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::loopback;

/// The longest wait for a connection, TLS included: a host that does not answer by then is down.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose a host is: Pomerium's or the operator's, whoever named it first, and never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Pomerium's: the public URL's host, or one that its routes name.
    Pomerium,
    /// That of a server from the configuration.
    Operator,
}

/// The hosts whose owner is known, and where to dial for Pomerium's.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    address: Option<String>,
    owners: RwLock<HashMap<String, Owner>>,
}

impl Hosts {
    /// `address` is `host:port`; none means that DNS leads to Pomerium.
    pub(super) fn new(address: Option<String>) -> Self {
        Self {
            address,
            owners: RwLock::default(),
        }
    }

    /// Says whose the host is, unless that is known.
    pub(super) fn name(&self, host: &str, owner: Owner) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        owners.entry(host.to_ascii_lowercase()).or_insert(owner);
    }

    pub(super) fn owner(&self, host: &str) -> Option<Owner> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(&host.to_ascii_lowercase()).copied()
    }

    /// Whether connections go to an address of the operator's instead of the URL's.
    pub(super) fn has_address(&self) -> bool {
        self.address.is_some()
    }

    fn address_for(&self, host: &str) -> Option<&str> {
        let address = self.address.as_deref()?;
        (self.owner(host) == Some(Owner::Pomerium)).then_some(address)
    }
}

/// Opens connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) tls: TlsConnector,
    pub(super) hosts: Arc<Hosts>,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> io::Result<Dialed> {
        let host = uri.host().ok_or_else(|| invalid("the URL has no host"))?;
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let secure = uri.scheme_str() == Some("https");
        let tcp = if let Some(address) = self.hosts.address_for(&bare) {
            TcpStream::connect(address).await?
        } else {
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            match loopback::addresses(&bare, port) {
                Some(here) => TcpStream::connect(here.as_slice()).await?,
                None => TcpStream::connect((bare.as_str(), port)).await?,
            }
        };
        // Small requests would wait for the delayed acknowledgement of the one before.
        tcp.set_nodelay(true)?;
        if !secure {
            return Ok(Dialed {
                io: TokioIo::new(Box::new(tcp)),
                h2: false,
            });
        }
        let name = ServerName::try_from(bare).map_err(invalid)?;
        let tls = self.tls.connect(name, tcp).await?;
        let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
        Ok(Dialed {
            io: TokioIo::new(Box::new(tls)),
            h2,
        })
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl tower::Service<Uri> for Dialer {
    type Response = Dialed;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Dialed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = self.clone().dial(uri);
        Box::pin(async {
            tokio::time::timeout(CONNECT_TIMEOUT, dialing)
                .await
                .unwrap_or_else(|_| {
                    let seconds = CONNECT_TIMEOUT.as_secs();
                    let message = format!("no connection within {seconds} s");
                    Err(io::Error::new(io::ErrorKind::TimedOut, message))
                })
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, with or without TLS.
pub(super) struct Dialed {
    io: TokioIo<Box<dyn Io>>,
    h2: bool,
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
