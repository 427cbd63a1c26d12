//! What a user's servers offer, where nobody has to be asked for it.

use std::sync::Arc;

use chat::{
    event::{ServerState, ServerStateChanged},
    ids::ConversationId,
    tool::Catalog,
};

use super::{ROUTES_LIFE, Servers};
use crate::tokens::Session;

/// What [`Servers::load`] would find, and say of each server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AtHand {
    /// What the ready servers offer, by their names.
    pub catalogs: Vec<Arc<Catalog>>,
    /// How each server is.
    pub servers: Vec<ServerStateChanged>,
}

impl Servers {
    /// What [`Servers::load`] would find, if it would find it without a request: Pomerium's list is
    /// fresh, and to each server that is `wanted` there is a connection of this scope (which is
    /// told when its catalog changes), or its user is known to be connecting an account.
    pub fn at_hand(
        &self,
        session: &Session,
        scope: &ConversationId,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<AtHand> {
        let user = self.of(&session.subject);
        if self.pomerium.is_some() && !user.listed_within(ROUTES_LIFE) {
            return None;
        }
        let mut at_hand = AtHand::default();
        for known in user.all() {
            let server = known.route.name.clone();
            if !wanted(&server) {
                continue;
            }
            let failure = user.awaits_consent(&server);
            let state = if failure.is_some() {
                ServerState::NeedsConnect
            } else {
                let connection = self.connections.open(session, &known.route, scope)?;
                at_hand.catalogs.push(connection.catalog());
                ServerState::Ready
            };
            at_hand.servers.push(ServerStateChanged {
                server,
                state,
                failure,
            });
        }
        Some(at_hand)
    }
}
