//! Running one statement and reading its rows, bounded.

use std::fmt::Write;

use rusqlite::{
    Row, Statement, params_from_iter,
    types::{Value as SqlValue, ValueRef},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    database::{Link, Meter},
    failure::Failure,
    schema,
};

/// All cells of an answer together, bytes of their text. Past it no further row is read.
const MAX_CELLS_BYTES: usize = 1024 * 1024;

/// One text cell, bytes; a longer one is cut and says so.
const MAX_CELL_BYTES: usize = 32 * 1024;

/// Bytes of a BLOB that are shown, in hexadecimal.
const BLOB_PREFIX_BYTES: usize = 16;

/// The largest integer that every JSON reader keeps exact (RFC 8259, section 6): 2^53 - 1.
const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;

/// The rows of a statement.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RowSet {
    /// Names of the columns, in the order of the statement.
    pub(crate) columns: Vec<String>,
    /// The rows; each has one value for each column, in their order.
    #[schemars(schema_with = "rows_schema")]
    pub(crate) rows: Vec<Vec<Value>>,
    /// How many rows are here.
    pub(crate) row_count: usize,
    /// Whether there were more rows, or a value was cut.
    pub(crate) truncated: bool,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) params: Vec<Value>,
    /// Rows to keep.
    pub(crate) limit: usize,
    pub(crate) meter: Meter,
}

/// Reads rows until the limit is met; those after it are never computed.
pub(crate) fn read(link: &Link, query: &Query) -> Result<RowSet, Failure> {
    let mut statement = prepare(link, query)?;
    if statement.column_count() == 0 {
        return Err(Failure::error(
            "The statement gives no rows: there is nothing to read.",
        ));
    }
    let mut set = RowSet::new(&statement);
    let failed = |error| link.failure(error, &query.sql);
    let mut rows = statement
        .query(params_from_iter(bind(&query.params)?))
        .map_err(failed)?;
    let mut room = MAX_CELLS_BYTES;
    while let Some(row) = rows.next().map_err(failed)? {
        if set.rows.len() >= query.limit || room == 0 {
            set.truncated = true;
            break;
        }
        set.push(row, &mut room).map_err(failed)?;
        query.meter.row();
    }
    Ok(set)
}

/// Runs the statement to its end and keeps the rows that it returns (`RETURNING`), up to the
/// limit. Gives the number of rows changed, those changed by triggers and foreign keys included.
pub(crate) fn write(link: &Link, query: &Query) -> Result<(u64, RowSet), Failure> {
    let before = link.sqlite().total_changes();
    let mut statement = prepare(link, query)?;
    let mut set = RowSet::new(&statement);
    let failed = |error| link.failure(error, &query.sql);
    let mut rows = statement
        .query(params_from_iter(bind(&query.params)?))
        .map_err(failed)?;
    let mut room = MAX_CELLS_BYTES;
    while let Some(row) = rows.next().map_err(failed)? {
        if set.rows.len() >= query.limit || room == 0 {
            set.truncated = true;
        } else {
            set.push(row, &mut room).map_err(failed)?;
        }
        query.meter.row();
    }
    Ok((link.sqlite().total_changes() - before, set))
}

fn prepare<'link>(link: &'link Link, query: &Query) -> Result<Statement<'link>, Failure> {
    let statement = link
        .sqlite()
        .prepare(&query.sql)
        .map_err(|error| unprepared(link, error, &query.sql))?;
    // Nothing but blanks and comments prepares to no statement, which has no text.
    if statement.expanded_sql().is_none() {
        return Err(Failure::error("The text holds no statement."));
    }
    Ok(statement)
}

/// Why the statement is none. Whoever guessed a table's name is told those that there are.
fn unprepared(link: &Link, error: rusqlite::Error, sql: &str) -> Failure {
    let mut failure = link.failure(error, sql);
    if failure.text.contains("no such table")
        && let Some(hint) = schema::hint(link)
    {
        failure.text.push(' ');
        failure.text.push_str(&hint);
    }
    failure
}

/// The values as SQLite takes them.
fn bind(params: &[Value]) -> Result<Vec<SqlValue>, Failure> {
    params
        .iter()
        .enumerate()
        .map(|(index, value)| bind_one(index + 1, value))
        .collect()
}

fn bind_one(place: usize, value: &Value) -> Result<SqlValue, Failure> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::Bool(truth) => Ok(SqlValue::Integer(i64::from(*truth))),
        Value::String(text) => Ok(SqlValue::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(SqlValue::Integer(integer)),
            (None, Some(real)) if number.is_f64() => Ok(SqlValue::Real(real)),
            _ => Err(Failure::error(format!(
                "params: value {place} is out of SQLite's range."
            ))),
        },
        Value::Array(_) | Value::Object(_) => Err(Failure::error(format!(
            "params: value {place} must be a string, a number, a boolean or null."
        ))),
    }
}

impl RowSet {
    fn new(statement: &Statement<'_>) -> Self {
        Self {
            columns: statement
                .column_names()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            rows: Vec::new(),
            row_count: 0,
            truncated: false,
        }
    }

    fn push(&mut self, row: &Row<'_>, room: &mut usize) -> rusqlite::Result<()> {
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in 0..self.columns.len() {
            let bound = MAX_CELL_BYTES.min(*room);
            let (cell, size, fit) = show(row.get_ref(column)?, bound);
            self.truncated |= !fit;
            *room = room.saturating_sub(size);
            cells.push(cell);
        }
        self.rows.push(cells);
        self.row_count = self.rows.len();
        Ok(())
    }
}

/// A value as JSON, about how many bytes it takes, and whether all of it is there.
fn show(value: ValueRef<'_>, bound: usize) -> (Value, usize, bool) {
    // What a number or a null takes.
    const SCALAR: usize = 8;
    match value {
        ValueRef::Null => (Value::Null, SCALAR, true),
        ValueRef::Integer(integer) if integer.unsigned_abs() <= MAX_EXACT_INTEGER => {
            (json!(integer), SCALAR, true)
        }
        ValueRef::Integer(integer) => (json!(integer.to_string()), SCALAR, true),
        ValueRef::Real(real) if real.is_finite() => (json!(real), SCALAR, true),
        // JSON has no word for it; SQLite has no NaN, it makes that NULL.
        ValueRef::Real(real) => (
            json!(if real > 0.0 { "Infinity" } else { "-Infinity" }),
            SCALAR,
            true,
        ),
        ValueRef::Text(bytes) => show_text(bytes, bound),
        ValueRef::Blob(bytes) => {
            let mut hex = String::with_capacity(2 * BLOB_PREFIX_BYTES);
            for byte in bytes.iter().take(BLOB_PREFIX_BYTES) {
                // Writing to a string does not fail.
                let _ = write!(hex, "{byte:02x}");
            }
            (
                json!({ "blob_bytes": bytes.len(), "hex": hex }),
                4 * BLOB_PREFIX_BYTES,
                true,
            )
        }
    }
}

fn show_text(bytes: &[u8], bound: usize) -> (Value, usize, bool) {
    // SQLite does not check that text is UTF-8.
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= bound {
        let size = text.len();
        return (Value::String(text.into_owned()), size, true);
    }
    let end = text.floor_char_boundary(bound);
    let kept = text.get(..end).unwrap_or_default();
    (
        json!(format!("{kept}… [cut: {} bytes in all]", bytes.len())),
        end,
        false,
    )
}

fn rows_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "array",
            "items": {
                "description": "NULL is null. An integer beyond 2^53-1 is a string of its \
                    digits. A BLOB is an object: blob_bytes, and hex, the first bytes of it.",
                "type": ["null", "number", "string", "object"],
            },
        },
    })
}
