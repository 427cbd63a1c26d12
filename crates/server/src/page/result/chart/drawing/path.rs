//! The path that a line of a chart takes.

use std::fmt::Write as _;

/// A line that looks the same with fewer points: of those above the same pixel, the first, the
/// lowest, the highest and the last.
pub(super) fn thinned(places: &[Option<(f64, f64)>]) -> Vec<Option<(f64, f64)>> {
    let pixel = |place: &Option<(f64, f64)>| place.map(|(x, _)| x.floor());
    let mut kept = Vec::new();
    for above in places.chunk_by(|a, b| pixel(a) == pixel(b)) {
        let heights = || {
            let heights = above.iter().enumerate();
            heights.filter_map(|(at, place)| Some((at, (*place)?.1)))
        };
        let lowest = heights().max_by(|a, b| a.1.total_cmp(&b.1));
        let highest = heights().min_by(|a, b| a.1.total_cmp(&b.1));
        let (lowest, highest) = (lowest.unwrap_or_default().0, highest.unwrap_or_default().0);
        let mut which = vec![0, lowest, highest, above.len() - 1];
        which.sort_unstable();
        which.dedup();
        kept.extend(which.into_iter().filter_map(|at| above.get(at)));
    }
    kept
}

/// A line through the points that are there, broken where one is missing.
pub(super) fn steps(places: &[Option<(f64, f64)>]) -> String {
    let (mut steps, mut pen) = (String::new(), 'M');
    for place in places {
        match place {
            Some((x, y)) => {
                // Writing to a string cannot fail.
                write!(steps, "{pen}{x:.1} {y:.1}").ok();
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_looks_the_same_with_few_points() {
        let up = |n: u32| Some((f64::from(n) / 100.0, if n == 70_001 { 900.0 } else { 5.0 }));
        let mut places: Vec<_> = (0..100_000).map(up).collect();
        places[500] = None;
        let thin = thinned(&places);
        assert!(thin.len() < 4 * 1002, "{}", thin.len());
        assert!(thin.contains(&places[70_001]) && thin.contains(&None));
        assert_eq!((thin[0], thin[thin.len() - 1]), (places[0], places[99_999]));
        assert_eq!(thinned(&places[..1]), [places[0]]);
    }
}
