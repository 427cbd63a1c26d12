//! The users' accounts at servers, which Pomerium connects: what a server that wants one is, and
//! how that is found to be over.
//!
//! A server may list its tools to everybody and refuse each call for want of an account. That it
//! can be listed says nothing then: it stays `needs_connect` until Pomerium says that an account
//! is connected.

use std::sync::Arc;

use chat::{
    failure::{Failure, Layer},
    ids::{ConversationId, Subject},
};
use secrecy::SecretString;
use url::Url;
use wire::pomerium::{Pomerium, Route, RoutesError};

use super::{Known, Servers, UserServers};
use crate::tokens::Session;

/// The path that Pomerium sends a browser back to.
const CONNECTED: &str = "/connected";

impl Servers {
    /// A call was refused because the user has no account connected to the server.
    pub fn account_wanted(&self, subject: &Subject, server: &str, failure: Failure) {
        self.of(subject).want(server, failure);
    }

    /// Such a call waits since before a restart, and how it was refused is forgotten.
    pub fn account_was_wanted(&self, subject: &Subject, server: &str) {
        let message = "the server wants you to connect an account first";
        let advice = "Connect your account to this server.";
        let failure = Failure::new(Layer::Pomerium, message, advice);
        self.account_wanted(subject, server, failure);
    }

    /// Looks at one server afresh, for a person who wants to know: at Pomerium's list, and at the
    /// server itself. None when Pomerium does not list it.
    ///
    /// # Errors
    /// Why the list cannot be had.
    pub async fn look(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        scope: &ConversationId,
    ) -> Result<Option<Known>, Failure> {
        let user = self.of(&session.subject);
        self.list_anew(&user, session).await.map_err(failure_of)?;
        let Some(known) = user.get(server) else {
            return Ok(None);
        };
        if known.route.connected {
            // Whoever asks has been at /connect, or says that it was mended otherwise.
            user.connected(server);
        }
        let _said_with_the_server = self.patiently(session, server.to_owned(), scope).await;
        Ok(user.get(server))
    }

    /// Has Pomerium forget the user's account at the server, and closes their connections to it.
    /// None when Pomerium does not list the server.
    ///
    /// # Errors
    /// Why that failed; nothing has changed then.
    pub async fn disconnect(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        scope: &ConversationId,
    ) -> Result<Option<Known>, Failure> {
        let user = self.of(&session.subject);
        self.list(&user, session).await.map_err(failure_of)?;
        let Some(known) = user.get(server) else {
            return Ok(None);
        };
        let pomerium = self.pomerium.as_ref();
        let Some(pomerium) = pomerium.filter(|_| !self.configured.contains(&known.route)) else {
            let message = format!("The server {server} is not Pomerium's: it has no account.");
            return Err(Failure::new(Layer::Toolgate, message, ""));
        };
        let token = token(session).map_err(failure_of)?;
        let pomerium = pomerium.on_behalf_of(session.subject.clone());
        let routes = pomerium.disconnect(&token, &known.route).await;
        let routes = routes.map_err(failure_of)?;
        self.take(&user, &pomerium, routes);
        self.connections
            .close_server(&session.subject, server)
            .await;
        let _said_with_the_server = self.patiently(session, server.to_owned(), scope).await;
        Ok(user.get(server))
    }

    /// Asks Pomerium for its list.
    pub(super) async fn list_anew(
        &self,
        user: &UserServers,
        session: &Session,
    ) -> Result<(), RoutesError> {
        let Some(pomerium) = &self.pomerium else {
            return Ok(());
        };
        let token = token(session)?;
        let asking = pomerium.on_behalf_of(session.subject.clone());
        match asking.routes(&token).await {
            Ok(routes) => {
                self.take(user, pomerium, routes);
                Ok(())
            }
            Err(error) => {
                user.unlisted(error.failure().clone());
                Err(error)
            }
        }
    }

    /// Takes Pomerium's list, and puts the servers of the configuration beside it.
    fn take(&self, user: &UserServers, pomerium: &Pomerium, routes: Vec<Route>) {
        let configured = self.configured.beside(&routes).into_iter();
        let configured = configured.map(|route| (route, None));
        let with_places = routes.into_iter().map(|route| {
            let place = connect_url(pomerium.public_url(), &route);
            (route, place)
        });
        user.list(with_places.chain(configured).collect());
    }
}

/// Where the user's browser goes to connect an account to the server. It comes back to
/// `/connected?server=NAME`.
fn connect_url(public_url: &Url, route: &Route) -> Option<Url> {
    let mut back = public_url.join(CONNECTED).ok()?;
    back.query_pairs_mut().append_pair("server", &route.name);
    route.connect_url(&back)
}

fn token(session: &Session) -> Result<SecretString, RoutesError> {
    session.token().ok_or_else(|| {
        RoutesError::Unavailable(Failure::new(
            Layer::Pomerium,
            "Pomerium sent no token with the request, so its servers cannot be listed.",
            "Set `mcp: {client: {}}` on Toolgate's route in Pomerium.",
        ))
    })
}

fn failure_of(error: RoutesError) -> Failure {
    match error {
        RoutesError::StaleToken(failure) | RoutesError::Unavailable(failure) => failure,
    }
}
