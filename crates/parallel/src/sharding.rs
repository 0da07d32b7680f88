//! The micro-shards of a batch that a rank processes.

use std::ops::Range;
use train::recipe::Wire;
use train::{Error, Result};

/// A batch in micro-shards, distributed evenly over ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// The number of micro-shards of a batch.
    pub shards: usize,
    /// This rank's number.
    pub rank: usize,
    /// The number of ranks.
    pub world: usize,
    /// The format to which gradients are rounded before they are summed.
    pub wire: Wire,
}

impl Sharding {
    /// The shards of `rank` of `world` ranks, for batches of `batch` images. Gradients are not
    /// rounded.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the images cannot be split evenly, or the shards.
    ///
    /// # Panics
    /// If `rank` is not below `world`.
    pub fn new(batch: usize, shards: usize, (rank, world): (usize, usize)) -> Result<Sharding> {
        assert!(rank < world, "rank {rank} of {world}");
        let refused = |reason: String| Err(Error::Recipe(reason));
        if !shards.is_power_of_two() {
            return refused(format!(
                "a batch in {shards} micro-shards: their gradients are added up pairwise; use 1, \
                 2, 4, 8 or another power of two (recipe.shards)"
            ));
        }
        if !world.is_power_of_two() || world > shards {
            return refused(format!(
                "{world} ranks cannot share {shards} micro-shards evenly: use a power of two, at \
                 most {shards}, or more micro-shards from the beginning (recipe.shards)"
            ));
        }
        if !batch.is_multiple_of(shards) {
            let near = batch.next_multiple_of(shards);
            return refused(format!(
                "a batch of {batch} images cannot be cut into {shards} equal micro-shards: use \
                 recipe.batch = {near}, or fewer micro-shards (recipe.shards)"
            ));
        }
        Ok(Sharding { shards, rank, world, wire: Wire::F32 })
    }

    /// This rank's number, and the number of ranks.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.rank, self.world)
    }

    /// The range of this rank's shards.
    pub fn own(&self) -> Range<usize> {
        let each = self.shards / self.world;
        self.rank * each..(self.rank + 1) * each
    }

    /// The number of pairwise exchanges.
    pub(crate) fn rounds(&self) -> usize {
        self.world.ilog2() as usize
    }

    /// The rank with which this one exchanges in a round.
    pub(crate) fn partner(&self, round: usize) -> usize {
        self.rank ^ (1 << round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_distributed_evenly() {
        let own = |rank| Sharding::new(16, 8, (rank, 4)).unwrap().own();
        assert_eq!([own(0), own(1), own(3)], [0..2, 2..4, 6..8]);
        assert_eq!(Sharding::new(16, 8, (1, 4)).unwrap().partner(1), 3);
        let error = |batch, shards, world| {
            Sharding::new(batch, shards, (0, world)).unwrap_err().to_string()
        };
        assert!(error(16, 6, 1).contains("another power of two"));
        assert!(error(16, 4, 8).starts_with("8 ranks cannot share 4 micro-shards"));
        assert!(error(24, 8, 3).starts_with("3 ranks cannot share"));
        assert!(error(100, 8, 2).contains("recipe.batch = 104"));
    }
}
