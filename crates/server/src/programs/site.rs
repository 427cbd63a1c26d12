//! A Toolgate behind Pomerium, as a program reaches it.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use chat::failure::Failure;
use serde::Deserialize;
use url::Url;
use wire::{
    http::{Credential, Http, HttpError, Incoming, Lane, Outgoing},
    pomerium::wants_certificate,
    tap::{Context, Peer},
};

use super::{Error, key::Key, origin::Origin};

/// How long an answer about the session may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Bytes of such an answer.
const ANSWER_BYTES: usize = 256 * 1024;

/// Pomerium's programmatic login (v0.33, `proxy/handlers.go`).
const LOGIN: &str = "/.pomerium/api/v1/login";

/// Who a token stands for.
const SESSION: &str = "/api/session";

/// Sends to one Toolgate. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Site {
    http: Http,
    origin: Origin,
}

/// A request with a person's token.
pub(super) struct Asked {
    pub(super) method: Method,
    /// On the site's own host.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Who is signed in, as `GET /api/session` says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Who {
    #[serde(default)]
    pub(super) subject: Option<String>,
    pub(super) name: String,
    email: Option<String>,
    token_seconds: Option<u64>,
}

/// What a token is worth.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// A session of this person's.
    SignedIn(Who),
    /// Nothing any more: the session has ended.
    Ended,
    /// Nobody could say, for this reason.
    Unknown(String),
}

/// What Toolgate says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    detail: String,
    #[serde(default)]
    advice: String,
}

impl Who {
    /// `Ana (ana@example.com)`.
    pub(super) fn full_name(&self) -> String {
        match &self.email {
            Some(email) if *email != self.name => format!("{} ({email})", self.name),
            Some(_) | None => self.name.clone(),
        }
    }

    /// How long the External Tokens of the session live: the answer that said so came with a new
    /// one. None where there are none.
    pub(super) fn token_life(&self) -> Option<Duration> {
        self.token_seconds.map(Duration::from_secs)
    }
}

impl Site {
    /// The person named it: its host is Pomerium's.
    pub(super) fn new(http: Http, origin: Origin) -> Self {
        http.trust_pomerium_host(origin.host());
        Self { http, origin }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A place for one request, to be held as long as its answer is read.
    pub(super) fn lane(&self) -> Arc<Lane> {
        Arc::new(self.http.lane(self.origin.url()))
    }

    /// Sends a request with the token.
    pub(super) async fn send(
        &self,
        lane: &Lane,
        asked: Asked,
        key: Option<&Key>,
    ) -> Result<Incoming, HttpError> {
        let outgoing = Outgoing {
            method: asked.method,
            url: asked.url,
            headers: asked.headers,
            body: asked.body,
            credential: key.map_or(Credential::None, |key| {
                Credential::ExternalToken(key.api_key())
            }),
            context: Context {
                peer: Peer::Pomerium,
                ..Context::default()
            },
        };
        self.http.send(lane, outgoing).await
    }

    /// Where to sign in, so that the token comes to `back`.
    pub(super) async fn sign_in_address(&self, back: &Url) -> Result<Url, Error> {
        let origin = &self.origin;
        let mut url = self.at(LOGIN);
        url.query_pairs_mut()
            .append_pair("pomerium_redirect_uri", back.as_str());
        let (status, headers, body) = self
            .get(url, None)
            .await
            .map_err(|why| Error::failed(format!("{origin} cannot be asked: {why}")))?;
        let kind = headers.get(header::CONTENT_TYPE);
        let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let address = std::str::from_utf8(&body).unwrap_or_default().trim();
        let address = Url::parse(address).ok();
        match address.filter(|url| matches!(url.scheme(), "http" | "https")) {
            Some(address) if status == StatusCode::OK && is_text => Ok(address),
            Some(_) | None => Err(Error::failed(format!(
                "{origin} does not say where to sign in ({}): {}",
                status.as_u16(),
                in_words(wants_certificate(status).as_ref())
                    .unwrap_or_else(|| no_login(status, &headers).to_owned())
            ))),
        }
    }

    /// What a token is worth, by asking Toolgate.
    pub(super) async fn standing(&self, key: &Key) -> Standing {
        let origin = &self.origin;
        let (status, headers, body) = match self.get(self.at(SESSION), Some(key)).await {
            Ok(answer) => answer,
            Err(why) => return Standing::Unknown(format!("{origin} cannot be asked: {why}")),
        };
        if let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) {
            let Refusal { detail, advice } = refusal;
            return Standing::Unknown(format!("Toolgate: {detail} {advice}"));
        }
        match serde_json::from_slice::<Who>(&body) {
            Ok(who) if status == StatusCode::OK => Standing::SignedIn(who),
            Ok(_) | Err(_) if has_ended(status) => Standing::Ended,
            Ok(_) | Err(_) => Standing::Unknown(no_session(origin, status, &headers)),
        }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.origin.url().clone();
        url.set_path(path);
        url
    }

    async fn get(
        &self,
        url: Url,
        key: Option<&Key>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let json = HeaderValue::from_static("application/json");
        let asked = Asked {
            method: Method::GET,
            url,
            // With any other Accept an ended session is a redirect.
            headers: HeaderMap::from_iter([(header::ACCEPT, json)]),
            body: Bytes::new(),
        };
        let lane = self.lane();
        let asking = async {
            let answer = self.send(&lane, asked, key).await?;
            let body = answer.body.whole(ANSWER_BYTES).await?;
            Ok((answer.status, answer.headers, body))
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(answered) => answered.map_err(|error: HttpError| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }
}

/// Whether this is Pomerium's word that it knows no session behind the token.
pub(super) fn has_ended(status: StatusCode) -> bool {
    let to_sign_in = status.is_redirection() && status != StatusCode::NOT_MODIFIED;
    status == StatusCode::UNAUTHORIZED || to_sign_in
}

fn in_words(failure: Option<&Failure>) -> Option<String> {
    failure.map(
        |Failure {
             message, advice, ..
         }| format!("{message}. {advice}"),
    )
}

/// Why there is no address to sign in at.
fn no_login(status: StatusCode, headers: &HeaderMap) -> &'static str {
    let problem = headers.get(header::CONTENT_TYPE);
    if problem.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json")) {
        return "this is Toolgate itself, not Pomerium in front of it. Give the address that \
                people open; a Toolgate without Pomerium needs no sign-in.";
    }
    match status {
        StatusCode::BAD_REQUEST => {
            "Pomerium does not send tokens to this machine. Add 127.0.0.1 to \
             `programmatic_redirect_domain_whitelist` in its configuration."
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "is it the address of an MCP server? Give Toolgate's own, the one people open."
        }
        StatusCode::NOT_FOUND => {
            "Pomerium is not there, or has no such route. Check the address, and \
             TOOLGATE_POMERIUM_ADDR if it is set."
        }
        status if status.is_server_error() => "Pomerium failed. Try again in a moment.",
        _ => "something other than Pomerium answers there. Check the address.",
    }
}

/// Why what was asked about the session was no answer.
fn no_session(origin: &Origin, status: StatusCode, headers: &HeaderMap) -> String {
    let code = status.as_u16();
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.map_or(String::new(), |id| {
        format!(" (Pomerium's request id: {id})")
    });
    if let Some(words) = in_words(wants_certificate(status).as_ref()) {
        return format!("{words}{id}");
    }
    match status {
        StatusCode::FORBIDDEN => {
            format!("you are signed in, but Pomerium's policy keeps you from {origin}{id}")
        }
        status if status.is_server_error() => {
            format!("Toolgate cannot be reached through Pomerium ({code}){id}")
        }
        _ => format!(
            "what answers at {origin} is no Toolgate ({code}){id}: is it the address of an MCP \
             server?"
        ),
    }
}
