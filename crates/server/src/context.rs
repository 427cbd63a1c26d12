//! What every turn works with.

use std::{sync::Arc, time::Duration};

use chat::{
    ids::Subject,
    limits::{PARKED_API, TurnLimits},
    policy::ApprovalMode,
    tool::{Catalog, Hints},
    toolbox::Toolbox,
};
use store::Store;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::llm::ModelClient;

use crate::{config::Config, servers::Servers, tokens::Sessions, traffic::Traffic};

/// The long-lived handles of the engine's driver.
pub struct Context {
    /// Conversations and turn logs.
    pub store: Store,
    /// What was said to others.
    pub traffic: Traffic,
    /// The model endpoint.
    pub model: ModelClient,
    /// The users' MCP servers.
    pub servers: Arc<Servers>,
    /// The users' tokens.
    pub sessions: Sessions,
    /// What the operator set.
    pub settings: Settings,
    /// The tracker of every task.
    pub tasks: TaskTracker,
    /// No new turns: the program is going to end.
    pub draining: CancellationToken,
    /// Ends every task.
    pub shutdown: CancellationToken,
}

/// The settings that turns go by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the model is told before the conversation.
    pub system_prompt: String,
    /// When a person is asked before a call.
    pub approval: ApprovalMode,
    /// The limits of a turn.
    pub limits: TurnLimits,
    /// How long a call may be silent.
    pub call_timeout: Duration,
    /// How long a call may take in all.
    pub call_max: Duration,
    /// Bytes of a result that the model is shown.
    pub result_shown_bytes: usize,
    /// How long a token can be used.
    pub token_life: Duration,
    /// Turns of one user at once.
    pub max_turns_per_user: usize,
    /// Turns of all users at once.
    pub max_turns: usize,
    /// How long turns of the API are kept after their end: as long as traffic.
    pub api_turns_kept: Duration,
}

impl Settings {
    /// The part of the configuration that turns go by.
    pub fn of(config: &Config) -> Self {
        Self {
            system_prompt: config.system_prompt.clone(),
            approval: config.approval,
            limits: TurnLimits {
                rounds: config.max_rounds,
                // 10 s of the 5 minutes that tokens live: shorter for tests, as those are.
                parked_api: PARKED_API.min(config.token_life / 30),
                ..TurnLimits::default()
            },
            call_timeout: config.call_timeout,
            call_max: config.call_max,
            result_shown_bytes: config.result_shown_bytes,
            token_life: config.token_life,
            max_turns_per_user: config.max_turns_per_user,
            max_turns: config.max_turns,
            api_turns_kept: config.traffic.max_age,
        }
    }
}

impl Context {
    /// What the model is offered of these catalogs of a user's. What tools say of themselves
    /// counts for servers that the operator trusts: those that Pomerium names, and of the
    /// configuration's those that it says so of.
    pub fn toolbox(&self, subject: &Subject, catalogs: Vec<Arc<Catalog>>) -> Toolbox {
        Toolbox::assemble(catalogs, |target, hints| {
            let hints = if self.servers.trusts_hints(subject, &target.server) {
                hints
            } else {
                Hints::default()
            };
            self.settings.approval.policy(hints)
        })
    }
}
