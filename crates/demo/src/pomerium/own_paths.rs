//! The paths that Pomerium answers itself, on every host.

use http::header::{CACHE_CONTROL, EXPIRES, PRAGMA, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::Error;
use super::answer::{self, Answer};
use super::audit::Check;
use super::connect;
use super::credentials::Credentials;
use super::gate::{Gate, Site, Visit, not_found};
use super::policy::Judgement;
use super::programs;
use super::sessions::{DemoUser, Session};
use super::sign_in;
use super::upstream_tokens::Holder;

/// Where the key set is.
const JWKS_PATH: &str = "/.well-known/pomerium/jwks.json";

/// Where the MCP servers are listed.
const ROUTES_PATH: &str = "/.pomerium/mcp/routes";

/// Where an account is connected.
const CONNECT_PATH: &str = "/.pomerium/mcp/connect";

/// Where the signed-in person is described.
const USER_PATH: &str = "/.pomerium/user";

/// Paths that are only for people who are signed in (`internalPathsNeedingLogin`).
const FOR_SIGNED_IN: [&str; 3] = [USER_PATH, ROUTES_PATH, CONNECT_PATH];

/// Whether Pomerium keeps this path for itself. The same on every host.
pub(super) fn is_own(path: &str) -> bool {
    ["/.pomerium", "/.well-known/pomerium"]
        .into_iter()
        .filter_map(|own| path.strip_prefix(own))
        .any(|rest| rest.is_empty() || rest.starts_with('/'))
        || path == "/ping"
        || path == "/healthz"
}

impl Gate {
    /// Answers a request for one of these paths. The policy of the host's route has no say.
    pub(super) async fn serve_own_path(
        &self,
        visit: &Visit<'_>,
        body: Incoming,
    ) -> Result<Answer, Error> {
        let allowed = if visit.path().starts_with("/.pomerium/mcp") {
            Credentials::TeOrSignIn
        } else {
            Credentials::SignIn
        };
        let session = self.session(&visit.parts.headers, allowed);
        let for_signed_in = FOR_SIGNED_IN.contains(&visit.path());
        let judgement = match session {
            None if for_signed_in => Judgement::unauthenticated(),
            Some(_) | None => Judgement::own_path(),
        };
        self.audit.log(&Check {
            visit,
            session: session.as_ref(),
            call: None,
            judgement: &judgement,
        });
        match session {
            None if for_signed_in => Ok(self.require_sign_in(visit)),
            Some(session) if for_signed_in => self.serve_signed_in(visit, &session).await,
            session => self.serve_anybody(visit, session.as_ref(), body).await,
        }
    }

    async fn serve_signed_in(&self, visit: &Visit<'_>, session: &Session) -> Result<Answer, Error> {
        if visit.parts.method != Method::GET {
            return Ok(wrong_method());
        }
        match (visit.path(), visit.site) {
            (ROUTES_PATH, _) => Ok(self.listing(session.user)),
            (CONNECT_PATH, Site::Route(route)) => self.connect(visit, route, session).await,
            (USER_PATH, _) => Ok(answer::own_handler(answer::json(described(session)))),
            _ => Ok(not_found(&visit.asked())),
        }
    }

    async fn serve_anybody(
        &self,
        visit: &Visit<'_>,
        session: Option<&Session>,
        body: Incoming,
    ) -> Result<Answer, Error> {
        match (visit.path(), visit.site) {
            ("/ping" | "/healthz", _) => Ok(answer::text(StatusCode::OK, "OK\n")),
            ("/.well-known/pomerium", site) => Ok(self.discovery(site)),
            (JWKS_PATH, _) => self.key_set(),
            ("/.pomerium/mcp/routes/disconnect", _) => match visit.parts.method {
                Method::POST => Ok(self.disconnect(session, body).await),
                _ => Ok(wrong_method()),
            },
            (connect::CALLBACK_PATH, Site::Route(_)) => match visit.parts.method {
                Method::GET => Ok(self.consented(visit).await),
                _ => Ok(wrong_method()),
            },
            (programs::LOGIN_PATH, Site::Route(_)) => Ok(self.programmatic_login(visit)),
            ("/.pomerium/sign_in", Site::Authenticate(_)) => self.sign_in(visit, body).await,
            ("/.pomerium/callback" | sign_in::CALLBACK_PATH, Site::Route(_)) => {
                self.callback(visit)
            }
            ("/.pomerium/sign_out", _) => Ok(self.sign_out(visit)),
            ("/.pomerium/signed_out", Site::Authenticate(_)) => Ok(self.signed_out(visit)),
            _ => Ok(not_found(&visit.asked())),
        }
    }

    fn discovery(&self, site: Site<'_>) -> Answer {
        #[derive(Serialize)]
        struct Discovery {
            issuer: String,
            authentication_callback_endpoint: String,
            jwks_uri: String,
            frontchannel_logout_uri: String,
        }
        let origin = site.origin().as_str().trim_end_matches('/');
        let authenticate = self.config.authenticate.as_str().trim_end_matches('/');
        let discovery = Discovery {
            issuer: format!("{origin}/"),
            authentication_callback_endpoint: format!("{authenticate}/oauth2/callback"),
            jwks_uri: format!("{origin}{JWKS_PATH}"),
            frontchannel_logout_uri: format!("{origin}/.pomerium/sign_out"),
        };
        let mut answer = answer::json(line(&discovery));
        let nosniff = HeaderValue::from_static("nosniff");
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        answer
    }

    fn key_set(&self) -> Result<Answer, Error> {
        let mut answer = answer::json(self.signer.jwks()?);
        let minute = HeaderValue::from_static("max-age=60");
        answer.headers_mut().insert(CACHE_CONTROL, minute);
        Ok(answer)
    }

    /// The MCP servers, to whoever has a TE or is signed in. All of them, whatever the policies
    /// say, and in no order. One is connected when there is a token for it, ended or not.
    pub(super) fn listing(&self, user: DemoUser) -> Answer {
        #[derive(Serialize)]
        struct Listing<'a> {
            servers: Option<Vec<Server<'a>>>,
        }
        #[derive(Serialize)]
        struct Server<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            name: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            description: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            logo_url: &'a str,
            url: String,
            connected: bool,
            needs_oauth: bool,
        }
        let mut servers: Vec<Server<'_>> = self
            .config
            .routes
            .iter()
            .filter_map(|route| {
                Some(Server {
                    name: &route.name,
                    description: &route.description,
                    logo_url: &route.logo_url,
                    url: route.server_url()?,
                    connected: self
                        .upstream_tokens
                        .find(&Holder::of(user, route))
                        .is_some(),
                    needs_oauth: true,
                })
            })
            .collect();
        // Pomerium lists a Go map: a new order with each request.
        servers.sort_by_cached_key(|_| Uuid::new_v4());
        let servers = Some(servers).filter(|servers| !servers.is_empty());
        let mut answer = answer::own_handler(answer::json(line(&Listing { servers })));
        let headers = answer.headers_mut();
        let none = HeaderValue::from_static("no-store, no-cache, must-revalidate, max-age=0");
        headers.insert(CACHE_CONTROL, none);
        headers.insert(EXPIRES, HeaderValue::from_static("0"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        answer
    }
}

fn wrong_method() -> Answer {
    answer::own_handler(answer::empty(StatusCode::METHOD_NOT_ALLOWED))
}

fn described(session: &Session) -> String {
    let user = session.user;
    json!({
        "email": user.email(),
        "groups": [],
        "name": user.name(),
        "sid": session.sid.to_string(),
        "sub": user.subject(),
        "user": user.subject(),
    })
    .to_string()
}

/// JSON and a line feed, as Go's encoder writes it. Never fails for the types of this file.
fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
