//! Every exchange with somebody else's server, and the tap on it.

pub mod http;
pub mod llm;
pub mod mcp;
pub mod pomerium;
pub mod tap;
