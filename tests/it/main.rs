//! Integration tests: the whole system, as people and programs use it.

#![cfg(test)]

mod fake;
mod look;
mod said;

mod accounts;
mod admin;
mod adversary;
mod approval;
mod branches;
mod browser;
mod conversations;
mod deployment;
mod doctor;
mod drain;
mod first_round;
mod full_disk;
mod harness_itself;
mod house;
mod identity;
mod kills;
mod limits;
mod messages;
mod model_faults;
mod notes;
mod openapi;
mod programs;
mod readers;
mod recovery;
mod resources;
mod results;
mod route_cut;
mod selection;
mod server_calls;
mod servers;
mod standalone;
mod stop;
mod storage;
mod tokens;
mod traffic_api;
mod traffic_store;
mod turns;
mod v1;
