//! A text that is too long, without its middle.

/// The part of the room that the end of the text gets: totals and errors stand there.
const TAIL: usize = 8;

/// The beginning and a little of the end of `text`, with a line between them that says how much is
/// missing; at most `limit` bytes. When not even the line fits, only the beginning.
pub(super) fn cut(text: &str, limit: usize) -> String {
    // The line is longest when all is missing; the rest is what the texts may have.
    let Some(room) = limit.checked_sub(line(text.len(), text.len()).len()) else {
        return head(text, limit).to_owned();
    };
    let tail = tail(text, room / TAIL);
    let head = head(text, room - tail.len());
    let missing = text.len().saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", line(missing, text.len()))
}

fn line(missing: usize, all: usize) -> String {
    format!(
        "\n[… {missing} of {all} bytes are left out here. To see less at a time, ask again for \
         fewer rows, fewer fields or a smaller part. …]\n"
    )
}

fn head(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
}

fn tail(text: &str, most: usize) -> &str {
    let from = text.ceil_char_boundary(text.len().saturating_sub(most));
    text.get(from..).unwrap_or_default()
}
