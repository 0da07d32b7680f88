//! Which micro-shards of a batch a rank has.

use std::ops::Range;
use train::recipe::Wire;
use train::{Error, Result};

/// Which micro-shards of every batch a rank has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Micro-shards of a batch.
    pub shards: usize,
    /// This rank.
    pub rank: usize,
    /// All ranks.
    pub world: usize,
    /// How gradients are rounded before they are added up.
    pub wire: Wire,
}

impl Cut {
    /// The cut of a batch of `batch` images, with gradients as they are.
    ///
    /// # Errors
    /// [`Error::Recipe`] if shards or ranks would not be equal.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn new(batch: usize, shards: usize, (rank, world): (usize, usize)) -> Result<Cut> {
        assert!(rank < world, "rank {rank} of {world}");
        let refused = |reason: String| Err(Error::Recipe(reason));
        if !shards.is_power_of_two() {
            return refused(format!(
                "a batch in {shards} micro-shards: their gradients are added up pairwise; use 1, \
                 2, 4, 8 or another power of two (--micro-shards)"
            ));
        }
        if !world.is_power_of_two() || world > shards {
            return refused(format!(
                "{world} ranks cannot share {shards} micro-shards evenly: use a power of two, at \
                 most {shards}, or more micro-shards from the beginning (--micro-shards)"
            ));
        }
        if !batch.is_multiple_of(shards) {
            let near = batch.next_multiple_of(shards);
            return refused(format!(
                "a batch of {batch} images cannot be cut into {shards} equal micro-shards: use \
                 --batch-size {near}, or fewer --micro-shards"
            ));
        }
        Ok(Cut { shards, rank, world, wire: Wire::F32 })
    }

    /// This rank, and how many there are.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.rank, self.world)
    }

    /// The shards of this rank.
    pub fn own(&self) -> Range<usize> {
        let each = self.shards / self.world;
        self.rank * each..(self.rank + 1) * each
    }

    /// How often ranks meet pairwise.
    pub(crate) fn rounds(&self) -> usize {
        self.world.ilog2() as usize
    }

    /// Whom this rank meets in a round.
    pub(crate) fn partner(&self, round: usize) -> usize {
        self.rank ^ (1 << round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_shared_evenly_or_not_at_all() {
        let own = |rank| Cut::new(16, 8, (rank, 4)).unwrap().own();
        assert_eq!([own(0), own(1), own(3)], [0..2, 2..4, 6..8]);
        assert_eq!(Cut::new(16, 8, (1, 4)).unwrap().partner(1), 3);
        let told = |batch, shards, world| match Cut::new(batch, shards, (0, world)) {
            Err(error) => error.to_string(),
            Ok(cut) => panic!("{cut:?}"),
        };
        assert!(told(16, 6, 1).contains("another power of two"));
        assert!(told(16, 4, 8).starts_with("8 ranks cannot share 4 micro-shards"));
        assert!(told(24, 8, 3).starts_with("3 ranks cannot share"));
        assert!(told(100, 8, 2).contains("--batch-size 104"));
    }
}
