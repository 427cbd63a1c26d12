#![doc = include_str!("../README.md")]

mod answer;
mod arguments;
mod call;
mod database;
mod demo;
mod failure;
mod journal;
mod listen;
mod rows;
mod schema;
mod serve;
mod tools;

pub use serve::{Error, Options, Source, serve};

#[cfg(test)]
mod tests;
