//! Paths as Pomerium's proxy writes them anew before it looks at them (`normalize_path` and
//! `merge_slashes` of Envoy).

use http::uri::{PathAndQuery, Uri};

/// The address with a path without `.`, `..` and doubled slashes. The query stays as it is.
pub(super) fn normalised(uri: Uri) -> Uri {
    let path = normal_path(uri.path());
    if path == uri.path() {
        return uri;
    }
    let written = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    let Ok(written) = PathAndQuery::try_from(written) else {
        return uri;
    };
    parts.path_and_query = Some(written);
    Uri::from_parts(parts).unwrap_or(uri)
}

/// RFC 3986 section 5.2.4, then one slash for many. An escaped dot is a dot.
fn normal_path(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else {
        return path.to_owned();
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        match dots.as_str() {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    let mut written = String::with_capacity(path.len());
    for (index, segment) in kept.iter().enumerate() {
        if !segment.is_empty() || index + 1 == kept.len() {
            written.push('/');
            written.push_str(segment);
        }
    }
    if written.is_empty() {
        written.push('/');
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_anew() {
        for (path, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("//a", "/a"),
            ("/a//b///c//", "/a/b/c/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../../a", "/a"),
            ("/..", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a/...", "/a/..."),
            ("/a/.b", "/a/.b"),
            ("/a/%62", "/a/%62"),
        ] {
            assert_eq!(normal_path(path), expected, "{path}");
        }
    }
}
