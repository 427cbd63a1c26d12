//! What a connection may do, as SQLite's authorizer asks it.
//!
//! SQLite calls the authorizer for every action that it compiles into a statement, whatever the
//! text looks like (<https://sqlite.org/c3ref/set_authorizer.html>).

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Functions that reach beyond the database file, or that change how SQLite itself works.
const BANNED_FUNCTIONS: [&str; 5] = [
    "load_extension",
    "fts3_tokenizer",
    "readfile",
    "writefile",
    "edit",
];

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
/// (`data_version` is what FTS5 itself asks for.)
const SETTING_PRAGMAS: [&str; 9] = [
    "application_id",
    "data_version",
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

/// What an action of a statement does.
enum Verdict {
    /// It reads the served file.
    Reads,
    /// It changes the served file.
    Changes,
    /// It does what no connection may, for this reason.
    Banned(String),
}

impl Access {
    /// `None` if the action may go on, else why not, for the caller.
    pub(super) fn refusal(self, context: AuthContext<'_>) -> Option<String> {
        match (self, judge(context.action)) {
            (_, Verdict::Reads) | (Self::Write, Verdict::Changes) => None,
            (Self::Read, Verdict::Changes) => Some(
                "Refused: read_query only reads, and this statement changes the database. \
                 Use write_query for changes."
                    .to_owned(),
            ),
            (_, Verdict::Banned(why)) => Some(format!("Refused: {why}.")),
        }
    }
}

/// The authorizer's answer for `refusal`.
pub(super) fn answer(refusal: Option<&String>) -> Authorization {
    if refusal.is_some() {
        Authorization::Deny
    } else {
        Authorization::Allow
    }
}

fn judge(action: AuthAction<'_>) -> Verdict {
    match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => Verdict::Reads,
        AuthAction::Function { function_name } => judge_function(function_name),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => judge_pragma(pragma_name, pragma_value),
        AuthAction::Insert { .. }
        | AuthAction::Update { .. }
        | AuthAction::Delete { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropVtable { .. }
        | AuthAction::AlterTable { .. }
        | AuthAction::Analyze { .. }
        | AuthAction::Reindex { .. } => Verdict::Changes,
        AuthAction::CreateVtable { module_name, .. } => judge_module(module_name),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            banned("ATTACH, DETACH and VACUUM are not allowed, this server serves one file")
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            banned("a transaction cannot span calls, each statement is a transaction of its own")
        }
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => {
            banned("TEMP objects are not allowed, calls share their connections")
        }
        AuthAction::Unknown { .. } | _ => banned("this server does not know what that would do"),
    }
}

fn judge_function(name: &str) -> Verdict {
    if contains(&BANNED_FUNCTIONS, name) {
        banned(format!("the function {name} is not allowed"))
    } else {
        Verdict::Reads
    }
}

fn judge_pragma(name: &str, value: Option<&str>) -> Verdict {
    if contains(&SCHEMA_PRAGMAS, name) || (value.is_none() && contains(&SETTING_PRAGMAS, name)) {
        Verdict::Reads
    } else {
        banned(format!("PRAGMA {name} is not allowed in this form"))
    }
}

fn judge_module(name: &str) -> Verdict {
    if contains(&KEPT_MODULES, name) {
        Verdict::Changes
    } else {
        banned(format!("the virtual table module {name} is not allowed"))
    }
}

fn banned(why: impl Into<String>) -> Verdict {
    Verdict::Banned(why.into())
}

fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}
