//! Names of functions: what every endpoint accepts, one for each tool, always the same one.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{event::Target, limits};

/// Hex digits of the hash in a name, shortest first: none while the name itself says which tool is
/// meant, then as many as it takes for the names to differ.
const HASH_DIGITS: [usize; 4] = [0, 8, 16, 32];

/// A name for each target, in their order.
///
/// A name is `server__tool` where that is legal (`^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$`: `OpenAI`'s
/// rule, and Gemini's for the first character) and can mean only that tool. Otherwise it is made
/// legal and ends with a hash of server and tool. So it depends on its target alone; only where
/// somebody named a tool like the hashed name of another, both take a longer hash.
pub(super) fn assign<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<String> {
    let mut drafts: Vec<Draft<'a>> = targets.map(Draft::new).collect();
    for _ in HASH_DIGITS {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for draft in &drafts {
            *uses.entry(draft.name()).or_default() += 1;
        }
        for draft in &mut drafts {
            if uses.get(&draft.name()).is_some_and(|uses| *uses > 1) {
                draft.lengthen();
            }
        }
    }
    drafts.iter().map(Draft::name).collect()
}

struct Draft<'a> {
    target: &'a Target,
    plain: String,
    digits: usize,
}

impl<'a> Draft<'a> {
    fn new(target: &'a Target) -> Self {
        let joined = format!("{}__{}", target.server, target.tool);
        let plain = sanitised(&joined);
        // "a__b" + "c" and "a" + "b__c", "a_" + "b" and "a" + "_b" would meet.
        let ambiguous = target.server.contains("__") || target.server.ends_with('_');
        let clear = plain == joined && !ambiguous && plain.len() <= limits::FUNCTION_NAME_BYTES;
        let mut draft = Self {
            target,
            plain,
            digits: 0,
        };
        if !clear {
            draft.lengthen();
        }
        draft
    }

    fn lengthen(&mut self) {
        let longer = HASH_DIGITS.into_iter().find(|digits| *digits > self.digits);
        self.digits = longer.unwrap_or(self.digits);
    }

    fn name(&self) -> String {
        if self.digits == 0 {
            return self.plain.clone();
        }
        let room = limits::FUNCTION_NAME_BYTES.saturating_sub(self.digits + 1);
        let mut name: String = self.plain.chars().take(room).collect();
        name.push('_');
        name.extend(hash(self.target).chars().take(self.digits));
        name
    }
}

/// The text with every character that is not allowed replaced: ASCII, so that bytes are characters.
pub(super) fn sanitised(text: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut name: String = text
        .chars()
        .map(|c| if legal(c) { c } else { '_' })
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    name
}

fn hash(target: &Target) -> String {
    let mut digest = Sha256::new();
    digest.update(target.server.as_bytes());
    digest.update([0]);
    digest.update(target.tool.as_bytes());
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn target(server: &str, tool: &str) -> Target {
        Target {
            server: server.to_owned(),
            tool: tool.to_owned(),
        }
    }

    fn name(server: &str, tool: &str) -> String {
        assign([target(server, tool)].iter()).remove(0)
    }

    fn legal(name: &str) -> bool {
        name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    }

    #[test]
    fn a_name_that_is_legal_stays() {
        assert_eq!(name("northwind", "read_query"), "northwind__read_query");
        assert_eq!(name("git-hub", "_x"), "git-hub___x");
    }

    #[test]
    fn what_is_lost_is_made_up_by_a_hash() {
        insta::assert_snapshot!(name("größe", "a.b"), @"gr__e__a_b_2848e4c5");
        insta::assert_snapshot!(name("9lives", "x"), @"_9lives__x_f796b28e");
        insta::assert_snapshot!(name("s", &"t".repeat(80)), @"s__tttttttttttttttttttttttttttttttttttttttttttttttttttt_02174516");
        assert_ne!(name("s", "a.b"), name("s", "a/b"));
        assert_ne!(name("s", "a.b"), name("s", "a_b"));
    }

    #[test]
    fn names_that_would_meet_differ_whoever_else_is_there() {
        assert_ne!(name("a__b", "c"), name("a", "b__c"));
        assert_ne!(name("a_", "b"), name("a", "_b"));
    }

    #[test]
    fn a_tool_named_like_anothers_hashed_name_gets_its_own() {
        let hashed = name("s", "a.b");
        let tool = hashed.strip_prefix("s__").unwrap();
        let targets = [target("s", "a.b"), target("s", tool)];
        let names = assign(targets.iter());
        assert_ne!(names[0], names[1]);
        assert!(
            names.iter().all(|name| legal(name) && *name != hashed),
            "{names:?}"
        );
    }

    fn targets() -> impl Strategy<Value = Vec<Target>> {
        // Few letters, so that names meet; some of them illegal, some names too long.
        let part = || prop_oneof![4 => "[ab_.-]{0,4}", 1 => "[a_é]{30,40}", 1 => any::<String>()];
        proptest::collection::btree_set((part(), part()), 1..40).prop_map(|set| {
            set.iter()
                .map(|(server, tool)| target(server, tool))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn names_are_legal_unique_and_stable(targets in targets(), turn in 0_usize..40) {
            let names = assign(targets.iter());
            prop_assert!(names.iter().all(|name| legal(name)), "{names:?}");
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), targets.len());

            let mut rotated = targets.clone();
            rotated.rotate_left(turn % targets.len());
            rotated.reverse();
            let mut again: Vec<_> = rotated.iter().zip(assign(rotated.iter())).collect();
            again.sort_by(|a, b| (&a.0.server, &a.0.tool).cmp(&(&b.0.server, &b.0.tool)));
            prop_assert_eq!(again.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), names.clone());

            let alone: Vec<_> = targets.iter().map(|t| name(&t.server, &t.tool)).collect();
            prop_assert_eq!(alone, names, "a name does not depend on the others");
        }
    }
}
