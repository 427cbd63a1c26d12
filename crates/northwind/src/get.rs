//! One GET request over a connection that is open already, without a client's pool or tasks.

use std::{io, pin::pin};

use axum::http::{Request, StatusCode, header::HOST};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest body that is read, bytes. A key set has some hundred bytes a key.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Asks for `path` of the host `authority` and reads the whole answer. No deadline: that is the
/// caller's.
pub(crate) async fn get(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    path: &str,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(io::Error::other)?;
    let request = Request::get(path)
        .header(HOST, authority)
        .header("accept", "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let mut answer = pin!(async move {
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES);
        let body = body.collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A connection that ended has handed over all that it read.
        _ = connection => answer.await,
    }
}
