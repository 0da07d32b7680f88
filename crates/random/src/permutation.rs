//! A shuffled order with random access.

use crate::philox;
use crate::stream::Purpose;

/// A permutation of `0..len`, keyed by seed and epoch; [`at`](Self::at) computes any position
/// directly.
///
/// A four-round Feistel network over the next even power of two, applied until the value is below
/// `len` (fewer than four times on average). So resuming in the middle of an epoch costs nothing:
/// there is no list to rebuild.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    key: [u32; 2],
    epoch: u32,
    len: u64,
    half_bits: u32,
}

impl Permutation {
    /// The order of `epoch` over `len` samples.
    ///
    /// # Panics
    /// If `len` exceeds 2^62.
    pub fn new(seed: u64, epoch: u32, len: u64) -> Self {
        assert!(len <= 1 << 62, "a permutation of {len} samples");
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Permutation { key: philox::key(seed), epoch, len, half_bits: bits.div_ceil(2).max(1) }
    }

    /// The sample at `position`.
    ///
    /// # Panics
    /// If `position` is not below the length.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of {}", self.len);
        let mut value = position;
        loop {
            value = self.scramble(value);
            if value < self.len {
                return value;
            }
        }
    }

    fn scramble(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..4 {
            let counter = [right as u32, round, self.epoch, Purpose::Shuffle.code()];
            let mixed = u64::from(philox::block(self.key, counter)[0]);
            (left, right) = (right, left ^ (mixed & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn contains_every_index_once(seed: u64, epoch in 0u32..100, len in 1u64..3000) {
            let order = Permutation::new(seed, epoch, len);
            let mut seen = vec![false; len as usize];
            for position in 0..len {
                prop_assert!(!std::mem::replace(&mut seen[order.at(position) as usize], true));
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = |seed, epoch| {
            (0..64).map(|p| Permutation::new(seed, epoch, 64).at(p)).collect::<Vec<_>>()
        };
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn imagenet_sized_orders_are_in_range() {
        let order = Permutation::new(9, 4, 1_281_167);
        assert!((0..1000).all(|p| order.at(p * 1281) < 1_281_167));
    }
}
