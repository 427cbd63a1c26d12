//! The pure domain of Toolgate: messages, tools, the turn state machine and its log.
