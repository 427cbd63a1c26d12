//! The side of the program that asks: plain HTTP/1.1, one connection after the other.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST, ORIGIN},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    Failure,
    endpoint::{MARK, MICROS, MODEL, Script, micros},
};

/// How long an answer may take to begin, and then to go on.
const PATIENCE: Duration = Duration::from_mins(1);

/// The wait before a request that was refused is sent again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A connection to one of the programs.
pub(crate) struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

/// What came of a streamed answer.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// From the request to the first delta.
    pub(crate) first: Duration,
    /// Deltas, however they were merged.
    pub(crate) deltas: u32,
    /// How long deltas took from the endpoint to here, those that say when they were said.
    pub(crate) lags: Vec<Duration>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    async fn over(stream: TcpStream, address: SocketAddr) -> Result<Self, Failure> {
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        TaskTracker::new().spawn(connection);
        Ok(Self { sender, address })
    }

    /// Sends a request; any status is an answer.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(ORIGIN, format!("http://{}", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        Ok(tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await??)
    }

    /// Asks for a streamed completion, and reads it to its end. An answer that is not all that the
    /// script says is a failure.
    pub(crate) async fn complete(&mut self, script: Script) -> Result<Heard, Failure> {
        let body = serde_json::json!({
            "model": MODEL,
            "stream": true,
            "messages": [{ "role": "user", "content": script.to_string() }],
        });
        let (answer, asked) = loop {
            let asked = Instant::now();
            let path = "/v1/chat/completions";
            let answer = self.send(Method::POST, path, body.to_string()).await?;
            match answer.status() {
                StatusCode::OK => break (answer, asked),
                // Everybody here is the same person to Toolgate, and may only ask so fast.
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(ASK_AGAIN).await,
                _ => {
                    let body = answer.into_body().collect().await?.to_bytes();
                    return Err(String::from_utf8_lossy(&body).into());
                }
            }
            answer.into_body().collect().await?;
        };
        let mut hearing = Hearing::default();
        let mut body = answer.into_body();
        while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await? {
            if let Ok(bytes) = frame?.into_data() {
                hearing.hear(&bytes, asked);
            }
        }
        let heard = hearing.heard;
        if heard.deltas == script.deltas && hearing.done {
            Ok(heard)
        } else {
            Err(format!(
                "{} of {script} were heard, to its end: {}",
                heard.deltas, hearing.done
            )
            .into())
        }
    }
}

/// Asks for a short answer.
pub(crate) async fn get(stream: TcpStream, path: &str) -> Result<(u16, String), Failure> {
    let address = stream.peer_addr()?;
    let mut client = Client::over(stream, address).await?;
    let answer = client.send(Method::GET, path, String::new()).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// An answer while it is read: as little of it is looked at as will do.
#[derive(Default)]
struct Hearing {
    heard: Heard,
    done: bool,
    /// The event that is not at its end yet.
    open: Vec<u8>,
}

/// What stands before the text of a delta.
const CONTENT: &[u8] = b"\"content\":\"";

impl Hearing {
    fn hear(&mut self, bytes: &[u8], asked: Instant) {
        self.open.extend_from_slice(bytes);
        let open = std::mem::take(&mut self.open);
        let mut rest = open.as_slice();
        while let Some((event, after)) = cut(rest, b"\n\n") {
            self.event(event, asked);
            rest = after;
        }
        self.open = rest.to_vec();
    }

    fn event(&mut self, event: &[u8], asked: Instant) {
        self.done |= event == b"data: [DONE]";
        let Some((_, text)) = cut(event, CONTENT) else {
            return;
        };
        let (text, _) = cut(text, b"\"").unwrap_or((text, b""));
        for (n, part) in text.split(|byte| *byte == MARK).enumerate() {
            if n == 0 {
                continue;
            }
            if self.heard.deltas == 0 {
                self.heard.first = asked.elapsed();
            }
            self.heard.deltas += 1;
            self.heard.lags.extend(lag(part));
        }
    }
}

/// How long ago the delta was said, if it says when.
fn lag(part: &[u8]) -> Option<Duration> {
    let (stamp, _) = cut(part.strip_prefix(b"@")?, b";")?;
    let said: u64 = std::str::from_utf8(stamp).ok()?.parse().ok()?;
    Some(Duration::from_micros((micros() + MICROS - said) % MICROS))
}

/// What stands before and after `what`.
fn cut<'a>(bytes: &'a [u8], what: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(what.len())
        .position(|window| window == what)?;
    let (before, rest) = bytes.split_at(at);
    Some((before, rest.get(what.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn deltas_are_counted_however_they_are_merged_and_cut() {
        let said = "data: {\"delta\":{\"content\":\" w~@7;\"}}\n\n\
                    data: {\"delta\":{\"content\":\"\"}}\n\n\
                    data: {\"delta\":{\"content\":\" word~ word~.\\n\\nWord\"}}\n\ndata: [DONE]\n\n";
        for piece in [1, 7, 1000] {
            let mut hearing = Hearing::default();
            for bytes in said.as_bytes().chunks(piece) {
                hearing.hear(bytes, Instant::now());
            }
            assert_eq!((hearing.heard.deltas, hearing.done), (3, true));
            assert_eq!(hearing.heard.lags.len(), 1);
        }
    }
}
