//! The one place that reads the wall clock, and how its moments are written for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// So long before now, milliseconds since 1970-01-01 UTC.
pub(crate) fn before(age: Duration) -> i64 {
    now().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// A moment, from milliseconds since 1970, as RFC 3339 has it: `2026-11-22T19:30:05.120Z`. What is
/// outside of the years 0 to 9999, which it does not have, is 1970.
pub(crate) fn rfc3339(ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let moment = moment.ok().filter(|it| it.year() >= 0);
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hours, minutes, seconds, millis) = moment.to_hms_milli();
    format!(
        "{:04}-{:02}-{:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z",
        moment.year(),
        u8::from(moment.month()),
        moment.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_has_them() {
        assert_eq!(rfc3339(1_795_375_805_120), "2026-11-22T19:30:05.120Z");
        for ms in [i64::MAX, i64::MIN] {
            assert_eq!(rfc3339(ms), "1970-01-01T00:00:00.000Z");
        }
    }
}
