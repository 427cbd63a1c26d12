//! One command that starts the whole system: a Pomerium stand-in, a scripted model, northwind
//! and Toolgate.

pub mod model;
pub mod pomerium;

mod system;

pub use system::{Demo, Error, Options, Port, Server};
