//! The page in a real browser, used by role and name.

mod ask;
mod itself;

/// A question that the scripted model answers with one query and a table.
const SALES: &str = "What were our sales by year?";
