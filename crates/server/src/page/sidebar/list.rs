//! The list of conversations.

use askama::Template;
use chat::{ids::ConversationId, transcript::Transcript};
use store::ConversationRow;

use crate::page::{needs::What, render, visible};

/// The id of the list's element.
pub(in crate::page) const CONVERSATIONS: &str = "conversations";

/// What stands beside a conversation in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::page) enum Mark {
    /// Nothing.
    None,
    /// It is being answered.
    Running,
    /// It waits for its user.
    NeedsYou,
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct Conversations<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    id: &'a ConversationId,
    title: String,
    current: bool,
    mark: Mark,
}

impl Mark {
    /// The mark of a conversation whose running turn stands so.
    pub(in crate::page) fn of(transcript: &Transcript) -> Self {
        if transcript.end.is_some() {
            Self::None
        } else if What::of(transcript).is_some() {
            Self::NeedsYou
        } else {
            Self::Running
        }
    }
}

/// The list, the `current` conversation marked as such.
pub(in crate::page) fn conversations(
    rows: &[(&ConversationRow, Mark)],
    current: Option<&ConversationId>,
) -> String {
    let entries = rows
        .iter()
        .map(|(row, mark)| Entry {
            id: &row.id,
            title: visible(&row.title),
            current: current == Some(&row.id),
            mark: *mark,
        })
        .collect();
    render(&Conversations { entries })
}

#[cfg(test)]
mod tests {
    use chat::ids::TurnId;

    use super::*;

    fn row(title: &str, open: Option<&str>) -> ConversationRow {
        ConversationRow {
            id: "01".into(),
            title: title.to_owned(),
            created_at: 0,
            updated_at: 0,
            open_turn: open.map(TurnId::from),
        }
    }

    #[test]
    fn titles_are_text_and_marks_are_words() {
        let running = row("<script>alert(1)</script>\u{202e}", Some("t"));
        let html = conversations(&[(&running, Mark::Running)], Some(&"01".into()));
        assert!(!html.contains("<script"));
        assert!(!html.contains('\u{202e}'));
        assert!(html.contains("aria-current=\"page\""));
        assert!(html.contains("being answered"));
        let html = conversations(&[(&running, Mark::NeedsYou)], None);
        assert!(html.contains("needs you"));
        assert!(!html.contains("aria-current"));
        assert!(conversations(&[], None).contains("None yet."));
    }
}
