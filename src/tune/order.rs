//! Which example stands where: an endless, seeded stream of indices that hangs on the seed, the stream's name and the
//! position alone. Arms of one seed therefore see the same examples at the same step, and a resumed run needs no
//! sampler state beyond its step.

use crate::base::Seed;
use crate::base::seed::shuffle;

/// The order of one kind of example (task items, pairs, canaries).
pub struct Order {
    seed: Seed,
    len: usize,
    epoch: Option<(usize, Vec<usize>)>,
}

impl Order {
    /// The stream `name` below `seed` over `len` examples.
    pub fn new(seed: Seed, name: &str, len: usize) -> Self {
        Self { seed: seed.fork("order").fork(name), len, epoch: None }
    }

    /// The indices of step `step` when each step takes `size`: positions `step · size …` of the stream, in which every
    /// epoch is a fresh permutation. Empty where there are no examples.
    pub fn step(&mut self, step: usize, size: usize) -> Vec<usize> {
        (step * size..(step + 1) * size).filter_map(|position| self.at(position)).collect()
    }

    fn at(&mut self, position: usize) -> Option<usize> {
        let epoch = position.checked_div(self.len)?;
        if self.epoch.as_ref().is_none_or(|(current, _)| *current != epoch) {
            let mut permutation: Vec<usize> = (0..self.len).collect();
            shuffle(&mut self.seed.fork(&format!("epoch {epoch}")).rng(), &mut permutation);
            self.epoch = Some((epoch, permutation));
        }
        let (_, permutation) = self.epoch.as_ref()?;
        permutation.get(position % self.len).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_everything_once_and_the_next_in_another_order() {
        let mut order = Order::new(Seed::new(1), "task", 10);
        let drawn: Vec<usize> = (0..5).flat_map(|step| order.step(step, 4)).collect();
        let (first, second) = drawn.split_at(10);
        for epoch in [first, second] {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(first, second);
    }

    #[test]
    fn a_step_hangs_on_seed_name_and_position_alone() {
        let at = |seed, name, step| Order::new(Seed::new(seed), name, 50).step(step, 7);
        let mut walked = Order::new(Seed::new(3), "task", 50);
        let last = (0..30).map(|step| walked.step(step, 7)).next_back().expect("steps");
        assert_eq!(last, at(3, "task", 29), "no memory of the steps before");
        assert_ne!(at(3, "task", 29), at(4, "task", 29));
        assert_ne!(at(3, "task", 29), at(3, "invariant", 29));
        assert!(Order::new(Seed::new(1), "task", 0).step(0, 4).is_empty());
    }
}
