//! highlight.js, which colours code: its core, and each language for itself. The page asks for what
//! it needs of it, when it needs it. `web/static/highlight/README.md` says where it comes from.

use super::JS;

macro_rules! files {
    ($($name:literal)*) => {
        &[$((
            concat!("highlight-", $name, ".js"),
            JS,
            include_str!(concat!("../../../../../web/static/highlight/", $name, ".js")),
        )),*]
    };
}

/// Name, media type, content.
pub(super) const FILES: &[(&str, &str, &str)] = files!(
    "bash" "core" "cpp" "csharp" "css" "diff" "dockerfile" "go" "ini" "java" "javascript" "json"
    "kotlin" "markdown" "php" "powershell" "python" "ruby" "rust" "sql" "swift" "typescript"
    "xml" "yaml"
);
