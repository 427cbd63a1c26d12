//! How calls and turns end.

use serde::{Deserialize, Serialize};

/// How a call ended. Each call has exactly one, whatever happens around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server returned a result.
    Ok,
    /// The server returned a result marked `isError` (MCP tools: tool execution errors), or a
    /// JSON-RPC error for this call.
    ToolError,
    /// The arguments are not JSON, not an object, or do not fit the tool's schema; not run.
    InvalidArguments,
    /// The model named a function it was not offered; not run.
    UnknownFunction,
    /// The person said no; not run.
    DeniedByUser,
    /// The person switched the tool off after the model had asked for the call; not run.
    SwitchedOff,
    /// Pomerium's policy or the operator's rules said no; not run.
    DeniedByPolicy,
    /// Policy wants a person to approve the call, and over the API nobody can be asked; not run.
    ApprovalRequired,
    /// The call was silent longer than the idle limit, or ran longer than the total limit.
    Timeout,
    /// Stopped on request.
    Cancelled,
    /// Pomerium would not take the token, and no newer one came in time; not run.
    TokenExpired,
    /// The server wants the person to connect an account first; not run.
    NeedsConnect,
    /// The server could not be reached; not run.
    Unavailable,
    /// The server answered something that is not MCP.
    ProtocolError,
    /// One of Toolgate's limits (number of calls, size of the request or of the result).
    Limit,
    /// The call was sent and its end was never seen: it may or may not have run.
    Unknown,
}

impl Outcome {
    /// What the model is told when there is no result of the server's to show; it says what
    /// happened and what a model can sensibly do.
    pub fn text_for_model(self) -> &'static str {
        match self {
            Self::Ok => "The tool returned no content.",
            Self::ToolError => "The tool failed without saying why.",
            Self::InvalidArguments => {
                "Not run: the arguments are not valid. Correct them and call again."
            }
            Self::UnknownFunction => {
                "Not run: there is no such function. Use only the functions you were given."
            }
            Self::DeniedByUser => {
                "Not run: the user denied this call. Do not try it again unless the user asks."
            }
            Self::SwitchedOff => {
                "Not run: the user has just switched this tool off. Do without it, or say what is \
                 missing."
            }
            Self::DeniedByPolicy => {
                "Not run: policy denies this call to the user. Do not try it again."
            }
            Self::ApprovalRequired => {
                "Not run: the user has to approve this call, which they cannot do over the API. Do \
                 without it, or tell the user to ask in Toolgate's chat page."
            }
            Self::Timeout => {
                "No answer in time. The call may have had an effect; check before repeating it."
            }
            Self::Cancelled => {
                "Stopped by the user. The call may have had an effect; check before repeating it."
            }
            Self::TokenExpired => {
                "Not run: the user's session token expired. The user has to come back, or sign in again."
            }
            Self::NeedsConnect => {
                "Not run: the user has to connect their account to this server first."
            }
            Self::Unavailable => "Not run: the server could not be reached.",
            Self::ProtocolError => {
                "The server answered something that is not MCP. The call may have had an effect."
            }
            Self::Limit => "Ended by a limit of Toolgate.",
            Self::Unknown => {
                "The connection to the tool was lost while the call ran: it may or may not have \
                 had its effect. Check before repeating it."
            }
        }
    }
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnEnd {
    /// The model answered without calling more functions.
    Answered,
    /// Stopped on request.
    Cancelled,
    /// A limit of rounds or calls was met; the last answer is the model's, without tools.
    Limit,
    /// A model round failed for good.
    Failed,
    /// Toolgate was restarted and nobody came back in time.
    Interrupted,
}
