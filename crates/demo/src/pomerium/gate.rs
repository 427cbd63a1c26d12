//! What happens to a request: whose host, whose path, who asks, may they, and on to the upstream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use url::Url;
use uuid::Uuid;

use super::answer::{self, Answer, Asked, Body};
use super::assertion::Signer;
use super::audit::{Audit, Check};
use super::config::{Config, Kind, Route, host_of};
use super::credentials::Credentials;
use super::cuts::Pacer;
use super::json_rpc::{self, Call, Peeked};
use super::listen::Peer;
use super::own_paths;
use super::paths::normalised;
use super::policy::{Decision, Subject};
use super::sessions::{Session, Sessions};
use super::upstream::Upstream;
use super::upstream_auth::bearer;
use super::upstream_tokens::UpstreamTokens;
use super::vault::Vault;
use super::{Error, RedirectUrls};

/// Everything a request meets.
pub(super) struct Gate {
    pub(super) config: Config,
    pub(super) sessions: Sessions,
    pub(super) vault: Vault,
    pub(super) signer: Signer,
    pub(super) tes: TeTerms,
    pub(super) upstream: Upstream,
    pub(super) upstream_tokens: UpstreamTokens,
    pub(super) redirect_urls: RedirectUrls,
    pub(super) audit: Audit,
}

/// How TEs are issued.
pub(super) struct TeTerms {
    pub(super) prefix: String,
    lifetime_millis: AtomicU64,
    /// Hosts and tools for which every TE counts as stale.
    refused: Mutex<Vec<(String, String)>>,
}

/// A host that the stand-in answers for.
#[derive(Clone, Copy)]
pub(super) enum Site<'a> {
    /// Where people sign in.
    Authenticate(&'a Url),
    /// A route's host.
    Route(&'a Route),
}

/// A request that was read so far that it has an id and a host.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    /// `x-request-id`, here and at the upstream.
    pub(super) id: Uuid,
    pub(super) parts: &'a Parts,
    pub(super) site: Site<'a>,
    pub(super) peer: Peer,
}

impl Gate {
    /// Answers one request. When the future is dropped, the request to the upstream is cancelled.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        if let Some(answer) = refuse_unreadable(&request) {
            return answer;
        }
        let id = Uuid::new_v4();
        let (mut parts, body) = request.into_parts();
        parts.uri = normalised(parts.uri);
        let answer = match self.site(&parts) {
            Some(site) => {
                let parts = &parts;
                let visit = Visit {
                    id,
                    parts,
                    site,
                    peer,
                };
                self.dispatch(&visit, body).await
            }
            None => Ok(not_found(&Asked {
                id,
                headers: &parts.headers,
            })),
        };
        let mut answer = answer.unwrap_or_else(|error| failure(id, &error));
        answer::finish(&mut answer, id, peer.scheme);
        answer
    }

    async fn dispatch(&self, visit: &Visit<'_>, body: Incoming) -> Result<Answer, Error> {
        if own_paths::is_own(visit.path()) {
            return self.serve_own_path(visit, body).await;
        }
        let Site::Route(route) = visit.site else {
            return Ok(not_found(&visit.asked()));
        };
        route.requests.fetch_add(1, Ordering::Relaxed);
        match &route.kind {
            Kind::Plain | Kind::Client => self.serve_app(visit, route, body).await,
            Kind::Server(server) => {
                let version = visit.parts.version;
                match json_rpc::peek(body, server.max_request_bytes, version).await? {
                    Peeked::Seen(seen) => self.serve_mcp_server(visit, route, seen).await,
                    Peeked::TooLarge => Ok(answer::payload_too_large(version)),
                }
            }
        }
    }

    /// A route for people and programs: signed in with a cookie, judged, forwarded.
    async fn serve_app(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        body: Incoming,
    ) -> Result<Answer, Error> {
        let session = self.session(&visit.parts.headers, Credentials::SignIn);
        match self.judge(visit, route, session.as_ref(), None) {
            Decision::SignIn => Ok(self.require_sign_in(visit)),
            Decision::Deny => {
                let asked = visit.asked();
                Ok(answer::refusal(&asked, StatusCode::FORBIDDEN, "Forbidden"))
            }
            Decision::Allow => {
                let headers = self.upstream_headers(visit, route, session.as_ref())?;
                let body = body.map_err(Into::into).boxed_unsync();
                self.forward(visit, route, headers, body).await
            }
        }
    }

    /// A route for MCP clients: a TE (or cookie), the policy with the tool that is called, and
    /// never a redirect.
    async fn serve_mcp_server(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        seen: json_rpc::Seen,
    ) -> Result<Answer, Error> {
        let headers = &visit.parts.headers;
        let session = self.session(headers, Credentials::TeOrSignIn);
        let call = match &seen.whole {
            Some(body) if visit.parts.method == Method::POST => json_rpc::read(headers, body),
            Some(_) | None => None,
        };
        let session = session.filter(|_| !self.tes.refuses(&route.host, call.as_ref()));
        let decision = self.judge(visit, route, session.as_ref(), call.as_ref());
        let asked = visit.asked();
        let refused = || answer::server_refusal(&asked, authority(visit.parts), visit.path());
        match (decision, &call) {
            (Decision::SignIn, _) | (Decision::Deny, None) => Ok(refused()),
            (Decision::Deny, Some(call)) => Ok(answer::denied_call(&asked, call.id.as_deref())),
            (Decision::Allow, _) => {
                self.ask_mcp_server(visit, route, session.as_ref(), seen.body)
                    .await
            }
        }
    }

    /// Forwards with the person's own token for the upstream, if there is one.
    async fn ask_mcp_server(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: Option<&Session>,
        body: Body,
    ) -> Result<Answer, Error> {
        let token = match session {
            None => Ok(None),
            Some(session) => self.upstream_token(session.user, route).await,
        };
        let token = match token {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(request_id = %visit.id, %error, "a token was not refreshed");
                return Ok(answer::no_store(StatusCode::BAD_GATEWAY));
            }
        };
        let mut headers = self.upstream_headers(visit, route, session)?;
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, bearer(&token)?);
        }
        let answer = self.forward(visit, route, headers, body).await?;
        self.answer_challenge(visit, route, session, answer)
    }

    /// What the policy says about a request, with a line in the audit log.
    fn judge(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: Option<&Session>,
        call: Option<&Call>,
    ) -> Decision {
        let judgement = route.policy.judge(Subject {
            user: session.map(|session| session.user),
            call: call.map(Call::asked),
        });
        self.audit.log(&Check {
            visit,
            session,
            call,
            judgement: &judgement,
        });
        judgement.decision
    }

    async fn forward(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Answer, Error> {
        let (mut pacer, body) = Pacer::watch(route.cuts, body);
        let request = Upstream::request(route, visit.parts, headers, body)?;
        let sending = self.upstream.send(request);
        let answered = match &mut pacer {
            None => Ok(sending.await),
            Some(pacer) => pacer.within(sending).await,
        };
        let failed = |status, details: &str| {
            let asked = visit.asked();
            Ok(answer::proxy_error(&asked, status, details))
        };
        match answered {
            Ok(Ok(answer)) => Ok(match pacer {
                None => answer,
                Some(pacer) => answer.map(|body| pacer.pace(body)),
            }),
            Ok(Err(details)) => failed(StatusCode::SERVICE_UNAVAILABLE, &details),
            Err(cut) => failed(cut.status(), &cut.to_string()),
        }
    }

    /// Nobody is signed in: a page is sent to sign in, a program is told.
    pub(super) fn require_sign_in(&self, visit: &Visit<'_>) -> Answer {
        use super::accept::{Wanted, wanted};
        match wanted(&visit.parts.headers) {
            Wanted::Page => answer::sign_in(self.sign_in_link(visit).as_str()),
            Wanted::Json | Wanted::Text => {
                answer::refusal(&visit.asked(), StatusCode::UNAUTHORIZED, "Unauthenticated")
            }
        }
    }

    fn site(&self, parts: &Parts) -> Option<Site<'_>> {
        let host = without_port(authority(parts)).to_ascii_lowercase();
        let authenticate = &self.config.authenticate;
        if host_of(authenticate).is_some_and(|own| own == host) {
            return Some(Site::Authenticate(authenticate));
        }
        let mut routes = self.config.routes.iter();
        routes.find(|route| route.host == host).map(Site::Route)
    }
}

impl TeTerms {
    /// TEs with this prefix and lifetime.
    pub(super) fn new(prefix: String, lifetime: Duration) -> Self {
        let terms = Self {
            prefix,
            lifetime_millis: AtomicU64::new(0),
            refused: Mutex::default(),
        };
        terms.set_lifetime(lifetime);
        terms
    }

    /// The lifetime of TEs issued from now on.
    pub(super) fn set_lifetime(&self, lifetime: Duration) {
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.lifetime_millis.store(millis, Ordering::Relaxed);
    }

    /// Counts every TE as stale for calls of this tool on this host from now on.
    pub(super) fn refuse(&self, host: &str, tool: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.push((host.to_owned(), tool.to_owned()));
    }

    fn refuses(&self, host: &str, call: Option<&Call>) -> bool {
        let Some(tool) = call.and_then(|call| call.tool.as_ref()) else {
            return false;
        };
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = refused.iter();
        refused.any(|(at, name)| at == host && *name == tool.name)
    }

    /// How long a TE lives that is issued now.
    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime_millis.load(Ordering::Relaxed))
    }
}

impl<'a> Site<'a> {
    /// The origin that browsers know.
    pub(super) const fn origin(self) -> &'a Url {
        match self {
            Self::Authenticate(origin) => origin,
            Self::Route(route) => &route.from,
        }
    }
}

impl<'a> Visit<'a> {
    pub(super) fn path(&self) -> &'a str {
        self.parts.uri.path()
    }

    /// The host, lower case, without its port.
    pub(super) fn host(&self) -> String {
        without_port(authority(self.parts)).to_ascii_lowercase()
    }

    pub(super) fn query(&self) -> &'a str {
        self.parts.uri.query().unwrap_or_default()
    }

    pub(super) fn asked(&self) -> Asked<'a> {
        Asked {
            id: self.id,
            headers: &self.parts.headers,
        }
    }
}

/// Host and port as the client wrote them.
pub(super) fn authority(parts: &Parts) -> &str {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    authority.or(host).unwrap_or_default()
}

/// No route, in the words of the proxy.
pub(super) fn not_found(asked: &Asked<'_>) -> Answer {
    answer::proxy_error(asked, StatusCode::NOT_FOUND, "route_not_found")
}

/// What the proxy refuses before it looks at the host.
fn refuse_unreadable(request: &Request<Incoming>) -> Option<Answer> {
    let path = request.uri().path().to_ascii_lowercase();
    if path.contains("%2f") || path.contains("%5c") {
        return Some(answer::unreadable(request.version(), ""));
    }
    let mut names = request.headers().keys();
    names
        .any(|name| name.as_str().contains('_'))
        .then(|| answer::unreadable(request.version(), "Bad Request"))
}

/// A request that could not be served. Of one that its client broke off nobody reads the answer.
fn failure(id: Uuid, error: &Error) -> Answer {
    if let Error::Body(_) = error {
        tracing::debug!(request_id = %id, %error, "a request broke off");
        return answer::empty(StatusCode::BAD_REQUEST);
    }
    tracing::error!(request_id = %id, error = error as &dyn std::error::Error, "a request failed");
    answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The host of an authority as it was written, without brackets.
pub(super) fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}
