//! Names of things, each a type of its own so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// A turn: a `UUIDv7`, made by whoever opens the turn.
    TurnId
);
text_id!(
    /// A conversation: a `UUIDv7`.
    ConversationId
);
text_id!(
    /// A person, as the `sub` claim of the verified assertion names them. Everything stored,
    /// pooled or cached is keyed by it.
    Subject
);
text_id!(
    /// A Pomerium session: the assertion's `sid` claim. Tokens and connections are kept by it.
    Sid
);
text_id!(
    /// The content hash of a server's catalog: lower-case hex SHA-256.
    CatalogHash
);
number_id!(
    /// A round of a turn, counted from 1.
    RoundId
);
number_id!(
    /// A call of a turn, counted from 1 in the order the model asked.
    CallId
);
number_id!(
    /// A question put to a person in a turn, counted from 1.
    QuestionId
);
