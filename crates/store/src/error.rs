//! What can fail whatever is asked of the store.

use std::sync::Arc;

/// The store itself failed: nothing was written, nothing is known. Asking again may help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed: busy for too long, out of space, an IO error.
    #[error("the database failed")]
    Database(#[source] Arc<sqlx::Error>),
    /// A body cannot be turned into its stored form, or read from it.
    #[error("{what} cannot be stored or read")]
    Body {
        /// What it is the body of.
        what: &'static str,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn body(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Body {
            what,
            source: source.into().into(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolClosed) {
            Self::Closed
        } else {
            Self::Database(Arc::new(error))
        }
    }
}
