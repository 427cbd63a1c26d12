//! Retention: the oldest exchanges go, in small batches between which others write.

use chat::ids::TurnId;
use sqlx::{Connection, SqliteConnection};

use super::TrafficStore;
use crate::{body::stored_count, error::StoreError};

/// Exchanges of a batch: some milliseconds.
const BATCH: usize = 100;

/// Pages of the file that a batch gives back to the disk: 1 MiB.
const VACUUM_PAGES: u32 = 256;

/// Bytes that the log of writes (`-wal`) is cut back to, at most: four times what it has between
/// checkpoints.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Pages of the log after which they go into the file, at most: SQLite's own number.
const LOG_PAGES: u64 = 1000;

/// Bytes of a page: SQLite's own number.
const PAGE_BYTES: u64 = 4096;

/// Bytes that the file may take, its log of writes included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(pub(super) u64);

impl Bound {
    /// Bytes of it that the log may keep.
    pub(super) fn log_bytes(self) -> u64 {
        (self.0 / 8).min(LOG_BYTES)
    }

    /// Pages of the log after which they go into the file.
    pub(super) fn log_pages(self) -> u64 {
        (self.log_bytes() / PAGE_BYTES).clamp(1, LOG_PAGES)
    }

    fn file_bytes(self) -> u64 {
        self.0 - self.log_bytes()
    }
}

/// What retention took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Exchanges.
    pub exchanges: u64,
    /// Whether there is more to take away.
    pub(super) more: bool,
}

impl TrafficStore {
    /// Takes away the exchanges of a turn that is gone for good.
    pub async fn forget(&self, turn: &TurnId) -> Result<(), StoreError> {
        self.0.queue.forget(turn.clone()).await
    }

    /// Takes away the exchanges that began before `before` (milliseconds since 1970), and then the
    /// oldest until the file is within its bound, and gives the room back to the disk.
    pub async fn purge(&self, before: i64) -> Result<Purged, StoreError> {
        let mut all = Purged::default();
        loop {
            let purged = self.0.queue.purge(before).await?;
            all.exchanges += purged.exchanges;
            if !purged.more {
                return Ok(all);
            }
        }
    }
}

/// Takes away the exchanges of a turn. The parts of their bodies that others may have too
/// stay, without a name, until they are too old.
pub(super) async fn forget(conn: &mut SqliteConnection, turn: &TurnId) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    for sql in [
        "DELETE FROM pieces WHERE exchange_id IN (SELECT id FROM exchanges WHERE turn_id = $1)",
        "DELETE FROM exchanges WHERE turn_id = $1",
    ] {
        let removing = sqlx::query(sql).bind(turn.as_str());
        removing.execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Whether the file takes more than it may.
pub(super) async fn is_over(
    conn: &mut SqliteConnection,
    bound: Bound,
) -> Result<bool, sqlx::Error> {
    Ok(Size::of(conn).await?.used > bound.file_bytes())
}

/// Takes away a batch of what began before `before`, and of the oldest while the file is over its
/// bound.
pub(super) async fn batch(
    conn: &mut SqliteConnection,
    before: i64,
    bound: Bound,
) -> Result<Purged, sqlx::Error> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, started_at FROM exchanges ORDER BY id LIMIT $1")
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
    let mut gone = rows
        .iter()
        .take_while(|(_, started_at)| *started_at < before)
        .count();
    if let Some((last, _)) = gone.checked_sub(1).and_then(|last| rows.get(last)) {
        take_away(&mut tx, *last).await?;
    }
    // One by one: a single exchange may be as large as a hundred others.
    for (next, _) in rows.iter().skip(gone) {
        if !is_over(&mut tx, bound).await? {
            break;
        }
        take_away(&mut tx, *next).await?;
        gone += 1;
    }
    tx.commit().await?;
    let free = vacuum(conn).await?;
    Ok(Purged {
        exchanges: gone as u64,
        more: gone > 0 || free > 0,
    })
}

/// Takes away the exchanges up to this one, and what only they used.
async fn take_away(conn: &mut SqliteConnection, last: i64) -> Result<(), sqlx::Error> {
    for sql in [
        "DELETE FROM exchanges WHERE id <= $1",
        "DELETE FROM pieces WHERE exchange_id <= $1",
        "DELETE FROM bodies WHERE blob_id IN (SELECT id FROM blobs WHERE used <= $1)",
        "DELETE FROM blobs WHERE used <= $1",
    ] {
        sqlx::query(sql).bind(last).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Gives some of the free pages back to the disk; how many are left.
async fn vacuum(conn: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let before = Size::of(conn).await?.free_pages;
    if before == 0 {
        return Ok(0);
    }
    let sql = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut *conn)
        .await?;
    let after = Size::of(conn).await?.free_pages;
    // A file from before it could be done has none to give back.
    Ok(if after < before { after } else { 0 })
}

struct Size {
    /// Bytes of pages in use.
    used: u64,
    free_pages: u64,
}

impl Size {
    async fn of(conn: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let (pages, free, size): (i64, i64, i64) = sqlx::query_as(
            "SELECT page_count, freelist_count, page_size \
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
        )
        .fetch_one(conn)
        .await?;
        Ok(Self {
            used: stored_count(pages.saturating_sub(free).saturating_mul(size)),
            free_pages: stored_count(free),
        })
    }
}
