//! Programmatic login: a program asks for a link, its user opens it, and the browser brings the
//! program a token of the user's session.

use http::{Method, StatusCode};
use url::{Host, Url};

use super::answer::{self, Answer};
use super::connect::parameter;
use super::gate::{Gate, Visit};
use super::sign_in::{CALLBACK_PATH, at};

/// Where a program asks.
pub(super) const LOGIN_PATH: &str = "/.pomerium/api/v1/login";

/// Where the program listens for the token.
const REDIRECT: &str = "pomerium_redirect_uri";

impl Gate {
    /// Makes the link that a program shows to its user.
    pub(super) fn programmatic_login(&self, visit: &Visit<'_>) -> Answer {
        if visit.parts.method != Method::GET {
            let refused = "Method Not Allowed\n";
            return answer::handler_error(StatusCode::METHOD_NOT_ALLOWED, refused);
        }
        let Some(redirect) = parameter(visit.query(), REDIRECT) else {
            return answer::handler_error(StatusCode::NOT_FOUND, "Not Found\n");
        };
        let redirect = Url::parse(&redirect).ok();
        let Some(redirect) = redirect.filter(|url| self.may_have_token(url)) else {
            let refused = answer::refusal(&visit.asked(), StatusCode::BAD_REQUEST, "Bad Request");
            return answer::own_handler(refused);
        };
        let callback = at(visit.site.origin(), CALLBACK_PATH);
        let link = self.program_link(visit, &redirect, &callback);
        answer::plain(link.into())
    }

    /// Whether a token may be sent to this URL (`IsRedirectAllowed`): `localhost` in the list
    /// stands for every loopback address.
    fn may_have_token(&self, url: &Url) -> bool {
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let host = url.host_str().unwrap_or_default();
        let mut allowed = self.config.programmatic_hosts.iter();
        matches!(url.scheme(), "http" | "https")
            && allowed.any(|name| name == host || (name == "localhost" && is_loopback))
    }
}
