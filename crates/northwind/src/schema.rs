//! What the database holds: its tables, and one table in detail.

use rusqlite::{Connection, OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{database::Link, failure::Failure};

/// Tables listed; a model has no use for more.
const MAX_TABLES: usize = 500;

/// Tables named in the error about an unknown one.
const MAX_NAMED: usize = 50;

/// Rows are counted up to here, since SQLite has to walk them all.
const MAX_COUNTED: i64 = 1_000_000;

/// Letters that may differ between the name given and one that was meant.
const MAX_TYPING_ERRORS: usize = 3;

/// The answer of `list_tables`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TableList {
    /// Tables and views by name, without SQLite's own.
    pub(crate) tables: Vec<Table>,
    /// Whether there are more tables than are listed.
    pub(crate) truncated: bool,
}

/// One table or view.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// `table`, `view` or `virtual`.
    pub(crate) kind: String,
    /// Names of its columns.
    pub(crate) columns: Vec<String>,
}

/// The answer of `describe_table`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Description {
    /// The table's name.
    pub(crate) name: String,
    /// `table`, `view` or `virtual`.
    pub(crate) kind: String,
    /// Its columns in order.
    pub(crate) columns: Vec<Column>,
    /// What its columns refer to.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// Its indexes.
    pub(crate) indexes: Vec<Index>,
    /// How many rows it has; null for a view and for more than a million.
    pub(crate) row_count: Option<i64>,
    /// The statement that made it; null if SQLite keeps none.
    pub(crate) sql: Option<String>,
}

/// One column.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its declared type; empty if it has none.
    pub(crate) r#type: String,
    /// Whether it may be NULL.
    pub(crate) nullable: bool,
    /// Its default as an SQL expression.
    pub(crate) default: Option<String>,
    /// Its place in the primary key, from 1; 0 if it is not part of it.
    pub(crate) primary_key: i64,
}

/// A column that refers to another table's.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ForeignKey {
    /// The column here.
    pub(crate) column: String,
    /// The table there.
    pub(crate) table: String,
    /// The column there; null means its primary key.
    pub(crate) to: Option<String>,
}

/// One index.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Index {
    /// Its name.
    pub(crate) name: String,
    /// Whether no two rows may have the same values.
    pub(crate) unique: bool,
    /// Its columns; an expression has no name and is left out.
    pub(crate) columns: Vec<String>,
}

/// Lists every table with its columns.
pub(crate) fn list(link: &Link) -> Result<TableList, Failure> {
    let read = || -> rusqlite::Result<TableList> {
        let mut names = names(link.sqlite())?;
        let truncated = names.len() > MAX_TABLES;
        names.truncate(MAX_TABLES);
        let mut tables = Vec::with_capacity(names.len());
        for (name, kind) in names {
            let columns = column_names(link.sqlite(), &name)?;
            tables.push(Table {
                name,
                kind,
                columns,
            });
        }
        Ok(TableList { tables, truncated })
    };
    read().map_err(|error| link.failure(error, ""))
}

/// Describes one table, found whatever the case of its name.
pub(crate) fn describe(link: &Link, wanted: &str) -> Result<Description, Failure> {
    let failed = |error| link.failure(error, "");
    let sqlite = link.sqlite();
    let found = names(sqlite).map_err(failed)?;
    let Some((name, kind)) = found
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
    else {
        return Err(unknown_table(wanted, &found));
    };
    let read = || -> rusqlite::Result<Description> {
        Ok(Description {
            name: name.clone(),
            kind: kind.clone(),
            columns: columns(sqlite, name)?,
            foreign_keys: foreign_keys(sqlite, name)?,
            indexes: indexes(sqlite, name)?,
            row_count: if kind == "view" {
                None
            } else {
                count(sqlite, name)?
            },
            sql: statement(sqlite, name)?,
        })
    };
    read().map_err(failed)
}

/// The tables, for an error message: what a statement that named a wrong one could have meant.
pub(crate) fn hint(link: &Link) -> Option<String> {
    let found = names(link.sqlite()).ok()?;
    Some(format!("Tables: {}.", named(&found)))
}

fn unknown_table(wanted: &str, found: &[(String, String)]) -> Failure {
    let lower = wanted.to_lowercase();
    let mut similar: Vec<(usize, &str)> = found
        .iter()
        .map(|(name, _)| (distance(&lower, &name.to_lowercase()), name.as_str()))
        .filter(|(errors, name)| {
            *errors <= MAX_TYPING_ERRORS.min(name.len() / 2) || name.contains(lower.as_str())
        })
        .collect();
    similar.sort_unstable();
    let guess = match similar.first() {
        Some((_, name)) if !lower.is_empty() => format!(" Did you mean {name}?"),
        _ => String::new(),
    };
    Failure::error(format!(
        "There is no table {wanted:?}.{guess} Tables: {}.",
        named(found)
    ))
}

fn named(found: &[(String, String)]) -> String {
    if found.is_empty() {
        return "none, the database is empty".to_owned();
    }
    let shown: Vec<&str> = found
        .iter()
        .take(MAX_NAMED)
        .map(|(name, _)| name.as_str())
        .collect();
    let more = found.len() - shown.len();
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(", ") + &rest
}

/// Name and kind of every table; one more than [`MAX_TABLES`] at most when listed.
fn names(sqlite: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    collect(
        sqlite,
        "SELECT name, type FROM pragma_table_list
         WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY name",
        "",
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn column_names(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    collect(
        sqlite,
        "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
        table,
        |row| row.get(0),
    )
}

fn columns(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    collect(
        sqlite,
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?1)
         WHERE hidden <> 1 ORDER BY cid",
        table,
        |row| {
            Ok(Column {
                name: row.get(0)?,
                r#type: row.get(1)?,
                nullable: !row.get::<_, bool>(2)?,
                default: row.get(3)?,
                primary_key: row.get(4)?,
            })
        },
    )
}

fn foreign_keys(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    collect(
        sqlite,
        "SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq",
        table,
        |row| {
            Ok(ForeignKey {
                column: row.get(0)?,
                table: row.get(1)?,
                to: row.get(2)?,
            })
        },
    )
}

fn indexes(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let found: Vec<(String, bool)> = collect(
        sqlite,
        "SELECT name, \"unique\" FROM pragma_index_list(?1) ORDER BY name",
        table,
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let sql = "SELECT name FROM pragma_index_info(?1) WHERE name IS NOT NULL ORDER BY seqno";
    found
        .into_iter()
        .map(|(name, unique)| {
            let columns = collect(sqlite, sql, &name, |row| row.get(0))?;
            Ok(Index {
                name,
                unique,
                columns,
            })
        })
        .collect()
}

fn count(sqlite: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    let quoted = table.replace('"', "\"\"");
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM \"{quoted}\" LIMIT ?1)");
    let counted: i64 = sqlite.query_row(&sql, params![MAX_COUNTED + 1], |row| row.get(0))?;
    Ok((counted <= MAX_COUNTED).then_some(counted))
}

fn statement(sqlite: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    sqlite
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')",
            params![table],
            |row| row.get(0),
        )
        .optional()
        .map(Option::flatten)
}

/// Every row of `sql`, whose one parameter, if it has one, is `name`.
fn collect<T>(
    sqlite: &Connection,
    sql: &str,
    name: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = sqlite.prepare(sql)?;
    let name = (statement.parameter_count() > 0).then_some(name);
    statement
        .query_map(rusqlite::params_from_iter(name), read)?
        .collect()
}

/// Letters to insert, drop or change to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (above, from) in a.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let change = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = change.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown_table};

    #[test]
    fn distance_counts_typing_errors() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("orders", "orders"), 0);
        assert_eq!(distance("ordrs", "orders"), 1);
        assert_eq!(distance("customres", "customers"), 2);
    }

    #[test]
    fn an_unknown_table_names_what_was_meant_and_all_others() {
        let tables: Vec<_> = ["orders", "shippers"]
            .map(|name| (name.to_owned(), "table".to_owned()))
            .into();
        let text = unknown_table("Ordrs", &tables).text;
        assert_eq!(
            text,
            "There is no table \"Ordrs\". Did you mean orders? Tables: orders, shippers."
        );
        let text = unknown_table("invoices", &tables).text;
        assert_eq!(
            text,
            "There is no table \"invoices\". Tables: orders, shippers."
        );
        assert!(unknown_table("", &[]).text.contains("none"));
    }
}
