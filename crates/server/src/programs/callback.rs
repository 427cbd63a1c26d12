//! Where the browser brings the token: a page on this machine, for one visit.

use std::{io, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::key::Key;

/// How long a person has to sign in: Pomerium's address to sign in at is good for as long.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// How long the last page may take to be sent.
const LAST_PAGE: Duration = Duration::from_secs(2);

const DONE: &str = "<!doctype html><meta charset=utf-8><title>Signed in</title>\
    <h1>Signed in</h1><p>You can close this tab and go back to the terminal.";

const FAILED: &str = "<!doctype html><meta charset=utf-8><title>Not signed in</title>\
    <h1>Not signed in</h1><p>Pomerium sent no token. Go back to the terminal, and run \
    <code>toolgate login</code> again.";

/// The address of the page has a token in it: it is not to be kept or passed on.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// A listener on loopback whose address nobody can guess, so that no other page can bring a token
/// of somebody else's.
pub(super) struct Callback {
    listener: TcpListener,
    url: Url,
}

#[derive(Deserialize)]
struct Brought {
    #[serde(default)]
    pomerium_jwt: String,
}

impl Callback {
    pub(super) async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let path = Uuid::new_v4().simple();
        let url = Url::parse(&format!("http://{address}/{path}")).map_err(io::Error::other)?;
        Ok(Self { listener, url })
    }

    /// Where the browser is to bring the token.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for the token; none after [`PATIENCE`].
    pub(super) async fn token(self) -> io::Result<Option<Key>> {
        let (bring, mut brought) = mpsc::channel(1);
        let done = CancellationToken::new();
        let router = Router::new()
            .route(self.url.path(), get(page))
            .with_state(bring);
        let serving = axum::serve(self.listener, router)
            .with_graceful_shutdown(done.clone().cancelled_owned())
            .into_future();
        tokio::pin!(serving);
        let token = tokio::select! {
            served = &mut serving => {
                served?;
                None
            }
            token = tokio::time::timeout(PATIENCE, brought.recv()) => token.ok().flatten(),
        };
        done.cancel();
        // Whether the page arrives changes nothing.
        let _sent = tokio::time::timeout(LAST_PAGE, serving).await;
        Ok(token)
    }
}

async fn page(State(bring): State<mpsc::Sender<Key>>, Query(brought): Query<Brought>) -> Response {
    match Key::new(&brought.pomerium_jwt) {
        Some(key) => {
            // A page that is loaded again brings the same.
            let _first_counts = bring.try_send(key);
            (HEADERS, Html(DONE)).into_response()
        }
        None => (StatusCode::BAD_REQUEST, HEADERS, Html(FAILED)).into_response(),
    }
}
