//! The demo database: a trading company in the manner of the classic Northwind, always the same.

mod dice;
mod orders;

use std::{io, path::Path};

use rusqlite::Connection;

/// Why the demo database was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the file cannot be written")]
    File(#[from] io::Error),
    #[error("SQLite refused it")]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes the demo database in `path`, unless that exists.
///
/// It is made under another name in the same directory, flushed, and only then given its name,
/// which fails if another process was faster. So whoever sees the file sees all of it.
pub(crate) fn ensure(path: &Path) -> Result<(), Error> {
    if path.try_exists()? {
        return Ok(());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new()
        .prefix(".northwind-")
        .suffix(".tmp")
        .tempfile_in(directory)?;
    fill(file.path())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            tracing::info!(path = %path.display(), "made the demo database");
            Ok(())
        }
        Err(late) if late.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error.into()),
    }
}

fn fill(path: &Path) -> Result<(), Error> {
    let mut connection = Connection::open(path)?;
    // Nobody else sees the file yet, and it is thrown away if this fails.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", false)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("demo/schema.sql"))?;
    transaction.execute_batch(include_str!("demo/company.sql"))?;
    orders::insert(&transaction)?;
    transaction.commit()?;
    // So that a long read does not hold up a write.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
