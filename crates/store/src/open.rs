//! Opening a database: what it is, its schema, its connections.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, SqliteConnection, SqlitePool,
    error::DatabaseError,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

/// What is kept in a file.
pub(crate) struct Schema {
    /// The table that has a row for each step that was applied. The name tells the files apart.
    pub(crate) versions: &'static str,
    /// The steps, in order; the version of a database is how many were applied. A step that was
    /// released never changes.
    pub(crate) steps: &'static [&'static str],
    /// Whether room that was given up goes back to the disk when asked.
    pub(crate) vacuum: SqliteAutoVacuum,
}

/// Conversations and turn logs.
pub(crate) const SCHEMA: Schema = Schema {
    versions: "schema_version",
    steps: &[
        include_str!("../migrations/0001_conversations_and_turns.sql"),
        include_str!("../migrations/0002_turns_without_conversation.sql"),
        include_str!("../migrations/0003_edited_conversations.sql"),
    ],
    vacuum: SqliteAutoVacuum::None,
};

/// How long a connection waits for another process's lock (a backup, a shell) before it fails.
const BUSY: Duration = Duration::from_secs(5);

/// Connections that read at once: SQLite reads in parallel, but each has a thread and a cache.
const READERS: u32 = 4;

/// SQLite's code of a file that is no database (`SQLITE_NOTADB`).
const NOT_A_DATABASE: &str = "26";

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not `sqlite://` and a path. (It is not shown: other URLs carry passwords.)
    #[error("the database URL is not of the form sqlite://PATH")]
    Url,
    /// There is a file, but SQLite did not write it.
    #[error("{} is not an SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// There is a database, but Toolgate did not make it.
    #[error("{} is the database of another program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database was used by a newer Toolgate. It is left as it is.
    #[error(
        "{} was written by a newer Toolgate: its schema is version {found}, this one knows {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file cannot be opened, or its schema cannot be brought up to date.
    #[error("{} cannot be opened", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

/// The file that a URL names.
pub(crate) fn path(url: &str) -> Result<PathBuf, OpenError> {
    let plain = url.starts_with("sqlite:") && !url.contains('?') && !url.contains(":memory:");
    let options = SqliteConnectOptions::from_str(url).ok().filter(|_| plain);
    match options.map(|options| options.get_filename().to_owned()) {
        Some(path) if !path.as_os_str().is_empty() => Ok(path),
        Some(_) | None => Err(OpenError::Url),
    }
}

/// Creates the database if there is none, and brings its schema up to date.
pub(crate) async fn migrate(path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let conn = migrated(path, schema).await?;
    conn.close().await.map_err(|source| failed(path, source))
}

/// A connection to the database, which is made if there is none, and whose schema is brought up to
/// date.
async fn migrated(path: &Path, schema: &Schema) -> Result<SqliteConnection, OpenError> {
    // In a new file nobody has anything yet. It is brought to the disk once, when it is switched to
    // WAL mode, and not several times before.
    let synchronous = if create_private(path) {
        SqliteSynchronous::Off
    } else {
        SqliteSynchronous::Full
    };
    // Not yet in WAL mode, which stays in the file: one that is not ours is left as it is. Foreign
    // keys cannot be switched within a transaction, and a step may make a table anew.
    let options = options(path)
        .create_if_missing(true)
        .synchronous(synchronous)
        .foreign_keys(false)
        .auto_vacuum(schema.vacuum);
    let mut conn = SqliteConnection::connect_with(&options)
        .await
        .map_err(|source| failed(path, source))?;
    match apply(path, schema, &mut conn).await {
        Ok(()) => Ok(conn),
        Err(error) => {
            // What it was opened for has failed already.
            conn.close().await.ok();
            Err(error)
        }
    }
}

/// A new file is its owner's only: it holds the conversations of everybody. What SQLite puts beside
/// it takes its mode. Where it cannot be made, SQLite says why. Whether it was made.
fn create_private(path: &Path) -> bool {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).is_ok()
}

/// How the one connection writes. A commit is on disk before it is answered (`FULL`; `NORMAL` would
/// do that only at a checkpoint): a call whose `call.started` was lost with the power would be
/// started a second time. Set before the mode, so that a new file is on disk with it.
const WRITING: &str =
    "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL";

/// The one connection that writes to a database whose schema is up to date.
pub(crate) async fn connect_writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut conn = SqliteConnection::connect_with(&options(path)).await?;
    sqlx::raw_sql(WRITING).execute(&mut conn).await?;
    Ok(conn)
}

/// The one connection that writes, once the schema is up to date. The same one goes on: another
/// would cost the start several syncs of the disk.
pub(crate) async fn migrated_writer(
    path: &Path,
    schema: &Schema,
) -> Result<SqliteConnection, OpenError> {
    let mut conn = migrated(path, schema).await?;
    let executed = sqlx::raw_sql(WRITING).execute(&mut conn).await;
    executed.map_err(|source| failed(path, source))?;
    Ok(conn)
}

/// The connections that read.
pub(crate) fn readers(path: &Path) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(READERS);
    pool.connect_lazy_with(options(path).read_only(true))
}

pub(crate) fn failed(path: &Path, source: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    let code = source.as_database_error().and_then(DatabaseError::code);
    if code.as_deref() == Some(NOT_A_DATABASE) {
        OpenError::NotADatabase { path }
    } else {
        OpenError::Failed { path, source }
    }
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY)
}

async fn apply(path: &Path, schema: &Schema, conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let failed = |source| failed(path, source);
    let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let found = match version(schema, &mut tx).await.map_err(failed)? {
        Found::Empty => 0,
        Found::Version(found) if found <= known => found,
        Found::Version(found) => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        Found::Foreign => {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
            });
        }
    };
    for (step, sql) in (1_i64..)
        .zip(schema.steps)
        .filter(|(step, _)| *step > found)
    {
        sqlx::raw_sql(*sql)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        let insert = format!("INSERT INTO {} (version) VALUES ($1)", schema.versions);
        sqlx::query(AssertSqlSafe(insert))
            .bind(step)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    if found < known {
        check_foreign_keys(&mut tx).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

/// Refuses what the steps left, if a row of it names one that is not there.
async fn check_foreign_keys(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let (broken,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM pragma_foreign_key_check()")
        .fetch_one(conn)
        .await?;
    if broken == 0 {
        Ok(())
    } else {
        let what = format!("{broken} rows name others that are not there");
        Err(sqlx::Error::Protocol(what))
    }
}

/// What a database holds.
enum Found {
    /// Nothing.
    Empty,
    /// Toolgate's tables.
    Version(i64),
    /// Something else.
    Foreign,
}

async fn version(schema: &Schema, conn: &mut SqliteConnection) -> Result<Found, sqlx::Error> {
    let (tables, ours): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), COUNT(CASE WHEN name = $1 THEN 1 END) FROM sqlite_master")
            .bind(schema.versions)
            .fetch_one(&mut *conn)
            .await?;
    match (tables, ours) {
        (0, _) => Ok(Found::Empty),
        (_, 0) => Ok(Found::Foreign),
        (_, _) => {
            let newest = format!("SELECT MAX(version) FROM {}", schema.versions);
            let (version,): (Option<i64>,) = sqlx::query_as(AssertSqlSafe(newest))
                .fetch_one(conn)
                .await?;
            Ok(Found::Version(version.unwrap_or(0)))
        }
    }
}
