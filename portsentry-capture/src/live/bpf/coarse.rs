//! Joins ranges, so that fewer ranges contain at least the same numbers.

/// Returns at most `limit` ascending ranges that contain all numbers of `ranges`. If there are
/// more ranges, those with the smallest gaps between them are joined.
///
/// `ranges` are first and last numbers, ascending and not adjacent. A limit of 0 counts as 1.
/// O(n log n).
pub(super) fn coarse(ranges: &[(u32, u32)], limit: usize) -> Vec<(u32, u32)> {
    let limit = limit.max(1);
    if ranges.len() <= limit {
        return ranges.to_vec();
    }
    let mut gaps: Vec<(u32, usize)> = ranges
        .windows(2)
        .enumerate()
        .map(|(before, pair)| (pair[1].0 - pair[0].1, before))
        .collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept: Vec<usize> = gaps.iter().take(limit - 1).map(|(_, before)| *before).collect();
    kept.sort_unstable();
    kept.push(ranges.len() - 1);
    let mut first = 0;
    kept.into_iter()
        .map(|last| {
            let range = (ranges[first].0, ranges[last].1);
            first = last + 1;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_gaps_are_joined() {
        let ports = [(1, 5), (7, 7), (20, 30), (32, 40), (1000, 1000)];
        let check = |limit, expected: &[(u32, u32)]| assert_eq!(coarse(&ports, limit), expected);
        check(9, &ports);
        check(5, &ports);
        check(3, &[(1, 7), (20, 40), (1000, 1000)]);
        check(2, &[(1, 40), (1000, 1000)]);
        check(1, &[(1, 1000)]);
        check(0, &[(1, 1000)]);
        assert_eq!(coarse(&[], 4), []);
    }

    proptest! {
        #[test]
        fn no_number_is_lost_and_the_limit_holds(
            numbers in prop::collection::btree_set(0_u32..500, 0..60),
            limit in 1_usize..20,
        ) {
            // Even numbers are not adjacent.
            let ranges: Vec<_> = numbers.iter().map(|number| (2 * number, 2 * number)).collect();
            let found = coarse(&ranges, limit);
            prop_assert!(found.len() <= limit);
            prop_assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0));
            for (number, _) in &ranges {
                prop_assert!(found.iter().any(|(first, last)| (first..=last).contains(&number)));
            }
            if let (Some((first, _)), Some((_, last))) = (ranges.first(), ranges.last()) {
                prop_assert_eq!(found.first().unwrap().0, *first);
                prop_assert_eq!(found.last().unwrap().1, *last);
            }
        }
    }
}
