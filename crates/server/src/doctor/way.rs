//! The way out: requests as `serve` would send them, and what passed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use wire::{
    http::{Credential, Http, HttpError, HttpOptions, Incoming, Outgoing},
    tap::{Context, Exchange, Peer, Tap, TraceTap},
};

use super::report::{Check, Group};
use crate::config::Config;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Sends requests for the checks. To be closed when they are done.
pub(super) struct Way {
    pub(super) http: Http,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) versions: Arc<Versions>,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) request_id: Option<String>,
    pub(super) took: Duration,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Way {
    /// Sets up the client; sends nothing. The error is the check that failed.
    pub(super) fn open(config: &Config) -> Result<Self, Check> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let versions = Arc::new(Versions::default());
        let failed = |what: String, mend: &str| {
            Check::fail(Group::Settings, "settings.ca_file", what).mend(mend)
        };
        let path = config.ca_file.as_deref();
        let ca_pem = path.map(std::fs::read).transpose().map_err(|error| {
            let path = path.unwrap_or(std::path::Path::new("")).display();
            let what = format!("TOOLGATE_CA_FILE: cannot read {path}: {error}");
            failed(
                what,
                "set TOOLGATE_CA_FILE to a readable file of certificates, PEM",
            )
        })?;
        let http = Http::new(HttpOptions {
            pomerium_addr: config.pomerium_addr.clone(),
            ca_pem,
            tap: Arc::clone(&versions) as Arc<dyn Tap>,
            tasks: tasks.clone(),
            shutdown: stop.clone(),
        });
        let http = http.map_err(|error| {
            failed(
                error.to_string(),
                "set TOOLGATE_CA_FILE to a file of certificates, PEM",
            )
        })?;
        for server in &config.servers {
            http.name_configured_host(server.url.host_str().unwrap_or_default());
        }
        Ok(Self {
            http,
            tasks,
            stop,
            versions,
        })
    }

    /// Asks for something, and reads all of the answer.
    pub(super) async fn get(&self, url: Url) -> Result<Answer, String> {
        self.get_with(url, HeaderMap::new(), Credential::None).await
    }

    /// Asks for something as somebody, and reads all of the answer.
    pub(super) async fn get_with(
        &self,
        url: Url,
        mut headers: HeaderMap,
        credential: Credential,
    ) -> Result<Answer, String> {
        let started = Instant::now();
        // With any other an expired session is a redirect.
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let asking = async {
            let answer = self.begin(url, headers, credential).await?;
            let (status, headers) = (answer.status, answer.headers.clone());
            let request_id = answer.request_id();
            Ok(Answer {
                status,
                headers,
                request_id,
                body: answer.body.whole(ANSWER_BYTES).await?,
                took: started.elapsed(),
            })
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(answered) => answered.map_err(|error: HttpError| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }

    /// Asks for something, and reads only the head of the answer.
    pub(super) async fn begin(
        &self,
        url: Url,
        headers: HeaderMap,
        credential: Credential,
    ) -> Result<Incoming, HttpError> {
        let lane = self.http.lane(&url);
        let outgoing = Outgoing {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
            credential,
            context: Context {
                peer: Peer::Pomerium,
                ..Context::default()
            },
        };
        self.http.send(&lane, outgoing).await
    }

    /// Ends everything that was begun.
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Which version of MCP each server was last spoken to in: requests name it
/// (`MCP-Protocol-Version`).
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<HashMap<String, String>>);

impl Versions {
    pub(super) fn of(&self, server: &str) -> Option<String> {
        let versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(server).cloned()
    }
}

impl Tap for Versions {
    fn finished(&self, exchange: &Exchange) {
        TraceTap.finished(exchange);
        let mut headers = exchange.request_headers.iter();
        let version = headers.find(|(name, _)| name.eq_ignore_ascii_case("mcp-protocol-version"));
        if let (Some(server), Some((_, version))) = (&exchange.context.server, version) {
            let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            versions.insert(server.clone(), version.clone());
        }
    }
}
