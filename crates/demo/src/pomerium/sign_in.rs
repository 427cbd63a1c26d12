//! Signing in and out: the same chain of redirects as Pomerium's, with a page of two people in
//! the place of the identity provider.
//!
//! A route's host sends the browser to `/.pomerium/sign_in` on the authenticate host, which knows
//! the person by a cookie of its own or asks, and sends it back to `/.pomerium/callback/` on the
//! route's host, which sets that host's cookie. So one sign-in is one session on all hosts.

use std::time::{Duration, SystemTime};

use http::header::SET_COOKIE;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use url::Url;
use uuid::Uuid;

use super::Error;
use super::answer::{self, Answer};
use super::config::{Kind, Route};
use super::credentials::{COOKIE_NAME, Credentials};
use super::gate::{Gate, Visit};
use super::page;
use super::sessions::{DemoUser, Session};
use super::vault::{ProgramGrant, Purpose, unix};

/// The way back, on every route's host.
pub(super) const CALLBACK_PATH: &str = "/.pomerium/callback/";

/// How long a signed link is good for.
const LINK_LIFETIME: Duration = Duration::from_mins(5);

/// Bytes of the sign-in form; it is one short field.
const MAX_FORM_BYTES: usize = 4 * 1024;

/// Marks a sign-in for a program.
const PROGRAMMATIC: &str = "pomerium_programmatic";

/// The identity provider's name in links. There is only one.
const PROVIDER: &str = "demo";

impl Gate {
    /// The link that signs the visitor in and brings them back to where they are: with the
    /// parameters written anew, in the order of their names, as Pomerium does.
    pub(super) fn sign_in_link(&self, visit: &Visit<'_>) -> Url {
        let mut here = at(visit.site.origin(), visit.path());
        let mut pairs: Vec<_> = url::form_urlencoded::parse(visit.query().as_bytes()).collect();
        if !pairs.is_empty() {
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
            here.query_pairs_mut().clear().extend_pairs(pairs);
        }
        let mut pairs = link_pairs(visit, here.as_str());
        pairs.push(("pomerium_idp_id".to_owned(), PROVIDER.to_owned()));
        let endpoint = at(&self.config.authenticate, "/.pomerium/sign_in");
        self.vault.sign_link(&endpoint, pairs)
    }

    /// The link that signs the user of a program in and brings the program their token.
    pub(super) fn program_link(&self, visit: &Visit<'_>, redirect: &Url, callback: &Url) -> Url {
        let mut pairs = link_pairs(visit, redirect.as_str());
        pairs.extend(
            [
                ("pomerium_callback_uri", callback.as_str()),
                ("pomerium_idp_id", PROVIDER),
                (PROGRAMMATIC, "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let endpoint = at(&self.config.authenticate, "/.pomerium/sign_in");
        self.vault.sign_link(&endpoint, pairs)
    }

    /// The sign-in page, on the authenticate host. Whoever is signed in there passes without
    /// seeing it.
    pub(super) async fn sign_in(&self, visit: &Visit<'_>, body: Incoming) -> Result<Answer, Error> {
        let endpoint = at(&self.config.authenticate, "/.pomerium/sign_in");
        let destination = match self.destination(&endpoint, visit.query()) {
            Destination::Fresh(onward) => onward,
            // The form may be sent long after the page was opened.
            Destination::Stale(onward) if visit.parts.method == Method::POST => onward,
            Destination::Stale(Onward { program, .. }) if program.is_some() => {
                return Ok(self.failed("The link is too old. Let the program make a new one."));
            }
            // The place itself asks again, with a fresh link.
            Destination::Stale(Onward { url, .. }) => {
                return Ok(answer::redirect(StatusCode::FOUND, url.as_str()));
            }
            Destination::Forged => return Ok(self.failed("The link was not made here.")),
        };
        if visit.parts.method == Method::POST {
            let Some(user) = read_form(body).await else {
                return Ok(self.failed("This demo knows nobody of that name."));
            };
            let session = self.sessions.begin(user, SystemTime::now());
            let onward = self.callback_link(visit, &session, &destination)?;
            let mut answer = answer::redirect(StatusCode::SEE_OTHER, onward.as_str());
            self.set_cookie(&mut answer, &self.config.authenticate, &session)?;
            return Ok(answer);
        }
        if let Some(session) = self.session(&visit.parts.headers, Credentials::SignIn) {
            let onward = self.callback_link(visit, &session, &destination)?;
            return Ok(answer::redirect(StatusCode::FOUND, onward.as_str()));
        }
        let html = page::sign_in(destination.url.as_str());
        Ok(answer::page(StatusCode::OK, html))
    }

    /// The way back, on a route's host: sets its cookie.
    pub(super) fn callback(&self, visit: &Visit<'_>) -> Result<Answer, Error> {
        let endpoint = at(visit.site.origin(), CALLBACK_PATH);
        let now = SystemTime::now();
        let pairs = self.vault.verify_link(&endpoint, visit.query());
        let pairs = pairs.unwrap_or_default();
        let session = get(&pairs, "pomerium_session_encrypted")
            .filter(|_| is_fresh(&pairs, now))
            .and_then(|sealed| self.vault.open_session(Purpose::Callback, sealed))
            .and_then(|sid| self.sessions.find(sid, now));
        let (Some(session), Some(onward)) = (session, get(&pairs, "pomerium_redirect_uri")) else {
            return Ok(self.failed("The way back was too old, or not made here."));
        };
        let mut answer = if get(&pairs, PROGRAMMATIC) == Some("true") {
            let Ok(onward) = Url::parse(onward) else {
                return Ok(self.failed("The program listens nowhere."));
            };
            let token = self.program_token(&session, &visit.host())?;
            answer::redirect(StatusCode::FOUND, with_token(onward, &token).as_str())
        } else {
            answer::redirect(StatusCode::FOUND, onward)
        };
        self.set_cookie(&mut answer, visit.site.origin(), &session)?;
        Ok(answer)
    }

    /// A program's token of a session, made for a host.
    pub(super) fn program_token(&self, session: &Session, host: &str) -> Result<String, Error> {
        let issuer = self.config.authenticate.host_str().unwrap_or_default();
        Ok(self.vault.program_token(&ProgramGrant {
            sid: session.sid,
            user_id: session.user.subject(),
            issuer,
            hosts: [issuer, host],
            issued: SystemTime::now(),
        })?)
    }

    /// Ends the session, and with it every cookie and TE of it on every host.
    pub(super) fn sign_out(&self, visit: &Visit<'_>) -> Answer {
        if let Some(session) = self.session(&visit.parts.headers, Credentials::SignIn) {
            self.sessions.end(session.sid);
        }
        let here = visit.site.origin();
        let back = if *here == self.config.authenticate {
            self.home()
        } else {
            here.clone()
        };
        let endpoint = at(&self.config.authenticate, "/.pomerium/signed_out");
        let onward = self
            .vault
            .sign_link(&endpoint, link_pairs(visit, back.as_str()));
        let mut answer = answer::redirect(StatusCode::FOUND, onward.as_str());
        clear_cookie(&mut answer);
        answer
    }

    /// The last page; clears the cookie of the authenticate host.
    pub(super) fn signed_out(&self, visit: &Visit<'_>) -> Answer {
        let endpoint = at(&self.config.authenticate, "/.pomerium/signed_out");
        let again = match self.destination(&endpoint, visit.query()) {
            Destination::Fresh(onward) | Destination::Stale(onward) => onward.url,
            Destination::Forged => self.home(),
        };
        let html = page::signed_out(again.as_str());
        let mut answer = answer::page(StatusCode::OK, html);
        clear_cookie(&mut answer);
        answer
    }

    /// The cookie header of a session, as a browser would send it.
    pub(super) fn cookie(&self, session: &Session) -> Result<String, Error> {
        let sealed = self.vault.seal_session(Purpose::Cookie, session.sid)?;
        Ok(format!("{COOKIE_NAME}={sealed}"))
    }

    fn callback_link(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        onward: &Onward,
    ) -> Result<Url, Error> {
        let sealed = self.vault.seal_session(Purpose::Callback, session.sid)?;
        let mut pairs = link_pairs(visit, onward.url.as_str());
        pairs.push(("pomerium_additional_hosts".to_owned(), String::new()));
        pairs.push(("pomerium_session_encrypted".to_owned(), sealed));
        let endpoint = match &onward.program {
            Some(callback) => {
                pairs.push((PROGRAMMATIC.to_owned(), "true".to_owned()));
                callback.clone()
            }
            None => at(&onward.url, CALLBACK_PATH),
        };
        Ok(self.vault.sign_link(&endpoint, pairs))
    }

    fn destination(&self, endpoint: &Url, query: &str) -> Destination {
        if query.is_empty() {
            return Destination::Fresh(Onward {
                url: self.home(),
                program: None,
            });
        }
        let pairs = self.vault.verify_link(endpoint, query).unwrap_or_default();
        let url = |name| get(&pairs, name).and_then(|url| Url::parse(url).ok());
        let Some(onward) = url("pomerium_redirect_uri").map(|there| Onward {
            url: there,
            program: url("pomerium_callback_uri"),
        }) else {
            return Destination::Forged;
        };
        if is_fresh(&pairs, SystemTime::now()) {
            Destination::Fresh(onward)
        } else {
            Destination::Stale(onward)
        }
    }

    /// Where people go who did not say where: the first app.
    fn home(&self) -> Url {
        let mut routes = self.config.routes.iter();
        let client = |route: &&Route| route.kind == Kind::Client;
        let home = routes.clone().find(client).or_else(|| routes.next());
        home.map_or(&self.config.authenticate, |route| &route.from)
            .clone()
    }

    fn failed(&self, said: &str) -> Answer {
        let html = page::sign_in_failed(said, self.home().as_str());
        answer::page(StatusCode::BAD_REQUEST, html)
    }

    fn set_cookie(
        &self,
        answer: &mut Answer,
        origin: &Url,
        session: &Session,
    ) -> Result<(), Error> {
        let secure = if origin.scheme() == "https" {
            "; Secure"
        } else {
            ""
        };
        let seconds = self.sessions.lifetime().as_secs();
        let cookie = self.cookie(session)?;
        let cookie = format!("{cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(value) = HeaderValue::try_from(cookie) {
            answer.headers_mut().append(SET_COOKIE, value);
        }
        Ok(())
    }
}

/// Where a link leads.
enum Destination {
    /// It is ours.
    Fresh(Onward),
    /// It is ours, and too old.
    Stale(Onward),
    /// It is not ours.
    Forged,
}

/// Where somebody goes who has signed in.
struct Onward {
    url: Url,
    /// Where the token of a program is made, if the sign-in is for one.
    program: Option<Url>,
}

/// What every signed link carries.
fn link_pairs(visit: &Visit<'_>, destination: &str) -> Vec<(String, String)> {
    let now = SystemTime::now();
    let traceparent = visit.parts.headers.get("traceparent");
    let traceparent = traceparent
        .and_then(|value| value.to_str().ok())
        .map_or_else(new_traceparent, str::to_owned);
    [
        ("pomerium_expiry", unix(now + LINK_LIFETIME).to_string()),
        ("pomerium_issued", unix(now).to_string()),
        ("pomerium_redirect_uri", destination.to_owned()),
        ("pomerium_traceparent", traceparent),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The URL of a program with its token, the parameters in the order of their names.
fn with_token(mut url: Url, token: &str) -> Url {
    const TOKEN: &str = "pomerium_jwt";
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.retain(|(name, _)| name != TOKEN);
    pairs.push((TOKEN.to_owned(), token.to_owned()));
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url
}

fn clear_cookie(answer: &mut Answer) {
    let gone = HeaderValue::from_static("_pomerium=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    answer.headers_mut().append(SET_COOKIE, gone);
}

/// The person that the form names.
async fn read_form(body: Incoming) -> Option<DemoUser> {
    let form = Limited::new(body, MAX_FORM_BYTES).collect().await.ok()?;
    url::form_urlencoded::parse(&form.to_bytes())
        .find(|(name, _)| name == "user")
        .and_then(|(_, email)| DemoUser::with_email(&email))
}

fn is_fresh(pairs: &[(String, String)], now: SystemTime) -> bool {
    get(pairs, "pomerium_expiry")
        .and_then(|expiry| expiry.parse::<u64>().ok())
        .is_some_and(|expiry| unix(now) < expiry)
}

fn get<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut pairs = pairs.iter();
    let (_, value) = pairs.find(|(known, _)| known == name)?;
    Some(value)
}

/// The URL of a path (and query) on the host of `origin`.
pub(super) fn at(origin: &Url, path_and_query: &str) -> Url {
    let mut url = origin.clone();
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    url.set_path(path);
    url.set_query(query);
    url
}

fn new_traceparent() -> String {
    let trace = Uuid::new_v4().simple().to_string();
    let (span, _) = trace.split_at(16);
    format!("00-{trace}-{span}-01")
}
