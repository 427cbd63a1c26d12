//! Integration tests: the whole system, as people and programs use it.

#![cfg(test)]

mod harness_itself;
mod house;
mod kills;
