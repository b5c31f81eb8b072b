//! Counts: Wilson's interval and McNemar's exact test.

use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use super::interval::inverse_normal;
use super::result::Interval;

/// Wilson's score interval for `hits` of `n`; `None` for `n` = 0. Wilson 1927:
/// (p̂ + z²/2n ± z √(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n).
pub fn wilson(hits: usize, n: usize, level: f64) -> Option<Interval> {
    if n == 0 || hits > n {
        return None;
    }
    let (hits, n) = (hits as f64, n as f64);
    let z = inverse_normal(0.5 + level / 2.0);
    let (share, square) = (hits / n, z * z);
    let middle = share + square / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let scale = 1.0 + square / n;
    let low = if hits == 0.0 { 0.0 } else { (middle - half) / scale };
    let high = if hits == n { 1.0 } else { (middle + half) / scale };
    Some(Interval { low, high, level })
}

/// Clopper and Pearson's (1934) upper limit of a share: the largest p for which `hits` or fewer of `n` have a
/// probability of at least 1 − `level`. One-sided: the share lies below it with a confidence of at least `level`,
/// whatever it is. 1 where nothing was drawn.
pub fn clopper_pearson_upper(hits: usize, n: usize, level: f64) -> f64 {
    if hits >= n {
        return 1.0;
    }
    let beta = Beta::new(hits as f64 + 1.0, (n - hits) as f64);
    beta.map_or(1.0, |beta| beta.inverse_cdf(level))
}

/// P(X ≥ `hits`) for X of Binomial(`n`, `share`).
pub fn binomial_at_least(hits: usize, n: usize, share: f64) -> f64 {
    match (hits, Binomial::new(share, n as u64)) {
        (0, _) | (_, Err(_)) => 1.0,
        (hits, Ok(binomial)) => binomial.sf(hits as u64 - 1),
    }
}

/// P(X ≤ `hits`) for X of Binomial(`n`, `share`).
pub fn binomial_at_most(hits: usize, n: usize, share: f64) -> f64 {
    Binomial::new(share, n as u64).map_or(1.0, |binomial| binomial.cdf(hits as u64))
}

/// Wilson's upper limit of a share of which no case was seen: z²/(n + z²); 1 where n is not positive.
pub(crate) fn unseen_limit(n: f64, level: f64) -> f64 {
    let square = inverse_normal(0.5 + level / 2.0).powi(2);
    if n > 0.0 { square / (n + square) } else { 1.0 }
}

/// The number of independent items that `items` in `clusters` count for when none of them deviates, so that no
/// correlation within clusters can be estimated: n (t_{n−1}/t_{C−1})², the degrees-of-freedom correction of Korn and
/// Graubard (1998) with design effect 1, as official statistics treat shares of 0 and 1. 0 below two clusters.
pub(crate) fn effective_size(items: usize, clusters: usize, level: f64) -> f64 {
    let quantile =
        |freedom: usize| StudentsT::new(0.0, 1.0, freedom as f64).map(|student| student.inverse_cdf(0.5 + level / 2.0));
    match (clusters > 1, quantile(items.saturating_sub(1)), quantile(clusters.saturating_sub(1))) {
        (true, Ok(of_items), Ok(of_clusters)) => items as f64 * (of_items / of_clusters).powi(2),
        _ => 0.0,
    }
}

/// McNemar's exact two-sided p-value of "both directions of change are equally likely", from the numbers of items
/// that only the first and only the second got right: 2 P(X ≤ min) under Binomial(b + c, ½), at most 1. Items must be
/// independent; where they cluster, use [`super::sign_flip`].
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let discordant = only_first + only_second;
    match Binomial::new(0.5, discordant) {
        Ok(binomial) => (2.0 * binomial.cdf(only_first.min(only_second))).min(1.0),
        // ½ is a probability, so this is not reached; no evidence is the answer that claims nothing.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_meets_scipy() {
        // scipy.stats.binomtest(0, 3, 0.5), the golden value of the shared reference.
        assert!((mcnemar_exact(3, 0) - 0.25).abs() < 1e-12);
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert_eq!(mcnemar_exact(4, 4), 1.0);
        // 2·(1 + 10 + 45)/1024.
        assert!((mcnemar_exact(2, 8) - 0.109375).abs() < 1e-12);
    }

    #[test]
    fn wilson_meets_published_values() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
        let interval = wilson(81, 263, 0.95).expect("n > 0");
        assert!((interval.low - 0.2553).abs() < 5e-5 && (interval.high - 0.3662).abs() < 5e-5, "{interval:?}");
        let none = wilson(0, 20, 0.95).expect("n > 0");
        assert!(none.low == 0.0 && (none.high - 0.1611).abs() < 5e-5, "{none:?}");
        assert_eq!(wilson(0, 0, 0.95), None);
    }

    #[test]
    fn clopper_and_pearson_have_closed_forms_at_the_ends() {
        // None of n: 1 − (1 − level)^(1/n), the "rule of three"; one of two: 1 − p² − … by hand.
        let none = clopper_pearson_upper(0, 59, 0.95);
        assert!((none - (1.0 - 0.05f64.powf(1.0 / 59.0))).abs() < 1e-9, "{none}");
        // P(X ≤ 1 | n = 2, p) = 1 − p² = 0.05.
        assert!((clopper_pearson_upper(1, 2, 0.95) - 0.95f64.sqrt()).abs() < 1e-9);
        assert_eq!((clopper_pearson_upper(3, 3, 0.95), clopper_pearson_upper(0, 0, 0.95)), (1.0, 1.0));
        // Its definition, through the tail.
        let limit = clopper_pearson_upper(4, 30, 0.9);
        assert!((binomial_at_most(4, 30, limit) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn tails_of_a_binomial_are_those_counted_by_hand() {
        // Of 16 outcomes of four throws, 5 have three heads or more, 11 have two or fewer.
        assert!((binomial_at_least(3, 4, 0.5) - 5.0 / 16.0).abs() < 1e-12);
        assert!((binomial_at_most(2, 4, 0.5) - 11.0 / 16.0).abs() < 1e-12);
        assert_eq!(binomial_at_least(0, 4, 0.5), 1.0);
    }

    #[test]
    fn the_unseen_are_limited_by_items_and_clusters() {
        let wilson = wilson(0, 20, 0.95).expect("n > 0").high;
        assert!((unseen_limit(20.0, 0.95) - wilson).abs() < 1e-12);
        assert_eq!(unseen_limit(0.0, 0.95), 1.0);
        // t(0.975; 59) = 2.0010, t(0.975; 9) = 2.2622, from tables: 60 · (2.0010/2.2622)² = 46.95.
        assert!((effective_size(60, 10, 0.95) - 46.95).abs() < 0.02);
        assert!((effective_size(20, 20, 0.95) - 20.0).abs() < 1e-9);
        assert_eq!(effective_size(60, 1, 0.95), 0.0);
    }
}
