//! Whether the database takes writes.

use sqlx::SqliteConnection;

use crate::{Store, error::StoreError, writer::Write};

impl Store {
    /// Writes what is there already: the disk must take it, as it must take any other write.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.0.writer.write(Probe).await
    }
}

struct Probe;

impl Write for Probe {
    type Done = ();
    type Refused = StoreError;

    async fn apply(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("UPDATE schema_version SET version = version WHERE version = 1")
            .execute(conn)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_database_that_is_closed_takes_no_writes() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("t.db").display());
        let store = Store::open(&url, &TaskTracker::new()).await.unwrap();
        store.probe().await.unwrap();
        store.close().await;
        assert!(store.probe().await.is_err());
    }
}
