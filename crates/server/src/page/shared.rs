//! What the pages of all users share.

use std::sync::{Arc, Weak};

use chat::ids::{Subject, TurnId};
use dashmap::DashMap;
use tokio::time::{Duration, Instant};

use super::{paint::Painter, turn::Placed};
use crate::{live::Live, servers::UserServers};

/// How long a look at a user's servers is good for the next page that opens.
const LOOK_LIFE: Duration = Duration::from_mins(1);

/// What the pages of all users share.
#[derive(Default)]
pub struct Shared {
    /// The HTML of running turns, as long as somebody reads it.
    painters: DashMap<TurnId, Weak<Painter>>,
    /// When each user's servers were last tried for a page.
    looked: DashMap<Subject, Instant>,
    /// The operator's questions for an empty conversation.
    examples: Vec<String>,
}

impl Shared {
    /// Nothing yet, but the operator's questions for an empty conversation.
    pub fn new(examples: Vec<String>) -> Self {
        Self {
            examples,
            ..Self::default()
        }
    }

    /// The operator's questions for an empty conversation, if there are any.
    pub(super) fn examples(&self) -> &[String] {
        &self.examples
    }

    /// The painter of a running turn, shared by its readers.
    pub(super) fn painter(
        &self,
        placed: Placed,
        live: &Arc<Live>,
        servers: impl FnOnce() -> Arc<UserServers>,
    ) -> Arc<Painter> {
        let known = self
            .painters
            .get(&placed.turn)
            .and_then(|known| known.upgrade());
        // A turn that was taken up again is another one to look at.
        if let Some(known) = known.filter(|known| Arc::ptr_eq(known.live(), live)) {
            return known;
        }
        self.painters
            .retain(|_, painter| painter.strong_count() > 0);
        let turn = placed.turn.clone();
        let painter = Arc::new(Painter::new(placed, Arc::clone(live), servers()));
        self.painters.insert(turn, Arc::downgrade(&painter));
        painter
    }

    /// Whether the user's servers should be tried now; if so, nobody else is told so for a while.
    pub(super) fn should_look(&self, subject: &Subject) -> bool {
        let now = Instant::now();
        let mut should = false;
        let mut looked = self.looked.entry(subject.clone()).or_insert_with(|| {
            should = true;
            now
        });
        if now - *looked > LOOK_LIFE {
            *looked = now;
            should = true;
        }
        should
    }
}
