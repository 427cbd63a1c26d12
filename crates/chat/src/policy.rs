//! Whether a call may run, must be asked for, or is refused.

use serde::{Deserialize, Serialize};

use crate::tool::Hints;

/// What happens to a call of a function before it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It runs.
    Allow,
    /// A person is asked, and answers once.
    Ask,
}

/// `TOOLGATE_APPROVAL`: when a person is asked before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// Never.
    Never,
    /// Unless the tool says that it only reads (`readOnlyHint: true`) and its server is trusted.
    #[default]
    Unsafe,
    /// Before every call.
    Always,
}

impl ApprovalMode {
    /// The policy for a tool with these hints.
    pub fn policy(self, hints: Hints) -> Policy {
        match self {
            Self::Never => Policy::Allow,
            Self::Unsafe if hints.read_only == Some(true) => Policy::Allow,
            Self::Unsafe | Self::Always => Policy::Ask,
        }
    }
}
