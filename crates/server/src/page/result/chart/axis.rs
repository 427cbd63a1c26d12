//! An axis of numbers: round steps that hold all of them.

/// Steps that an axis has at most.
const STEPS: f64 = 6.0;

/// The largest number that an axis goes to: with larger ones, differences are none.
const MOST: f64 = 1e300;

/// Digits after the point of a number with a unit: with more, it is written without one.
const UNIT_DECIMALS: usize = 2;

/// Digits that numbers have at most (IEEE 754).
const DIGITS: usize = 17;

/// The numbers along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Axis {
    /// The axis that holds these numbers.
    pub(super) fn holding(low: f64, high: f64) -> Self {
        let (low, high) = (low.clamp(-MOST, MOST), high.clamp(-MOST, MOST));
        let spread = high - low;
        // Where all numbers are the same, their size says how large a step is.
        let spread = if spread > 0.0 {
            spread
        } else {
            low.abs().max(1.0)
        };
        let magnitude = 10_f64.powf((spread / STEPS).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = steps
            .into_iter()
            .find(|step| spread / step <= STEPS)
            .unwrap_or(spread);
        let (low, mut high) = ((low / step).floor() * step, (high / step).ceil() * step);
        if high <= low {
            high = low + step;
        }
        Self { low, high, step }
    }

    /// The numbers that are marked.
    pub(super) fn ticks(&self) -> Vec<f64> {
        // Two more than fit: the ends may lie outside of the numbers.
        let count = 0..=8_u32;
        let ticks = count.map(|n| self.low + f64::from(n) * self.step);
        ticks
            .take_while(|tick| *tick <= self.high + self.step / 2.0)
            .collect()
    }

    /// A marked number: `1.5M`, `20k`, `0.25`. No two of them are written the same.
    pub(super) fn label(&self, value: f64) -> String {
        let size = self.low.abs().max(self.high.abs());
        if value.abs() < self.step / 2.0 {
            return "0".to_owned();
        }
        if !(1e-3..1e15).contains(&size) {
            let digits = decimals(self.step / size);
            return format!("{value:.digits$e}");
        }
        let (unit, name) = match size {
            _ if size >= 1e12 => (1e12, "T"),
            _ if size >= 1e9 => (1e9, "B"),
            _ if size >= 1e6 => (1e6, "M"),
            _ if size >= 1e4 => (1e3, "k"),
            _ => (1.0, ""),
        };
        let digits = decimals(self.step / unit);
        if digits <= UNIT_DECIMALS {
            return format!("{}{name}", trimmed(&format!("{:.digits$}", value / unit)));
        }
        let digits = decimals(self.step);
        grouped(trimmed(&format!("{value:.digits$}")))
    }

    /// How far along the axis a number is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        (value - self.low) / (self.high - self.low)
    }
}

/// A number in words: as it is, with separators.
pub(super) fn long(value: f64) -> String {
    if value != 0.0 && !(1e-6..1e15).contains(&value.abs()) {
        return format!("{value:e}");
    }
    grouped(&value.to_string())
}

/// Digits after the point that tell numbers apart which are so far from one another.
fn decimals(step: f64) -> usize {
    // Multiplied until a step is a whole number, or nearly: at most as often as there are digits.
    let mut digits = 0;
    let mut scaled = step;
    while scaled < 0.999 && digits < DIGITS {
        scaled *= 10.0;
        digits += 1;
    }
    digits
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn grouped(text: &str) -> String {
    let (whole, rest) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_have_an_axis() {
        for (low, high) in [
            (0.0, 0.0),
            (5.0, 5.0),
            (-5.0, -5.0),
            (f64::MIN, f64::MAX),
            (1e-300, 2e-300),
            (1e300, 1e300),
        ] {
            let axis = Axis::holding(low, high);
            let ticks = axis.ticks();
            assert!(
                !ticks.is_empty() && ticks.len() <= 9,
                "{low} {high}: {ticks:?}"
            );
            for value in [low, high] {
                assert!((0.0..=1.0).contains(&axis.share(value)), "{low} {high}");
            }
        }
    }

    #[test]
    fn steps_are_round() {
        for (low, high, expected) in [
            (0.0, 100.0, "0 20 40 60 80 100"),
            (0.0, 617_085.0, "0 200k 400k 600k 800k"),
            (-3.0, 7.0, "-4 -2 0 2 4 6 8"),
            (0.0, 0.3, "0 0.05 0.1 0.15 0.2 0.25 0.3"),
            (0.0, 1_150_000.0, "0 0.2M 0.4M 0.6M 0.8M 1M 1.2M"),
            (
                1_000_000.0,
                1_000_003.0,
                "1,000,000 1,000,000.5 1,000,001 1,000,001.5 1,000,002 1,000,002.5 1,000,003",
            ),
            (
                1e-9,
                4e-9,
                "1.0e-9 1.5e-9 2.0e-9 2.5e-9 3.0e-9 3.5e-9 4.0e-9",
            ),
            (0.0, 1e308, "0 2.0e299 4.0e299 6.0e299 8.0e299 1.0e300"),
        ] {
            let axis = Axis::holding(low, high);
            let ticks: Vec<_> = axis.ticks().into_iter().map(|it| axis.label(it)).collect();
            assert_eq!(ticks.join(" "), expected);
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (value, expected) in [
            (1_234_567.5, "1,234,567.5"),
            (-1000.0, "-1,000"),
            (0.25, "0.25"),
            (1e21, "1e21"),
            (-1e-9, "-1e-9"),
        ] {
            assert_eq!(long(value), expected);
        }
    }
}
