//! How a turn begins: with a round at once, where what its user's servers offer is at hand.

use std::{collections::BTreeSet, sync::Arc};

use chat::{
    effect::Effect,
    event::{Event, ServerState, TurnStarted},
    input::Input,
    message::ToolChoice,
    selection::Selection,
    tool::Catalog,
    turn::Turn,
};
use tokio::sync::watch;

use super::{Begin, Driver, LetGo, Owned, outside::say_where_to_connect};
use crate::{context::Context, servers::AtHand, tokens::Session};

/// What is decided of a turn before it is opened.
pub(crate) struct First {
    engine: Turn,
    /// What is to be done when the turn is open, and its first events are in the log.
    effects: Vec<Effect>,
    /// The catalogs that the model is offered but for what is switched off, if they are at hand.
    offered: Option<Vec<Arc<Catalog>>>,
    /// The servers that are off.
    untried: BTreeSet<String>,
    /// Changes with the catalogs; subscribed to before they are looked at.
    catalogs: watch::Receiver<u64>,
}

impl First {
    /// Lets the engine decide how the turn begins, and says what is to be recorded with it: in the
    /// commit that opens it, so that a first round need not wait for another one. A server that
    /// would have to be asked leaves all of that to the driver.
    pub(crate) fn decide(
        context: &Context,
        session: &Session,
        owned: &Owned,
        (started, off): (TurnStarted, &Selection),
    ) -> (Self, Vec<Event>) {
        let catalogs = context.servers.of(&owned.subject).changes();
        let mut engine = Turn::new(context.settings.limits);
        let mut effects = engine.on(Input::Start(started));
        let mut events = Vec::new();
        let at_hand = at_hand(context, session, owned, off);
        let offered = at_hand.map(|AtHand { catalogs, servers }| {
            for mut change in servers {
                if change.state == ServerState::NeedsConnect {
                    let failure = change.failure.as_mut();
                    say_where_to_connect(context, owned, &change.server, failure);
                }
                events.push(Event::ServerState(change));
            }
            let on = off.apply(catalogs.clone());
            let toolbox = Arc::new(context.toolbox(&owned.subject, on));
            // The answer to `LoadCatalog`, which is all that the engine wanted.
            effects = engine.on(Input::CatalogReady(toolbox));
            catalogs
        });
        if let Some(Effect::Record(_)) = effects.first()
            && let Effect::Record(recorded) = effects.remove(0)
        {
            events.extend(recorded);
        }
        let first = Self {
            engine,
            effects,
            offered,
            untried: off.servers.clone(),
            catalogs,
        };
        (first, events)
    }
}

/// What the model could be offered, if nobody has to be asked for it.
fn at_hand(context: &Context, session: &Session, owned: &Owned, off: &Selection) -> Option<AtHand> {
    if owned.has_no_functions() {
        return Some(AtHand::default());
    }
    let wanted = |server: &str| !off.servers.contains(server);
    context.servers.at_hand(session, &owned.scope(), wanted)
}

impl Owned {
    /// Whether it is a turn whose program wants no calls.
    pub(super) fn has_no_functions(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|request| request.tool_choice == ToolChoice::None)
    }
}

impl Driver {
    /// Runs a new turn to its end.
    pub(crate) fn start(
        context: Arc<Context>,
        begin: Begin,
        first: First,
    ) -> impl Future<Output = LetGo> {
        let mut driver = Self::new(context, begin, first.engine);
        driver.untried = first.untried;
        driver.catalogs = first.catalogs;
        driver.offered = first.offered;
        async move {
            driver.note = driver.note();
            driver.perform(first.effects).await;
            driver.run().await
        }
    }
}
