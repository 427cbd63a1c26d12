//! Exchanges: with whom they are, and how they end. The rest of one is what `wire` sees and `store`
//! keeps of it.

/// Whom an exchange is with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    /// A model endpoint.
    #[default]
    Model,
    /// An MCP server, possibly through Pomerium.
    Mcp,
    /// Pomerium itself.
    Pomerium,
}

impl Peer {
    /// The word in records, in the file and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Mcp => "mcp",
            Self::Pomerium => "pomerium",
        }
    }

    /// The one with this [`name`](Self::name).
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Model, Self::Mcp, Self::Pomerium]
            .into_iter()
            .find(|peer| peer.name() == name)
    }
}

/// How an exchange ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// With the end of the answer's body.
    Complete,
    /// Because nobody wanted the rest: the caller dropped it.
    #[default]
    Dropped,
    /// With an error.
    Failed(String),
    /// Toolgate itself ended without a word, as after a kill. Found at the next start.
    Interrupted,
}

impl End {
    /// The word in the file and in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Dropped => "dropped",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// How it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            Self::Complete | Self::Dropped | Self::Interrupted => None,
        }
    }

    /// The end with this [`name`](Self::name), which failed so, if it did.
    pub fn of_name(name: &str, failure: Option<String>) -> Option<Self> {
        Some(match name {
            "complete" => Self::Complete,
            "dropped" => Self::Dropped,
            "failed" => Self::Failed(failure.unwrap_or_default()),
            "interrupted" => Self::Interrupted,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for peer in [Peer::Model, Peer::Mcp, Peer::Pomerium] {
            assert_eq!(Peer::of_name(peer.name()), Some(peer));
        }
        for end in [
            End::Complete,
            End::Dropped,
            End::Failed("why".to_owned()),
            End::Interrupted,
        ] {
            let failure = end.failure().map(str::to_owned);
            assert_eq!(End::of_name(end.name(), failure), Some(end));
        }
        assert_eq!((Peer::of_name(""), End::of_name("", None)), (None, None));
    }
}
