//! An axis of numbers: round steps that hold all of them.

/// Steps that an axis has at most.
const STEPS: f64 = 6.0;

/// The largest number that an axis goes to: with larger ones, differences are none.
const MOST: f64 = 1e300;

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

    /// How far along the axis a number is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        (value - self.low) / (self.high - self.low)
    }
}

/// A number on an axis: `1.5M`, `20k`, `0.25`.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let (value, unit) = match size {
        _ if size >= 1e15 => return format!("{value:.1e}"),
        _ if size >= 1e12 => (value / 1e12, "T"),
        _ if size >= 1e9 => (value / 1e9, "B"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ if size > 0.0 && size < 1e-3 => return format!("{value:.1e}"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    format!("{text}{unit}")
}

/// A number in words: as it is, with separators.
pub(super) fn long(value: f64) -> String {
    let text = value.to_string();
    if value.abs() >= 1e15 {
        return format!("{value:e}");
    }
    let (whole, rest) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
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
            (2022.0, 2025.0, "2022 2022.5 2023 2023.5 2024 2024.5 2025"),
        ] {
            let ticks = Axis::holding(low, high).ticks();
            let ticks: Vec<_> = ticks.into_iter().map(short).collect();
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
        ] {
            assert_eq!(long(value), expected);
        }
    }
}
