//! What stands beside every conversation: the list of conversations, and the servers.

mod list;
mod servers;

pub(crate) use list::Wanted;
pub(super) use list::{CONVERSATIONS, Mark, Rest, conversations};
pub(super) use servers::{Connect, SERVERS, plain, servers_of, tool};
