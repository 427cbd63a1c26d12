//! Numbers that look random and are the same on every machine.

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `sides` - 1; 0 if there are no sides.
    pub(super) fn below(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = (z ^ (z >> 31)) >> 32;
        // The high half of a 32 by 32 bit product is below `sides`.
        u32::try_from((high * u64::from(sides)) >> 32).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// One of `items`; `None` if there are none.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let sides = u32::try_from(items.len()).unwrap_or(u32::MAX);
        items.get(self.below(sides) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_sequence_is_fixed_and_within_bounds() {
        let mut dice = Dice::new(1);
        let first: Vec<u32> = (0..6).map(|_| dice.below(6)).collect();
        let mut again = Dice::new(1);
        assert_eq!(first, (0..6).map(|_| again.below(6)).collect::<Vec<_>>());
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[dice.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert!((3..=5).contains(&dice.between(3, 5)));
    }
}
