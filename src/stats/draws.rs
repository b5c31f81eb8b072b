//! The random numbers of resampling: one stream a replicate, so that any number of threads draws the same.

use rand::RngCore;

use crate::base::Seed;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64 (Steele, Lea and Flood 2014): draw k of a stream is a hash of its key plus k, so a replicate's numbers
/// depend on the seed and the replicate alone. Chosen over the ChaCha8 of [`Seed`] because a bootstrap draws 10⁹
/// times; the key still comes from there.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

/// The key from which the streams of one resampling are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamKey(u64);

impl StreamKey {
    /// The key that belongs to `seed`.
    pub(crate) fn of(seed: &Seed) -> Self {
        Self(seed.rng().next_u64())
    }

    /// The stream of one replicate.
    pub(crate) fn stream(self, replicate: usize) -> Stream {
        Stream(mix(self.0 ^ mix((replicate as u64).wrapping_mul(GOLDEN).wrapping_add(GOLDEN))))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Stream {
    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Draws `weights.len()` clusters with replacement and writes how often each came up.
    pub(crate) fn resample(&mut self, weights: &mut [f64]) {
        weights.fill(0.0);
        let Ok(n) = u32::try_from(weights.len()) else { return };
        if n == 0 {
            return;
        }
        // Lemire 2019: the high half of bits·n is the index; the few low halves below 2³² mod n are drawn again.
        let reject = n.wrapping_neg() % n;
        let mut left = n;
        while left > 0 {
            let bits = self.next();
            for half in [bits as u32, (bits >> 32) as u32] {
                let product = u64::from(half) * u64::from(n);
                if product as u32 >= reject && left > 0 {
                    if let Some(weight) = weights.get_mut((product >> 32) as usize) {
                        *weight += 1.0;
                    }
                    left -= 1;
                }
            }
        }
    }

    /// Fills `signs` with fair coin flips.
    pub(crate) fn flips(&mut self, flips: &mut [bool]) {
        for chunk in flips.chunks_mut(64) {
            let mut bits = self.next();
            for flip in chunk {
                *flip = bits & 1 == 1;
                bits >>= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_meets_its_reference_output() {
        // First outputs of the reference splitmix64.c for the state 1234567, as Rosetta Code lists them.
        let mut stream = Stream(1_234_567);
        let drawn = [stream.next(), stream.next(), stream.next()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_resample_draws_each_cluster_equally_often() {
        let key = StreamKey::of(&Seed::new(3));
        let (mut weights, mut totals) = (vec![0.0; 7], vec![0.0; 7]);
        for replicate in 0..10_000 {
            key.stream(replicate).resample(&mut weights);
            assert_eq!(weights.iter().sum::<f64>(), 7.0);
            totals.iter_mut().zip(&weights).for_each(|(total, weight)| *total += weight);
        }
        // Each total is binomial(70 000, 1/7) with standard deviation 92.6: five of them are allowed.
        assert!(totals.iter().all(|total| (total - 10_000.0).abs() < 463.0), "{totals:?}");
    }

    #[test]
    fn flips_are_fair() {
        let mut flips = vec![false; 100_000];
        StreamKey::of(&Seed::new(4)).stream(0).flips(&mut flips);
        let heads = flips.iter().filter(|&&flip| flip).count() as f64;
        // Binomial(100 000, ½) has standard deviation 158.
        assert!((heads - 50_000.0).abs() < 790.0, "{heads}");
    }
}
