//! What cells stand for: the same for rows that belong together.

use std::borrow::Cow;

use super::super::rows::{Kind, Rows, plain, when};

/// What a cell stands for: the same for rows that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// The bits of a number of days.
    When(u64),
    Text(Cow<'a, str>),
}

/// What the cell stands for; none if there is nothing in it.
pub(super) fn key<'a>(rows: &Rows<'a>, row: usize, column: usize) -> Option<Key<'a>> {
    let cell = rows.cell(row, column).filter(|cell| !cell.is_null())?;
    if rows.kind(column) == Some(Kind::Date) {
        // There is one zero.
        return when(cell).map(|days| Key::When((days + 0.0).to_bits()));
    }
    Some(Key::Text(match cell.as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(plain(cell)),
    }))
}
