//! Everything the engine can want done.

use std::{sync::Arc, time::Duration};

use crate::{
    event::{Event, JsonObject, Target},
    ids::{CallId, RoundId},
    input::TimerId,
    message::ToolChoice,
    toolbox::Toolbox,
};

/// An effect of [`crate::turn::Turn::on`]. Effects are performed in their order; a `Record` is
/// committed before the ones after it are begun.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append these to the log, all or none.
    Record(Vec<Event>),
    /// Get the user's catalogs; answered by `CatalogReady`.
    LoadCatalog,
    /// Send a model request; answered by `RoundEnded` or `RoundFailed`.
    SendRound {
        /// Which round.
        round: RoundId,
        /// What the model is offered.
        toolbox: Arc<Toolbox>,
        /// Whether it may use it.
        tool_choice: ToolChoice,
    },
    /// End the model request; answered by `RoundFailed` with `Retry::Aborted`.
    AbortRound(RoundId),
    /// Send a call; answered by `CallAccepted`, `CallRefused`, `CallEnded`.
    StartCall {
        /// Which call.
        call: CallId,
        /// Where to.
        target: Target,
        /// The arguments, valid against the tool's schema.
        arguments: JsonObject,
    },
    /// Cancel a running call at its server; answered by `CallEnded`.
    CancelCall(CallId),
    /// Answer with `Timer` after this long.
    SetTimer(TimerId, Duration),
    /// Forget the timer.
    ClearTimer(TimerId),
}
