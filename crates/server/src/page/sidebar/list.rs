//! The list of conversations.

use askama::Template;
use chat::{
    ids::{ConversationId, Subject},
    limits::clip,
    transcript::Transcript,
};
use serde::Deserialize;
use store::{ConversationRow, Cursor, Store, StoreError};
use url::form_urlencoded;

use crate::{
    api,
    page::{needs::What, render, visible},
};

/// The id of the list's element.
pub(in crate::page) const CONVERSATIONS: &str = "conversations";

/// Bytes of what is searched for: more than any title has.
const SEARCH_BYTES: usize = 1024;

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

/// Which of the conversations the list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Wanted {
    /// Those with this in their title; all when empty.
    #[serde(default)]
    pub(in crate::page) search: String,
    /// Those after this place, as the list itself wrote it; from the first on when empty.
    #[serde(default)]
    pub(in crate::page) older: String,
}

/// A page of the list.
#[derive(Clone, Debug, Default)]
pub(in crate::page) struct Listed {
    pub(in crate::page) rows: Vec<ConversationRow>,
    pub(in crate::page) rest: Rest,
}

/// Whether the list goes on after its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::page) enum Rest {
    /// Those are all.
    #[default]
    Nothing,
    /// There are others.
    More,
}

impl Wanted {
    /// Reads the conversations that are wanted.
    pub(in crate::page) async fn read(
        &self,
        store: &Store,
        subject: &Subject,
    ) -> Result<Listed, StoreError> {
        let before = cursor(&self.older);
        let words = clip(self.words().to_owned(), SEARCH_BYTES);
        let rows = store.search(subject, &words, before.as_ref(), api::CONVERSATIONS + 1);
        let mut rows = rows.await?;
        let all = usize::try_from(api::CONVERSATIONS).unwrap_or(usize::MAX);
        let rest = if rows.len() > all {
            Rest::More
        } else {
            Rest::Nothing
        };
        rows.truncate(all);
        Ok(Listed { rows, rest })
    }

    /// What is searched for.
    pub(in crate::page) fn words(&self) -> &str {
        self.search.trim()
    }

    /// The query of the page that shows those after a place.
    fn query(&self, older: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("search", self.words()), ("older", older)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

/// A place in the list as it stands in links.
fn place(cursor: &Cursor) -> String {
    format!("{}.{}", cursor.updated_at, cursor.id)
}

fn cursor(place: &str) -> Option<Cursor> {
    let (updated_at, id) = place.split_once('.')?;
    Some(Cursor {
        updated_at: updated_at.parse().ok()?,
        id: id.into(),
    })
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct Conversations<'a> {
    entries: Vec<Entry<'a>>,
    /// What is searched for, if anything is.
    search: String,
    /// Where the first of them are, on a page that shows later ones.
    newest: Option<String>,
    /// Where those after these are.
    older: Option<String>,
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
    wanted: &Wanted,
    rest: Rest,
) -> String {
    let here = |query: String| match current {
        Some(id) => format!("/c/{id}?{query}"),
        None => format!("/?{query}"),
    };
    let last = rows.last().filter(|_| rest == Rest::More);
    let older = last.map(|(row, _)| here(wanted.query(&place(&row.cursor()))));
    let entries = rows
        .iter()
        .map(|(row, mark)| Entry {
            id: &row.id,
            title: visible(&row.title),
            current: current == Some(&row.id),
            mark: *mark,
        })
        .collect();
    render(&Conversations {
        entries,
        search: visible(wanted.words()),
        newest: (!wanted.older.is_empty()).then(|| here(wanted.query(""))),
        older,
    })
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
            off: chat::selection::Selection::default(),
        }
    }

    fn list(rows: &[(&ConversationRow, Mark)], current: Option<&str>) -> String {
        let current = current.map(ConversationId::from);
        conversations(rows, current.as_ref(), &Wanted::default(), Rest::Nothing)
    }

    #[test]
    fn a_place_in_the_list_is_what_its_link_says() {
        let there = row("There", None).cursor();
        assert_eq!(cursor(&place(&there)), Some(there));
        for nowhere in ["", "x.01", "7", "99999999999999999999.01"] {
            assert_eq!(cursor(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn links_to_other_pages_keep_what_is_searched_for() {
        let row = row("A & b", None);
        let wanted = Wanted {
            search: " a&b=\"<i> ".to_owned(),
            older: "9.02".to_owned(),
        };
        let html = conversations(
            &[(&row, Mark::None)],
            Some(&"01".into()),
            &wanted,
            Rest::More,
        );
        let older = "href=\"/c/01?search=a%26b%3D%22%3Ci%3E&#38;older=0.01\"";
        let newest = "href=\"/c/01?search=a%26b%3D%22%3Ci%3E\"";
        assert!(html.contains(older) && html.contains(newest), "{html}");
        let none = conversations(&[], None, &wanted, Rest::Nothing);
        assert!(
            none.contains("&#60;i&#62;") && !none.contains("<i>"),
            "{none}"
        );
        assert!(!none.contains("Older"), "{none}");
    }

    #[test]
    fn titles_are_text_and_marks_are_words() {
        let running = row("<script>alert(1)</script>\u{202e}", Some("t"));
        let html = list(&[(&running, Mark::Running)], Some("01"));
        assert!(!html.contains("<script"));
        assert!(!html.contains('\u{202e}'));
        assert!(html.contains("aria-current=\"page\""));
        assert!(html.contains("being answered"));
        let html = list(&[(&running, Mark::NeedsYou)], None);
        assert!(html.contains("needs you"));
        assert!(!html.contains("aria-current"));
        assert!(list(&[], None).contains("None yet."));
    }
}
