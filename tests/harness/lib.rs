//! What the integration tests stand on: the whole system, and people who use it over HTTP as the
//! page and programs do.
//!
//! ```ignore
//! let world = World::build().start().await;
//! let ana = world.ana();
//! let posted = ana.ask("What were our sales by year?").await;
//! let transcript = ana.wait_end(&posted.turn).await;
//! world.finish().await;
//! ```
//!
//! Everything here fails a test by panicking, and nothing waits longer than [`PATIENCE`].

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a harness fails its test by panicking"
)]

mod world;

mod user;

mod events;

mod journal;

mod toolgate;

pub mod browser;

pub mod kills;

mod dice;

pub use dice::Dice;
pub use events::{Ended, Events, Frame};
pub use journal::{Journal, JournalCall};
pub use toolgate::{ToolgateProcess, at_home, program};
pub use user::{Conversation, ConversationTurn, Posted, Response, User};
pub use world::{Builder, World, free_port};

use std::time::Duration;

/// How long anything is waited for: far more than a slow machine needs, and an end.
pub const PATIENCE: Duration = Duration::from_mins(1);
