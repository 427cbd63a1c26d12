//! What an operator's tools ask: `/livez` and `/readyz`, on a port of their own that no route of
//! Pomerium's leads to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    BoxError, Json, Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use serde::Serialize;
use store::Store;
use tokio::{net::TcpListener, sync::Mutex, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use wire::{
    http::{Credential, Http, HttpOptions, Outgoing},
    tap::{Context, TraceTap},
};

use crate::{listen, traffic::Traffic};

/// How long an answer of the database's is good for: each look is a write.
const LOOK_LIFE: Duration = Duration::from_secs(5);

/// How long the database may take. SQLite waits as long for another process's lock.
const LOOK_TIMEOUT: Duration = Duration::from_secs(6);

/// How long the answer to a health check may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(8);

/// Bytes of that answer.
const ANSWER_BYTES: usize = 4 * 1024;

/// Asks the Toolgate that listens there whether it is ready.
///
/// # Errors
/// Why it is not, or why it cannot be asked, for a person.
pub async fn ask_ready(listens: SocketAddr) -> Result<(), String> {
    let asking = async {
        let http = Http::new(HttpOptions {
            pomerium_addr: None,
            ca_pem: None,
            tap: Arc::new(TraceTap),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        })?;
        let url = Url::parse(&format!("http://{}/readyz", dialled(listens)))?;
        let outgoing = Outgoing {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            credential: Credential::None,
            context: Context::default(),
        };
        let answer = http.send(&http.lane(&url), outgoing).await?;
        let status = answer.status;
        let body = answer.body.whole(ANSWER_BYTES).await?;
        if status == StatusCode::OK {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&body);
        Err(format!("not ready ({}): {}", status.as_u16(), said.trim()).into())
    };
    let asked: Result<Result<(), BoxError>, _> = tokio::time::timeout(ASK_TIMEOUT, asking).await;
    match asked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{listens}: {error}")),
        Err(_) => Err(format!("{listens}: no answer within 8 s")),
    }
}

/// Where to dial for what listens there: one that listens everywhere also does so here.
fn dialled(listens: SocketAddr) -> SocketAddr {
    let here: IpAddr = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(here, listens.port())
}

/// Whether Toolgate can serve.
#[derive(Debug)]
pub(crate) struct Health {
    draining: CancellationToken,
    /// Set when the turns of the last run were taken up.
    store: OnceLock<Database>,
}

struct Database {
    store: Store,
    traffic: Traffic,
    /// When it was looked at last, and whether it took the write. Held while it is looked at.
    looked: Mutex<Option<(Instant, bool)>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Why it is not.
    reasons: Vec<Reason>,
    /// What does not work, though requests can be sent here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limit>,
}

/// What does not work at the moment. It mends itself when there is room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Limit {
    /// The disk is almost full: no turn is begun.
    NoNewTurns,
    /// The disk is almost full, or the traffic file fails: traffic is not recorded.
    NoTraffic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    /// The turns of the last run are being taken up.
    Recovering,
    /// The database does not take writes.
    Database,
    /// The program is going to end.
    Draining,
}

impl Health {
    pub(crate) fn new(draining: CancellationToken) -> Self {
        Self {
            draining,
            store: OnceLock::new(),
        }
    }

    /// The turns of the last run were taken up.
    pub(crate) fn recovered(&self, store: Store, traffic: Traffic) {
        self.store.get_or_init(|| Database {
            store,
            traffic,
            looked: Mutex::default(),
        });
    }

    fn limits(&self) -> Vec<Limit> {
        let Some(database) = self.store.get() else {
            return Vec::new();
        };
        let full = (!database.store.has_room()).then_some(Limit::NoNewTurns);
        let paused = database.traffic.dropped().paused;
        full.into_iter()
            .chain(paused.map(|_| Limit::NoTraffic))
            .collect()
    }

    async fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.draining.is_cancelled() {
            reasons.push(Reason::Draining);
        }
        match self.store.get() {
            None => reasons.push(Reason::Recovering),
            Some(database) if !database.takes_writes().await => reasons.push(Reason::Database),
            Some(_) => {}
        }
        reasons
    }
}

impl Database {
    async fn takes_writes(&self) -> bool {
        let mut looked = self.looked.lock().await;
        if let Some((at, works)) = *looked
            && at.elapsed() < LOOK_LIFE
        {
            return works;
        }
        let probe = tokio::time::timeout(LOOK_TIMEOUT, self.store.probe()).await;
        let works = match probe {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database does not take writes");
                false
            }
            Err(_) => {
                tracing::warn!("the database does not take writes in time");
                false
            }
        };
        *looked = Some((Instant::now(), works));
        works
    }
}

/// Answers on `listener` until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, shutdown: CancellationToken) {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health);
    listen::serve(listener, routes, shutdown, Duration::ZERO).await;
}

/// `GET /livez`: the process answers.
async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests can be sent here.
async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let reasons = health.reasons().await;
    let ready = reasons.is_empty();
    let readiness = Readiness {
        ready,
        reasons,
        limits: health.limits(),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_ready_when_it_has_recovered_and_writes_and_does_not_drain() {
        let draining = CancellationToken::new();
        let health = Health::new(draining.clone());
        assert_eq!(health.reasons().await, [Reason::Recovering]);

        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("t.db").display());
        let store = Store::open(&url, &TaskTracker::new()).await.unwrap();
        health.recovered(store.clone(), Traffic::none());
        assert_eq!(health.reasons().await, []);

        draining.cancel();
        assert_eq!(health.reasons().await, [Reason::Draining]);
    }

    #[tokio::test]
    async fn a_health_check_learns_why_it_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let health = Arc::new(Health::new(CancellationToken::new()));
        tasks.spawn(serve(listener, Arc::clone(&health), shutdown.clone()));

        let error = ask_ready(address).await.unwrap_err();
        assert!(error.contains("recovering"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("t.db").display());
        let store = Store::open(&url, &TaskTracker::new()).await.unwrap();
        health.recovered(store, Traffic::none());
        assert_eq!(ask_ready(address).await, Ok(()));

        shutdown.cancel();
        tasks.close();
        tasks.wait().await;
        let error = ask_ready(address).await.unwrap_err();
        assert!(error.contains("cannot connect"), "{error}");
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        for (listens, dial) in [
            ("0.0.0.0:3001", "127.0.0.1:3001"),
            ("[::]:3001", "[::1]:3001"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(dialled(listens.parse().unwrap()).to_string(), dial);
        }
    }

    #[tokio::test]
    async fn a_database_that_takes_no_writes_is_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("t.db").display());
        let store = Store::open(&url, &TaskTracker::new()).await.unwrap();
        let health = Health::new(CancellationToken::new());
        health.recovered(store.clone(), Traffic::none());
        store.close().await;
        assert_eq!(health.reasons().await, [Reason::Database]);
    }
}
