//! Who wants what is not theirs. One Toolgate serves many people and many sessions of each; here
//! they meet at the same servers, take one another's cookies, ids, assertions and tokens, forge
//! what they do not have, and let other sites send for them.

mod cross_site;
mod forged;
mod replayed;
pub(crate) mod routes;
mod shared_servers;
mod signed_out;
mod swapped;

use std::net::SocketAddr;

use demo::pomerium::DemoUser;
use harness::{User, World};
use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::RequestBuilder;

/// The host of Toolgate's route.
const CHAT_HOST: &str = "chat.localhost";
/// The header that says who somebody is.
const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// A program of somebody's: it signed in for itself, so its session is its own, and it has no
/// cookie.
#[derive(Clone)]
struct Program {
    user: User,
    authorization: HeaderValue,
}

impl Program {
    fn sign_in(world: &World, who: DemoUser) -> Self {
        let user = User::sign_in(world.standin(), who);
        let token = world.standin().programmatic_token(user.sid, CHAT_HOST);
        let authorization = format!("Bearer Pomerium-{}", token.unwrap());
        Self {
            user,
            authorization: authorization.parse().unwrap(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let none = HeaderValue::from_static("theme=dark");
        let authorization = self.authorization.clone();
        // These take the place of those that are there.
        self.user
            .request(method, path)
            .headers(HeaderMap::from_iter([
                (header::COOKIE, none),
                (header::AUTHORIZATION, authorization),
            ]))
    }
}

/// The way to Toolgate's own port, around Pomerium.
struct Direct {
    client: reqwest::Client,
    at: SocketAddr,
}

impl Direct {
    /// To the process of this world.
    fn to(world: &mut World) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(None)
            .redirect(reqwest::redirect::Policy::none());
        Self {
            client: client.build().unwrap(),
            at: world.toolgate().address(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("http://{}{path}", self.at));
        request.header(header::ACCEPT, "application/json")
    }
}
