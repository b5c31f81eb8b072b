//! One seed, forked by name.
//!
//! A stream belongs to a name (and, for items, to the item's id), never to a batch, a thread or a shard, so the same
//! request draws the same numbers however the work is split. A fork is SHA-256 over the parent and the name, the
//! generator ChaCha8: both are defined to the bit on every platform.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// The root or a fork of a run's randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root seed of a run.
    pub fn new(value: u64) -> Self {
        Self(Sha256::digest(value.to_le_bytes()).into())
    }

    /// The stream named `name` below this one. Forks with different names are independent.
    pub fn fork(&self, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(name.as_bytes());
        Self(hash.finalize().into())
    }

    /// A generator at the start of this stream.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.0)
    }
}

/// A uniform draw from `[0, 1)` with 53 random bits.
pub fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A uniform index below `n`, by rejection so that no index is favoured; 0 where `n` is 0.
pub fn index(rng: &mut impl Rng, n: usize) -> usize {
    let n = n as u64;
    if n == 0 {
        return 0;
    }
    let zone = u64::MAX - u64::MAX % n;
    loop {
        let draw = rng.next_u64();
        if draw < zone {
            return (draw % n) as usize;
        }
    }
}

/// A standard normal draw (Box and Muller, the cosine branch).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Shuffles `items` in place (Fisher and Yates).
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, index(rng, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_named_and_repeatable() {
        let seed = Seed::new(7);
        let draw = |name: &str| uniform(&mut seed.fork(name).rng());
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        assert_ne!(Seed::new(7), Seed::new(8));
    }

    #[test]
    fn index_covers_its_range_evenly() {
        let mut rng = Seed::new(1).rng();
        let mut counts = [0usize; 5];
        for _ in 0..50_000 {
            counts[index(&mut rng, 5)] += 1;
        }
        // Each count is binomial(50 000, 1/5) with standard deviation 89.4: five of them are allowed.
        assert!(counts.iter().all(|&c| (c as f64 - 10_000.0).abs() < 450.0), "{counts:?}");
    }
}
