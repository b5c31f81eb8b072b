//! CPython's `random.Random`, bit for bit: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998) seeded by
//! `init_by_array`, and the parts of `random.py` that evaluation harnesses draw with.

use sha2::{Digest as _, Sha512};

const N: usize = 624;
const M: usize = 397;

/// `random.Random(seed)` for a non-negative integer or a string.
#[derive(Clone)]
pub struct PythonRandom {
    state: [u32; N],
    next: usize,
}

impl PythonRandom {
    /// The generator that `random.Random(seed)` makes.
    pub fn new(seed: u64) -> Self {
        // CPython passes as many 32-bit words as the integer needs, at least one.
        match (seed as u32, (seed >> 32) as u32) {
            (low, 0) => Self::keyed(&[low]),
            (low, high) => Self::keyed(&[low, high]),
        }
    }

    /// The generator that `random.Random(text)` makes: the seed is the integer of the text's UTF-8 bytes followed by their
    /// SHA-512, most significant byte first (`random.py`, version 2 of seeding).
    pub fn of_text(text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend(Sha512::digest(text.as_bytes()));
        let word = |chunk: &[u8]| chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let mut key: Vec<u32> = bytes.rchunks(4).map(word).collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        Self::keyed(&key)
    }

    fn keyed(key: &[u32]) -> Self {
        let mut state = [0u32; N];
        let mut word = 19_650_218u32;
        for (index, slot) in state.iter_mut().enumerate() {
            if index > 0 {
                word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
            }
            *slot = word;
        }
        let mut twister = Self { state, next: N };
        twister.init_by_array(key);
        twister
    }

    fn word(&self, index: usize) -> u32 {
        self.state.get(index % N).copied().unwrap_or(0)
    }

    fn set(&mut self, index: usize, word: u32) {
        self.state.iter_mut().skip(index).take(1).for_each(|slot| *slot = word);
    }

    /// `init_by_array` after its first fill.
    fn init_by_array(&mut self, key: &[u32]) {
        let mut place = 1;
        let keyed = key.iter().zip(0u32..).map(|(word, index)| word.wrapping_add(index));
        for add in keyed.cycle().take(N.max(key.len())) {
            place = self.fold(place, 1_664_525, add);
        }
        for _ in 0..N - 1 {
            place = self.fold(place, 1_566_083_941, (place as u32).wrapping_neg());
        }
        self.set(0, 0x8000_0000);
    }

    /// One step of seeding; returns the next place.
    fn fold(&mut self, place: usize, multiplier: u32, add: u32) -> usize {
        let previous = self.word(place - 1);
        let folded = (previous ^ (previous >> 30)).wrapping_mul(multiplier);
        self.set(place, (self.word(place) ^ folded).wrapping_add(add));
        if place + 1 < N {
            return place + 1;
        }
        self.set(0, self.word(N - 1));
        1
    }

    /// 32 random bits (`genrand_uint32`).
    pub fn bits32(&mut self) -> u32 {
        if self.next >= N {
            self.twist();
        }
        let mut word = self.word(self.next);
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9D2C_5680;
        word ^= (word << 15) & 0xEFC6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let joined = (self.word(i) & 0x8000_0000) | (self.word(i + 1) & 0x7FFF_FFFF);
            let odd = if joined & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.set(i, self.word(i + M) ^ (joined >> 1) ^ odd);
        }
        self.next = 0;
    }

    /// `random()`: 53 bits in [0, 1).
    pub fn random(&mut self) -> f64 {
        let (high, low) = (self.bits32() >> 5, self.bits32() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) * (1.0 / 9_007_199_254_740_992.0)
    }

    /// `getrandbits(bits)` for at most 32 bits; 0 for 0 bits.
    pub fn getrandbits(&mut self, bits: u32) -> u32 {
        if bits == 0 { 0 } else { self.bits32() >> (32 - bits.min(32)) }
    }

    /// `_randbelow(n)`: a uniform index below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let bits = u32::BITS - n.leading_zeros();
        loop {
            let drawn = self.getrandbits(bits);
            if drawn < n || n == 0 {
                return drawn;
            }
        }
    }

    /// `randint(low, high)`, both ends included; `low` where `high` is below it.
    pub fn randint(&mut self, low: u32, high: u32) -> u32 {
        if high < low { low } else { low + self.below(high - low + 1) }
    }

    /// `choice(items)`; `None` where there are none.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        items.get(self.below(items.len() as u32) as usize)
    }

    /// The index that one draw of `choices` without weights takes: floor(random() · n).
    pub fn choice_index(&mut self, n: usize) -> usize {
        (self.random() * n as f64).floor() as usize
    }

    /// `sample(range(n), k)`; `None` where k is larger than n. Follows `random.py` on which of its two ways it takes,
    /// because they draw differently.
    pub fn sample(&mut self, n: u32, k: u32) -> Option<Vec<u32>> {
        if k > n {
            return None;
        }
        let mut set_size = 21u64;
        if k > 5 {
            // 4 ** ceil(log(k * 3, 4))
            set_size += 4u64.pow(f64::from(3 * k).log(4.0).ceil() as u32);
        }
        let mut chosen = Vec::with_capacity(k as usize);
        if u64::from(n) <= set_size {
            let mut pool: Vec<u32> = (0..n).collect();
            for left in ((n - k + 1)..=n).rev() {
                chosen.push(pool.swap_remove(self.below(left) as usize));
            }
            return Some(chosen);
        }
        let mut taken = std::collections::HashSet::new();
        while chosen.len() < k as usize {
            let index = self.below(n);
            if taken.insert(index) {
                chosen.push(index);
            }
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_sample_meet_cpython() {
        // Random(0).choices(range(5), k=5); Random(1234).sample(range(100), 5): the shared reference, section 2.12.
        let mut zero = PythonRandom::new(0);
        let drawn: Vec<usize> = (0..5).map(|_| zero.choice_index(5)).collect();
        assert_eq!(drawn, [4, 3, 2, 1, 2]);
        assert_eq!(PythonRandom::new(1234).sample(100, 5), Some(vec![99, 56, 14, 0, 11]));
    }

    #[test]
    fn both_ways_of_sampling_and_long_seeds_meet_cpython() {
        // CPython 3: Random(2**40 + 7).random(); Random(7).sample(range(12), 12); Random(7).sample(range(500), 8).
        let mut long = PythonRandom::new((1 << 40) + 7);
        assert_eq!(long.random(), 0.6137037779936511);
        assert_eq!(PythonRandom::new(7).sample(12, 12), Some(vec![5, 2, 6, 0, 1, 9, 4, 8, 10, 3, 11, 7]));
        assert_eq!(PythonRandom::new(7).sample(500, 8), Some(vec![165, 485, 77, 202, 333, 24, 37, 420]));
        assert_eq!(PythonRandom::new(7).sample(3, 4), None);
    }

    #[test]
    fn strings_seed_as_in_cpython() {
        // CPython 3.11: r = Random(text); r.random(); [r.randint(1, 3) for _ in range(8)]; r.choice(list(range(7))).
        let cases: [(&str, f64, [u32; 8], u32); 5] = [
            ("id0", 0.51172047939132, [2, 3, 2, 2, 3, 1, 3, 2], 0),
            ("id17", 0.4890228617214101, [3, 2, 3, 3, 3, 3, 3, 1], 3),
            ("", 0.9602256525641875, [3, 1, 2, 3, 1, 2, 3, 1], 4),
            ("Ünï-ид", 0.23416594426801318, [1, 1, 2, 3, 2, 1, 1, 2], 1),
            ("aaaaaaaaaa", 0.6095831378138442, [1, 3, 1, 1, 1, 1, 1, 2], 4),
        ];
        for (text, first, draws, chosen) in cases {
            let mut random = PythonRandom::of_text(text);
            assert_eq!(random.random(), first, "{text:?}");
            assert_eq!([0; 8].map(|_| random.randint(1, 3)), draws, "{text:?}");
            assert_eq!(random.choice(&[0, 1, 2, 3, 4, 5, 6]), Some(&chosen), "{text:?}");
        }
        // Leading zero bytes are no words of the integer.
        assert_eq!(PythonRandom::of_text("\0\0\0\0\0x").random(), 0.23262509104741158);
        assert_eq!(PythonRandom::of_text("x").choice::<u8>(&[]), None);
        assert_eq!(PythonRandom::of_text("x").randint(4, 3), 4);
    }
}
