//! Dates as results have them: what of ISO 8601 servers and databases write.

use time::{Date, Duration, Month, OffsetDateTime};

/// 1970-01-01, in days of the Julian calendar as `time` counts them.
const EPOCH: i32 = 2_440_588;

/// When something is, in days since 1970-01-01.
///
/// Read are a year, a month, a day and a time of that day, in UTC unless it says otherwise:
/// `2024`, `2024-05`, `2024-05-17`, `2024-05-17 10:30`, `2024-05-17T10:30:05.5+02:00`.
pub(super) fn days(text: &str) -> Option<f64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = part(parts.next()?, 4, 0..=9999)?;
    let rest = (parts.next(), parts.next(), parts.next());
    let (month, day) = match rest {
        (None, _, _) => (1, 1),
        (Some(month), None, _) => (part(month, 2, 1..=12)?, 1),
        (Some(month), Some(day), None) => (part(month, 2, 1..=12)?, part(day, 2, 1..=31)?),
        (Some(_), Some(_), Some(_)) => return None,
    };
    if time.is_some() && rest.1.is_none() {
        return None;
    }
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let month = Month::try_from(month).ok()?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Some(f64::from(date.to_julian_day() - EPOCH) + time.map_or(Some(0.0), fraction)?)
}

/// The moment so many days after 1970-01-01; none outside of the calendar, which ends with the year
/// 9999.
pub(super) fn moment(days: f64) -> Option<OffsetDateTime> {
    let seconds = Some(days * 86_400.0).filter(|seconds| seconds.is_finite())?;
    OffsetDateTime::UNIX_EPOCH.checked_add(Duration::saturating_seconds_f64(seconds))
}

/// How many days after 1970-01-01 a moment is: the other way round.
pub(super) fn days_of(moment: OffsetDateTime) -> f64 {
    let (hours, minutes, seconds, nanos) = moment.to_hms_nano();
    let minutes = u32::from(hours) * 60 + u32::from(minutes);
    let seconds = f64::from(minutes * 60 + u32::from(seconds)) + f64::from(nanos) / 1e9;
    f64::from(moment.to_julian_day() - EPOCH) + seconds / 86_400.0
}

fn part(text: &str, digits: usize, range: std::ops::RangeInclusive<i32>) -> Option<i32> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| plain)?;
    range.contains(&number).then_some(number)
}

/// How much of the day has gone at a time of it.
fn fraction(time: &str) -> Option<f64> {
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let hours = part(parts.next()?, 2, 0..=24)?;
    let minutes = part(parts.next()?, 2, 0..=59)?;
    let seconds = match parts.next() {
        Some(text) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            text.parse::<f64>().ok().filter(|it| *it < 61.0)?
        }
        Some(_) => return None,
        None => 0.0,
    };
    let minutes = f64::from(hours * 60 + minutes) - f64::from(offset_minutes(offset)?);
    Some((minutes + seconds / 60.0) / 1440.0)
}

fn offset_minutes(offset: &str) -> Option<i32> {
    let (sign, clock) = match offset.split_at_checked(1) {
        None | Some(("Z", "")) => return Some(0),
        Some(("+", clock)) => (1, clock),
        Some(("-", clock)) => (-1, clock),
        Some(_) => return None,
    };
    let (hours, minutes) = clock.split_once(':').unwrap_or((clock, "00"));
    Some(sign * (part(hours, 2, 0..=23)? * 60 + part(minutes, 2, 0..=59)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "24",
            "2024-5",
            "2024-13",
            "2024-00-01",
            "2024-05-17-01",
            "2024-02-30",
            "2023-02-29",
            "12:30",
            "2024 12:30",
            "2024-05-17T",
            "2024-05-17T10",
            "2024-05-17 25:00",
            "2024-05-17 10:30x",
            "-2024",
            "2024-05-17 10:30:nan",
            "2024-05-17 10:30:inf",
            "２０２４",
            "2024-05-17 10:30+2",
        ] {
            assert_eq!(days(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (text, expected) in [
            ("1970", 0.0),
            ("1970-02", 31.0),
            ("1969-12-31", -1.0),
            ("2000-03-01", 11_017.0),
            ("2024-02-29", 19_782.0),
            ("1970-01-01T12:00", 0.5),
            ("1970-01-02 06:00:00.0Z", 1.25),
            ("1970-01-01T12:00:00+12:00", 0.0),
            ("1970-01-01 00:00-06", 0.25),
        ] {
            assert_eq!(days(text), Some(expected), "{text}");
        }
    }
    #[test]
    fn moments_and_days_are_the_same_both_ways() {
        for text in [
            "0000-01-01",
            "1582-10-15",
            "1900-02-28",
            "2000-02-29 12:00",
            "2024-12-31 23:59:59",
            "9999-12-31 06:30",
        ] {
            let days = days(text).unwrap();
            let moment = moment(days).unwrap();
            assert!((days_of(moment) - days).abs() < 1e-9, "{text}: {moment}");
            let date = format!(
                "{:04}-{:02}-{:02}",
                moment.year(),
                u8::from(moment.month()),
                moment.day()
            );
            assert!(text.starts_with(&date), "{text}: {moment}");
        }
        assert_eq!(moment(1e300), None);
        assert_eq!(moment(f64::NAN), None);
    }
}
