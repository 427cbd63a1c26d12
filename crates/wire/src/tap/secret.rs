//! A secret in the ways programs write text down: as it is, escaped within JSON or a URL, in base64.
//!
//! Tokens are base64 themselves, so escapes are the rule: PHP writes `\/` for their `/`, .NET
//! `\u002B` for their `+`, and JSON within JSON has more backslashes.

use std::{iter, ops::Range};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use memchr::{memchr, memmem::Finder};

/// Backslashes before an escaped character, and `25` after a `%`, at most: JSON within JSON within
/// JSON has seven.
const NESTED: usize = 8;

/// Bytes that an escaped character takes, at most: the backslashes and `u002b`, or `%`, as many
/// `25` and two digits.
const ESCAPED: usize = 2 * NESTED + 5;

/// Bytes of base64 below which it is not looked for: so little is also a word.
const SHORTEST_BASE64: usize = 8;

/// A text to look for, however its characters are escaped.
#[derive(Debug)]
pub(super) struct Needle {
    text: Vec<u8>,
    /// Finds the longest part of the text that nobody escapes.
    core: Finder<'static>,
    /// Where that part stands.
    at: usize,
}

/// What begins at some place.
enum Begins {
    /// This many bytes of what is looked for.
    Is(usize),
    /// Something else.
    Not,
    /// Bytes that may be the beginning of it.
    Maybe,
}

/// The ways in which a secret is looked for, the plain one first.
pub(super) fn needles(secret: &[u8]) -> Vec<Needle> {
    let mut texts = vec![secret.to_vec()];
    for before in 0..3 {
        let padded: Vec<u8> = iter::repeat_n(0, before)
            .chain(secret.iter().copied())
            .collect();
        for text in [
            BASE64_STANDARD_NO_PAD.encode(&padded),
            BASE64_URL_SAFE_NO_PAD.encode(&padded),
        ] {
            // The characters that also depend on what stands before and after it.
            let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            let text = text.as_bytes().get(first..last).unwrap_or_default();
            if text.len() >= SHORTEST_BASE64 && !texts.iter().any(|known| known == text) {
                texts.push(text.to_vec());
            }
        }
    }
    texts.into_iter().map(Needle::new).collect()
}

impl Needle {
    fn new(text: Vec<u8>) -> Self {
        let core = core(&text);
        Self {
            core: Finder::new(text.get(core.clone()).unwrap_or(&text)).into_owned(),
            at: core.start,
            text,
        }
    }

    /// The text as it is.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where it is first, from `from` on.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<Range<usize>> {
        let mut from = from;
        loop {
            let core = from + self.core.find(bytes.get(from..)?)?;
            if let Some(found) = self.around(bytes, core) {
                return Some(found);
            }
            from = core + 1;
        }
    }

    /// How many of the last bytes may be a beginning of it that goes on in the next ones.
    pub(super) fn undecided(&self, bytes: &[u8]) -> usize {
        let Some(&first) = self.text.first() else {
            return 0;
        };
        let escapable = self.text.iter().filter(|byte| !is_plain(**byte)).count();
        let longest = self.text.len() + escapable * ESCAPED;
        let mut from = bytes.len().saturating_sub(longest);
        while let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) {
            let next = if is_plain(first) {
                memchr(first, rest)
            } else {
                Some(0)
            };
            let Some(next) = next else { return 0 };
            let rest = rest.get(next..).unwrap_or_default();
            if matches!(begins(rest, &self.text), Begins::Maybe) {
                return rest.len();
            }
            from += next + 1;
        }
        0
    }

    /// The whole of it around its core, if that is so.
    fn around(&self, bytes: &[u8], core: usize) -> Option<Range<usize>> {
        let plain = core.checked_sub(self.at);
        if let Some(start) = plain {
            let end = start + self.text.len();
            if bytes.get(start..end) == Some(self.text.as_slice()) {
                return Some(start..end);
            }
        }
        let (before, after) = self.text.split_at_checked(self.at)?;
        let mut start = core;
        for byte in before.iter().rev() {
            start -= ends(bytes.get(..start)?, *byte)?;
        }
        match begins(bytes.get(core..)?, after) {
            Begins::Is(length) => Some(start..core + length),
            Begins::Not | Begins::Maybe => None,
        }
    }
}

/// The longest part that nobody escapes; all of it if there is none.
fn core(text: &[u8]) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for part in text.split(|byte| !is_plain(*byte)) {
        if part.len() > longest.len() {
            longest = start..start + part.len();
        }
        start += part.len() + 1;
    }
    if longest.is_empty() {
        0..text.len()
    } else {
        longest
    }
}

/// Whether a byte is never escaped: RFC 3986's unreserved characters.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether `bytes` begin with the text, in any spelling.
fn begins(bytes: &[u8], text: &[u8]) -> Begins {
    let mut length = 0;
    for byte in text {
        match begins_with(bytes.get(length..).unwrap_or_default(), *byte) {
            Begins::Is(more) => length += more,
            Begins::Not => return Begins::Not,
            Begins::Maybe => return Begins::Maybe,
        }
    }
    Begins::Is(length)
}

fn begins_with(bytes: &[u8], byte: u8) -> Begins {
    match bytes.first() {
        None => Begins::Maybe,
        Some(first) if *first == byte => Begins::Is(1),
        Some(_) if is_plain(byte) => Begins::Not,
        Some(b'\\') => {
            let slashes = bytes.iter().take(NESTED).take_while(|it| **it == b'\\');
            let slashes = slashes.count();
            let rest = bytes.get(slashes..).unwrap_or_default();
            match rest.first() {
                Some(first) if *first == byte => Begins::Is(slashes + 1),
                Some(_) | None => {
                    begins_with_digits(rest, &[b"u00".as_slice(), &hex(byte)].concat(), slashes)
                }
            }
        }
        Some(b'%') => {
            let mut length = 1;
            while length < 2 * NESTED
                && bytes
                    .get(length..)
                    .is_some_and(|rest| rest.starts_with(b"25"))
            {
                length += 2;
            }
            let rest = bytes.get(length..).unwrap_or_default();
            match begins_with_digits(rest, &hex(byte), length) {
                // The first digits of another `25`.
                Begins::Not if rest == b"2" => Begins::Maybe,
                begins @ (Begins::Is(_) | Begins::Not | Begins::Maybe) => begins,
            }
        }
        Some(_) => Begins::Not,
    }
}

/// Whether `bytes` begin with these digits, after `length` others.
fn begins_with_digits(bytes: &[u8], digits: &[u8], length: usize) -> Begins {
    let there = bytes.len().min(digits.len());
    let same = bytes
        .iter()
        .zip(digits)
        .all(|(byte, digit)| byte.eq_ignore_ascii_case(digit));
    match (same, there == digits.len()) {
        (false, _) => Begins::Not,
        (true, false) => Begins::Maybe,
        (true, true) => Begins::Is(length + digits.len()),
    }
}

/// How many of the last bytes are this one, in any spelling.
fn ends(bytes: &[u8], byte: u8) -> Option<usize> {
    let slashes = |before: &[u8]| {
        let last = before.iter().rev().take(NESTED);
        last.take_while(|it| **it == b'\\').count()
    };
    if let Some(before) = bytes.strip_suffix(&[byte]) {
        let escape = if is_plain(byte) { 0 } else { slashes(before) };
        return Some(1 + escape);
    }
    let (mut before, digits) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    if is_plain(byte) || !digits.eq_ignore_ascii_case(&hex(byte)) {
        return None;
    }
    if let Some(before) = before.strip_suffix(b"u00") {
        let slashes = slashes(before);
        return (slashes > 0).then_some(5 + slashes);
    }
    for nested in 0..=NESTED {
        if before.ends_with(b"%") {
            return Some(3 + 2 * nested);
        }
        before = before.strip_suffix(b"25")?;
    }
    None
}

/// Two hexadecimal digits.
fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| match value {
        0..=9 => b'0' + value,
        _ => b'a' + (value - 10),
    };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "pomMAT/abc+def0123456789ghi/==";

    /// The secret as other programs write it.
    fn spellings() -> Vec<String> {
        let header = format!("Bearer {SECRET}");
        let mut all = vec![
            SECRET.to_owned(),
            SECRET.replace('/', "\\/"),
            SECRET.replace('/', "\\\\\\/"),
            SECRET.replace('+', "\\u002B").replace('=', "\\u003d"),
            SECRET.replace('/', "\\\\u002f"),
            SECRET
                .replace('/', "%2F")
                .replace('+', "%2b")
                .replace('=', "%3D"),
            SECRET.replace('/', "%252F").replace('+', "%25252b"),
        ];
        for text in [&header, &header[1..], &header[2..]] {
            all.push(BASE64_STANDARD_NO_PAD.encode(text));
            all.push(BASE64_URL_SAFE_NO_PAD.encode(text));
            all.push(BASE64_STANDARD_NO_PAD.encode(text).replace('/', "\\/"));
        }
        all
    }

    fn find(bytes: &[u8]) -> Option<Range<usize>> {
        let needles = needles(SECRET.as_bytes());
        needles.iter().find_map(|needle| needle.find(bytes, 0))
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        for spelling in spellings() {
            let text = format!("{{\"says\":\"{spelling}\"}}");
            let found = find(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            let core = "abc+def0123456789ghi";
            assert!(!text[found.start..found.end].contains('"'), "{text}");
            assert!(found.len() > core.len(), "{text}: {found:?}");
        }
        for other in ["pomMAT/abc+def0123456789ghi", "pomMAT\\nabc", "%2", ""] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn wherever_it_is_cut_its_beginning_is_undecided() {
        let needles = needles(SECRET.as_bytes());
        for spelling in spellings() {
            let text = format!("x \"{spelling}\"");
            let found = find(text.as_bytes()).unwrap();
            for cut in found.start + 1..found.end {
                let text = &text.as_bytes()[..cut];
                let undecided = needles.iter().map(|needle| needle.undecided(text)).max();
                assert!(
                    undecided.unwrap() >= cut - found.start,
                    "{spelling} at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_secret_with_backslashes_and_one_without_letters_are_found() {
        for secret in ["pa\\/ss\\word", "!?#$%&", "a%2fb"] {
            let text = format!("-{secret}-");
            let needles = needles(secret.as_bytes());
            let found = needles[0].find(text.as_bytes(), 0);
            assert_eq!(found, Some(1..1 + secret.len()), "{secret}");
        }
    }
}
