//! One command that starts the whole system: a Pomerium stand-in, a scripted model, northwind,
//! Notes and Toolgate.

pub mod model;
pub mod notes;
pub mod pomerium;

mod system;

pub use system::{Answers, Demo, Error, Options, Port, Server};
