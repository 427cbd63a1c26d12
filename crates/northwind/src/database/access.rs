//! What a connection may do, as SQLite's authorizer asks it.
//!
//! SQLite calls the authorizer for every action that it compiles into a statement, whatever the
//! text looks like (<https://sqlite.org/c3ref/set_authorizer.html>).

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Functions that reach beyond the database file, or that change how SQLite itself works.
const BANNED_FUNCTIONS: [&str; 5] =
    ["load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"];

/// Pragmas that only tell something about the schema; their value is what they tell it about.
const SCHEMA_PRAGMAS: [&str; 8] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "foreign_key_check",
];

/// Pragmas that tell a setting, and would change it if they were given a value.
const SETTING_PRAGMAS: [&str; 8] = [
    "application_id",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "journal_mode",
    "page_count",
    "page_size",
    "user_version",
];

/// Virtual tables that keep their data in the database file.
const KEPT_MODULES: [&str; 5] = ["fts3", "fts4", "fts5", "rtree", "rtree_i32"];

/// The two kinds of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only reads: opened read-only, `query_only`, and every other action refused.
    Read,
    /// Also changes rows and schema, one statement (and so one transaction) at a time.
    Write,
}

impl Access {
    /// `None` if the action may go on, else why not, for the caller.
    pub(super) fn refusal(self, context: AuthContext<'_>) -> Option<String> {
        let action = context.action;
        if is_read(action) {
            return None;
        }
        if let Some(refused) = banned(action) {
            return Some(refused);
        }
        match self {
            Self::Read => Some(
                "Refused: read_query only reads, and this statement changes the database. \
                 Use write_query for changes."
                    .to_owned(),
            ),
            Self::Write => None,
        }
    }
}

/// The authorizer's answer for `refusal`.
pub(super) fn answer(refusal: Option<&String>) -> Authorization {
    if refusal.is_some() { Authorization::Deny } else { Authorization::Allow }
}

fn is_read(action: AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => true,
        AuthAction::Function { function_name } => {
            !BANNED_FUNCTIONS.iter().any(|banned| banned.eq_ignore_ascii_case(function_name))
        }
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let known = |names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(pragma_name));
            known(&SCHEMA_PRAGMAS) || (pragma_value.is_none() && known(&SETTING_PRAGMAS))
        }
        _ => false,
    }
}

/// Why no connection may do this, if so.
fn banned(action: AuthAction<'_>) -> Option<String> {
    let why = match action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            "ATTACH, DETACH and VACUUM are not allowed: this server serves one file".to_owned()
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            "transactions cannot span calls; each statement is its own transaction".to_owned()
        }
        AuthAction::Pragma { pragma_name, .. } => {
            format!("PRAGMA {pragma_name} is not allowed in this form")
        }
        AuthAction::Function { function_name } => {
            format!("the function {function_name} is not allowed")
        }
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => {
            "TEMP objects are not allowed: calls share their connections".to_owned()
        }
        AuthAction::CreateVtable { module_name, .. }
            if !KEPT_MODULES.iter().any(|kept| kept.eq_ignore_ascii_case(module_name)) =>
        {
            format!("the virtual table module {module_name} is not allowed")
        }
        AuthAction::Unknown { code, .. } => {
            format!("this server does not know SQLite's action {code}")
        }
        _ => return None,
    };
    Some(format!("Refused: {why}."))
}
