//! Sizes, durations, counts and moments in words, the same on every page.

use super::visible;
use crate::clock::rfc3339;

/// Bytes as people read them: `512 B`, `3.4 KiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    decimal(tenths, name)
}

/// Microseconds as people read them: `0.3 ms`, `28 ms`, `1.4 s`, `2 min 5 s`, `3 h 20 min`.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..100 => format!("{us} µs"),
        100..1_000_000 => decimal(us / 100, "ms"),
        1_000_000..120_000_000 => decimal(us / 100_000, "s"),
        120_000_000..7_200_000_000 => two((us / 60_000_000, "min"), (us / 1_000_000 % 60, "s")),
        _ => two((us / 3_600_000_000, "h"), (us / 60_000_000 % 60, "min")),
    }
}

/// Milliseconds as people read them, like [`duration`].
pub(super) fn millis(ms: u64) -> String {
    match ms {
        0 => "0 ms".to_owned(),
        _ => duration(ms.saturating_mul(1000)),
    }
}

/// The beginning of a text, cut to so many characters, with what hides in it spelled out.
pub(super) fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => visible(text.get(..end).unwrap_or_default()) + "…",
        None => visible(text),
    }
}

/// `count` of something, with the word for one or for more.
pub(super) fn count(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A moment, from milliseconds since 1970, for a page: `2026-11-22 19:30:05 UTC`.
pub(super) fn moment(ms: i64) -> String {
    let text = rfc3339(ms);
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{} UTC", seconds.replace('T', " "))
}

/// A large unit, and a small one where that is not nothing.
fn two((large, of_large): (u64, &str), (small, of_small): (u64, &str)) -> String {
    if small == 0 {
        format!("{large} {of_large}")
    } else {
        format!("{large} {of_large} {small} {of_small}")
    }
}

/// Ten times a number, with one decimal below ten.
fn decimal(tenths: u64, unit: &str) -> String {
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_they_need() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (3500, "3.4 KiB"),
            (120_000, "117 KiB"),
            (5 << 20, "5 MiB"),
            (3 << 40, "3072 GiB"),
        ];
        for (bytes, words) in sizes {
            assert_eq!(size(bytes), words);
        }
        assert!(size(u64::MAX).ends_with(" GiB"));
    }

    #[test]
    fn what_is_cut_is_cut_where_it_is_read() {
        assert_eq!(beginning("äöü", 3), "äöü");
        assert_eq!(beginning("äöüx", 3), "äöü…");
        // Never in the middle of what is spelled out.
        assert_eq!(beginning("a\u{202e}bc", 2), "a\\u202e…");
    }

    #[test]
    fn durations_have_the_unit_they_need() {
        let durations = [
            (0, "0 µs"),
            (340, "0.3 ms"),
            (28_400, "28 ms"),
            (999_999, "999 ms"),
            (1_400_000, "1.4 s"),
            (119_000_000, "119 s"),
            (120_000_000, "2 min"),
            (125_000_000, "2 min 5 s"),
            (7_199_000_000, "119 min 59 s"),
            (90_060_000_000, "25 h 1 min"),
        ];
        for (us, words) in durations {
            assert_eq!(duration(us), words);
        }
        assert_eq!([0, 430].map(millis), ["0 ms", "430 ms"]);
        assert!(millis(u64::MAX).ends_with(" min"));
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let moments = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_709_164_799_999, "2024-02-28 23:59:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ];
        for (ms, words) in moments {
            assert_eq!(moment(ms), words);
        }
    }
}
