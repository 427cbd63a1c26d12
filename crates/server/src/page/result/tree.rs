//! The JSON of a result as a tree that opens: what is not here has a link.

use serde_json::Value;

use super::{
    super::json::{Bounds, Link, Tree},
    asked::{Asked, Of},
};

/// Containers within each other that are sent at once.
const DEPTH: usize = 4;

/// Entries of one container that are sent at once.
const ENTRIES: usize = 50;

/// Entries that are sent at once.
const NODES: usize = 400;

/// The value itself, its first level open.
pub(super) fn whole(of: Of<'_>, value: &Value) -> Tree {
    Tree::whole(value, bounds(&|path, from| link(of, path, from)))
}

/// The entries of what the JSON pointer leads to, from this one on; none if it leads nowhere.
pub(super) fn entries(of: Of<'_>, value: &Value, path: &str, from: usize) -> Option<Tree> {
    let link = |path: &str, from| link(of, path, from);
    Tree::entries(value, (path, from), bounds(&link))
}

fn bounds(link: Link<'_>) -> Bounds<'_> {
    Bounds {
        depth: DEPTH,
        entries: ENTRIES,
        nodes: NODES,
        link: Some(link),
    }
}

fn link(of: Of<'_>, path: &str, from: usize) -> String {
    let asked = Asked {
        path: Some(path.to_owned()),
        from,
        ..Asked::default()
    };
    asked.link(of)
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use chat::ids::{CallId, TurnId};
    use serde_json::json;

    use super::*;

    fn html(make: impl FnOnce(Of<'_>) -> Option<Tree>) -> Option<String> {
        let turn = TurnId::from("t");
        let of = Of {
            turn: &turn,
            call: CallId(1),
        };
        make(of).map(|tree| tree.render().unwrap())
    }

    fn shown(value: &Value) -> String {
        html(|of| Some(whole(of, value))).unwrap()
    }

    #[test]
    fn large_json_is_small_here_and_the_rest_can_be_asked_for() {
        let value = json!({ "a": (0..100_000).collect::<Vec<_>>() });
        let tree = shown(&value);
        assert!(tree.len() < 20_000, "{}", tree.len());
        assert!(tree.contains("99950 more"), "{tree}");
        assert!(tree.contains("/calls/t/1?path=%2Fa&#38;from=50"), "{tree}");
        let rest = html(|of| entries(of, &value, "/a", 99_990)).unwrap();
        assert!(rest.contains("99999") && !rest.contains("more"), "{rest}");
        assert_eq!(html(|of| entries(of, &value, "/b", 0)), None);
        assert_eq!(html(|of| entries(of, &value, "/a", 200_000)).unwrap(), "");
    }

    #[test]
    fn deep_and_wide_json_is_bounded() {
        let mut deep = json!("found");
        for _ in 0..60 {
            deep = json!({ "a/~": deep });
        }
        let tree = shown(&deep);
        assert!(
            !tree.contains("found") && tree.contains("a%7E1%7E0"),
            "{tree}"
        );
        let path = "/a~1~0".repeat(60);
        let leaf = html(|of| entries(of, &deep, &path, 0)).unwrap();
        assert!(leaf.contains("found"), "{leaf}");
        let wide = json!(vec![vec![vec![1; 40]; 40]; 40]);
        assert!(shown(&wide).matches("<li").count() < NODES + 60);
    }

    #[test]
    fn nothing_in_it_is_markup() {
        let tree = shown(&json!({ "<b>\u{202e}": ["<script>", null, true, [], {}] }));
        assert!(
            !tree.contains("<script>") && !tree.contains("<b>"),
            "{tree}"
        );
        assert!(!tree.contains('\u{202e}'), "{tree}");
    }
}
