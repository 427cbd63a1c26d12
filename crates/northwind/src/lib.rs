#![doc = include_str!("../README.md")]

mod answer;
mod arguments;
mod call;
mod database;
mod demo;
mod failure;
mod get;
mod health;
mod identity;
mod journal;
mod listen;
mod rows;
mod schema;
mod serve;
mod tools;

pub use health::check;
pub use identity::Pomerium;
pub use serve::{Error, Options, Server, Source, serve};

#[cfg(test)]
mod tests;
