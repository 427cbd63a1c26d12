//! Integration tests: the whole system, as people and programs use it.

#![cfg(test)]

mod fake;
mod look;

mod accounts;
mod admin;
mod adversary;
mod approval;
mod browser;
mod deployment;
mod doctor;
mod drain;
mod harness_itself;
mod house;
mod identity;
mod kills;
mod limits;
mod messages;
mod model_faults;
mod notes;
mod programs;
mod readers;
mod recovery;
mod route_cut;
mod server_calls;
mod servers;
mod standalone;
mod stop;
mod storage;
mod tokens;
mod turns;
mod v1;
