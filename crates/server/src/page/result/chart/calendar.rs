//! The ticks of an axis of dates: round moments of the calendar, no finer than the dates are.

use time::{Date, Month, OffsetDateTime};

use super::super::date::{days_of, moment};

/// Steps that an axis of dates has at most: their labels are wide.
const STEPS: f64 = 6.0;

/// Ticks that are looked at: those of all steps, and one more at each end.
const TICKS: i64 = 9;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// 1970-01-05, in seconds since 1970: weeks begin on Mondays.
const MONDAY: i64 = 4 * DAY;

/// How exactly dates are known, the coarsest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Year,
    Month,
    Day,
    Time,
}

/// From a tick to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Seconds(i32),
    Days(i32),
    Months(i32),
}

/// The finest first.
const ALL: [Step; 30] = [
    Step::Seconds(1),
    Step::Seconds(5),
    Step::Seconds(15),
    Step::Seconds(60),
    Step::Seconds(5 * 60),
    Step::Seconds(15 * 60),
    Step::Seconds(3600),
    Step::Seconds(3 * 3600),
    Step::Seconds(6 * 3600),
    Step::Seconds(12 * 3600),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
    Step::Months(24),
    Step::Months(5 * 12),
    Step::Months(10 * 12),
    Step::Months(20 * 12),
    Step::Months(50 * 12),
    Step::Months(100 * 12),
    Step::Months(200 * 12),
    Step::Months(500 * 12),
    Step::Months(1000 * 12),
    Step::Months(2000 * 12),
    Step::Months(5000 * 12),
];

/// The ticks between two moments in days, with what stands at them.
pub(super) fn ticks(first: f64, last: f64, unit: Unit) -> Vec<(f64, String)> {
    let mut steps = ALL.into_iter();
    let fits = |step: &Step| step.unit() <= unit && step.days() * STEPS >= last - first;
    let step = steps.find(fits).unwrap_or(Step::Months(5000 * 12));
    let begins = moment(first).map(OffsetDateTime::date);
    let ends = moment(last).map(OffsetDateTime::date);
    let day = begins.filter(|_| begins == ends);
    let begin = step.number(first).unwrap_or_default();
    let ticks = (begin..begin + TICKS).filter_map(|number| {
        let at = step.at(number)?;
        let days = days_of(at);
        (first..=last)
            .contains(&days)
            .then(|| (days, step.label(at, day)))
    });
    ticks.collect()
}

impl Unit {
    /// How exactly a date in text is known.
    pub(super) fn of(text: &str) -> Self {
        match text.len() {
            ..5 => Self::Year,
            5..8 => Self::Month,
            8..11 => Self::Day,
            11.. => Self::Time,
        }
    }
}

impl Step {
    fn unit(self) -> Unit {
        match self {
            Self::Seconds(_) => Unit::Time,
            Self::Days(_) => Unit::Day,
            Self::Months(months) if months % 12 == 0 => Unit::Year,
            Self::Months(_) => Unit::Month,
        }
    }

    /// About how many days it takes.
    fn days(self) -> f64 {
        match self {
            Self::Seconds(seconds) => f64::from(seconds) / 86_400.0,
            Self::Days(days) => f64::from(days),
            Self::Months(months) => f64::from(months) * 30.44,
        }
    }

    /// How many steps there are until a moment.
    fn number(self, days: f64) -> Option<i64> {
        let at = moment(days)?;
        let seconds = at.unix_timestamp() - MONDAY;
        Some(match self {
            Self::Seconds(step) => seconds.div_euclid(i64::from(step)),
            Self::Days(step) => seconds.div_euclid(i64::from(step) * DAY),
            Self::Months(step) => {
                let months = at.year() * 12 + i32::from(u8::from(at.month())) - 1;
                i64::from(months.div_euclid(step))
            }
        })
    }

    /// The moment after so many steps.
    fn at(self, number: i64) -> Option<OffsetDateTime> {
        let seconds = match self {
            Self::Seconds(step) => number * i64::from(step),
            Self::Days(step) => number * i64::from(step) * DAY,
            Self::Months(step) => {
                let months = number * i64::from(step);
                let month = u8::try_from(months.rem_euclid(12) + 1).ok()?;
                let year = i32::try_from(months.div_euclid(12)).ok()?;
                let month = Month::try_from(month).ok()?;
                let date = Date::from_calendar_date(year, month, 1).ok()?;
                return Some(date.midnight().assume_utc());
            }
        };
        OffsetDateTime::from_unix_timestamp(seconds + MONDAY).ok()
    }

    /// What stands at a tick; `day` is that of all of them, if it is one.
    fn label(self, at: OffsetDateTime, day: Option<Date>) -> String {
        let (year, month, of_month) = (at.year(), u8::from(at.month()), at.day());
        let time = match self {
            Self::Seconds(step) if step < 60 => {
                format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
            }
            Self::Seconds(_) => format!("{:02}:{:02}", at.hour(), at.minute()),
            Self::Days(_) => return format!("{year:04}-{month:02}-{of_month:02}"),
            Self::Months(months) if months % 12 == 0 => return format!("{year:04}"),
            Self::Months(_) => return format!("{year:04}-{month:02}"),
        };
        if day.is_some() {
            return time;
        }
        format!("{month:02}-{of_month:02} {time}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::result::date::days;

    #[test]
    fn ticks_are_round_and_no_finer_than_the_dates() {
        for (first, last, expected) in [
            ("2022", "2025", "2022 2023 2024 2025"),
            ("1000", "2999", "1000 1500 2000 2500"),
            ("2024-01", "2024-03", "2024-01 2024-02 2024-03"),
            ("2022-01", "2025-12", "2022 2023 2024 2025"),
            (
                "2024-11",
                "2025-10",
                "2024-11 2025-01 2025-03 2025-05 2025-07 2025-09",
            ),
            (
                "2024-02-28",
                "2024-03-01",
                "2024-02-28 2024-02-29 2024-03-01",
            ),
            (
                "2024-01-01",
                "2024-01-30",
                "2024-01-01 2024-01-08 2024-01-15 2024-01-22 2024-01-29",
            ),
            (
                "2024-05-17 10:05",
                "2024-05-17 11:20",
                "10:15 10:30 10:45 11:00 11:15",
            ),
            (
                "2024-05-17 20:00",
                "2024-05-18 08:00",
                "05-17 21:00 05-18 00:00 05-18 03:00 05-18 06:00",
            ),
        ] {
            let unit = Unit::of(first);
            let ticks = ticks(days(first).unwrap(), days(last).unwrap(), unit);
            let labels: Vec<_> = ticks.into_iter().map(|(_, label)| label).collect();
            assert_eq!(labels.join(" "), expected);
        }
    }

    #[test]
    fn there_are_never_many() {
        for span in [
            0.0,
            1e-9,
            1e-4,
            0.3,
            5.0,
            80.0,
            1000.0,
            40_000.0,
            3_000_000.0,
        ] {
            for unit in [Unit::Year, Unit::Month, Unit::Day, Unit::Time] {
                assert!(ticks(-700_000.0, -700_000.0 + span, unit).len() < 9);
            }
        }
        assert!(ticks(f64::MAX, f64::MAX, Unit::Day).is_empty());
        assert!(ticks(f64::NAN, f64::INFINITY, Unit::Day).is_empty());
    }
}
