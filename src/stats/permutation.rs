//! Sign-flip permutation by cluster: under "no effect" (or "the two runs are exchangeable") a cluster's sum is as
//! likely as its negative, all its items together.

use rayon::prelude::*;

use super::draws::StreamKey;
use super::result::Item;
use super::statistic::Clusters;
use crate::base::Seed;

/// With at most this many clusters all sign patterns are enumerated.
const EXACT_CLUSTERS: usize = 16;

/// The two-sided p-value of "the mean of `value` is 0" by flipping the signs of whole clusters. Exact over all
/// 2^clusters patterns up to 16 clusters; else (1 + extreme) / (1 + `permutations`). `None` where there are no items
/// or a value is not finite. With C clusters no p-value can be below 2^(1−C).
pub fn sign_flip(items: &[Item], permutations: usize, seed: &Seed) -> Option<f64> {
    let clusters = Clusters::of(items);
    let mut sums = vec![0.0; clusters.len()];
    for (item, &cluster) in items.iter().zip(clusters.indices()) {
        *sums.get_mut(cluster)? += item.value;
    }
    sign_flip_sums(&sums, permutations, seed)
}

/// The smallest p-value that [`sign_flip`] can give: of 2^(clusters − 1) patterns, opposites taken together, one has all
/// signs equal.
pub fn smallest_sign_flip(clusters: usize) -> f64 {
    0.5f64.powi(clusters.clamp(1, 1000) as i32 - 1)
}

/// The same on the clusters' sums.
pub(crate) fn sign_flip_sums(sums: &[f64], permutations: usize, seed: &Seed) -> Option<f64> {
    if sums.is_empty() || sums.iter().any(|sum| !sum.is_finite()) {
        return None;
    }
    let observed = sums.iter().sum::<f64>().abs();
    // A pattern that gives the observed sum in another order of additions must count as a tie.
    let limit = observed - 1e-12 * sums.iter().map(|sum| sum.abs()).sum::<f64>();
    if sums.len() <= EXACT_CLUSTERS {
        // A pattern and its opposite have the same absolute sum, so the last sign is held.
        let patterns = 1usize << (sums.len() - 1);
        let extreme = (0..patterns).filter(|&pattern| pattern_sum(sums, pattern).abs() >= limit).count();
        return Some(extreme as f64 / patterns as f64);
    }
    let key = StreamKey::of(seed);
    let extreme =
        (0..permutations).into_par_iter().filter(|&replicate| random_sum(sums, key, replicate).abs() >= limit);
    Some((1 + extreme.count()) as f64 / (1 + permutations) as f64)
}

fn pattern_sum(sums: &[f64], pattern: usize) -> f64 {
    sums.iter().enumerate().map(|(cluster, &sum)| if pattern >> cluster & 1 == 1 { -sum } else { sum }).sum()
}

fn random_sum(sums: &[f64], key: StreamKey, replicate: usize) -> f64 {
    let mut stream = key.stream(replicate);
    let mut total = 0.0;
    for chunk in sums.chunks(64) {
        let mut bits = stream.next();
        for &sum in chunk {
            // The sign bit is flipped rather than branched on: coin flips cannot be predicted.
            total += f64::from_bits(sum.to_bits() ^ (bits << 63));
            bits >>= 1;
        }
    }
    total
}

/// The share of swap patterns that are extreme; patterns that leave the statistic undefined are not counted.
pub(crate) fn extreme_share<F>(clusters: usize, permutations: usize, seed: &Seed, extreme: F) -> f64
where
    F: Fn(&[bool]) -> Option<bool> + Sync,
{
    let count = |verdicts: Vec<Option<bool>>| {
        let defined = verdicts.iter().flatten().count();
        (verdicts.iter().flatten().filter(|&&extreme| extreme).count(), defined)
    };
    if clusters <= EXACT_CLUSTERS {
        let pattern = |bits: usize| -> Vec<bool> { (0..clusters).map(|cluster| bits >> cluster & 1 == 1).collect() };
        let patterns = 1usize << clusters.saturating_sub(1);
        let verdicts = (0..patterns).into_par_iter().map(|bits| extreme(&pattern(bits))).collect();
        // The identity is among the patterns, so that there is at least one.
        let (extreme, defined) = count(verdicts);
        return extreme as f64 / defined.max(1) as f64;
    }
    let key = StreamKey::of(seed);
    let draw = |flips: &mut Vec<bool>, replicate| {
        key.stream(replicate).flips(flips);
        extreme(flips)
    };
    let verdicts = (0..permutations).into_par_iter().map_init(|| vec![false; clusters], draw).collect();
    let (extreme, defined) = count(verdicts);
    (1 + extreme) as f64 / (1 + defined) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(values: &[(&str, f64)]) -> Vec<Item> {
        let item = |(id, &(cluster, value)): (usize, &(&str, f64))| Item {
            id: id.to_string(),
            cluster: cluster.into(),
            value,
            group: None,
            weight: None,
        };
        values.iter().enumerate().map(item).collect()
    }

    #[test]
    fn few_clusters_are_enumerated() {
        // Of the 8 sign patterns of (1, 2, 3) only +++ and −−− reach |6|.
        let three = items(&[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
        assert_eq!(sign_flip(&three, 10, &Seed::new(1)), Some(0.25));
        // Items of one cluster flip together: two clusters of sums 3 and 3 leave 2 of 4 patterns.
        let two = items(&[("a", 1.0), ("a", 2.0), ("b", 3.0)]);
        assert_eq!(sign_flip(&two, 10, &Seed::new(1)), Some(0.5));
        assert_eq!(sign_flip(&items(&[("a", 0.0), ("b", 0.0)]), 10, &Seed::new(1)), Some(1.0));
        assert_eq!(sign_flip(&[], 10, &Seed::new(1)), None);
        assert_eq!(sign_flip(&items(&[("a", f64::NAN)]), 10, &Seed::new(1)), None);
    }

    #[test]
    fn random_patterns_agree_with_the_normal_approximation() {
        // 400 sums of ±1 with 221 positive: z = 42/20 = 2.1 with continuity (42 − 1)/20 = 2.05, p ≈ 0.0404.
        let sums: Vec<f64> = (0..400).map(|cluster| if cluster < 221 { 1.0 } else { -1.0 }).collect();
        let p = sign_flip_sums(&sums, 40_000, &Seed::new(5)).expect("defined");
        // Three standard errors of a share of 0.04 over 40 000 draws.
        assert!((p - 0.0404).abs() < 0.004, "{p}");
        assert_eq!(sign_flip_sums(&[1.0; 20], 999, &Seed::new(5)), Some(1e-3), "+1 in numerator and denominator");
    }
}
