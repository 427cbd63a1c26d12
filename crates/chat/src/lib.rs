//! The pure domain of Toolgate: messages, tools, the turn state machine and its log.
//!
//! Nothing here does IO, reads a clock or makes an id: time, ids and failures are inputs. The
//! engine is [`turn::Turn`]; what it takes is [`input::Input`], what it wants done is
//! [`effect::Effect`], and what it wants remembered is [`event::Event`]. Everything a person or a
//! model sees of a turn is the fold of those events, [`transcript::Transcript`].

pub mod turn;

pub mod effect;
pub mod event;
pub mod exchange;
pub mod input;
pub mod request;

pub mod failure;
pub mod ids;
pub mod limits;
pub mod message;
pub mod outcome;

pub mod tool;
pub mod toolbox;

pub mod arguments;
pub mod policy;
pub mod selection;
pub mod shape;

pub mod prompt;
pub mod transcript;
