//! Collectives, and handles of those that have been started.

use tensor::{DType, Slot, Traffic};

/// A collective with its slots; see the methods of [`Comm`](crate::Comm).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Collective {
    /// [`all_reduce`](crate::Comm::all_reduce)
    AllReduce {
        /// Read and written.
        x: Slot,
    },
    /// [`reduce_scatter`](crate::Comm::reduce_scatter)
    ReduceScatter {
        /// Read; one block for each rank.
        x: Slot,
        /// Written.
        block: Slot,
    },
    /// [`all_gather`](crate::Comm::all_gather)
    AllGather {
        /// Read.
        block: Slot,
        /// Written; one block for each rank.
        y: Slot,
    },
    /// [`broadcast`](crate::Comm::broadcast)
    Broadcast {
        /// Read by the root, written by the others.
        x: Slot,
        /// The rank that sends.
        root: usize,
    },
    /// [`send`](crate::Comm::send)
    Send {
        /// Read.
        x: Slot,
        /// The receiver.
        to: usize,
    },
    /// [`recv`](crate::Comm::recv)
    Recv {
        /// Written.
        x: Slot,
        /// The sender.
        from: usize,
    },
    /// [`barrier`](crate::Comm::barrier)
    Barrier,
}

/// A collective that has been started; it is complete after [`Comm::wait`](crate::Comm::wait).
#[must_use = "a collective must be waited for"]
#[derive(Debug)]
pub struct Handle {
    /// The collective.
    pub collective: Collective,
    /// Its number, counted by the communicator.
    pub number: u64,
}

/// Counts messages.
pub(crate) trait Count {
    /// Adds a message to one rank.
    fn count(&mut self, floats: usize);

    /// Adds the messages of `rank` in a collective, if it sends directly to every other rank.
    fn add(&mut self, collective: &Collective, rank: usize, world: usize);
}

impl Count for Traffic {
    fn count(&mut self, floats: usize) {
        self.messages += 1;
        self.bytes += 4 * floats as u64;
    }

    fn add(&mut self, collective: &Collective, rank: usize, world: usize) {
        let (messages, floats) = match *collective {
            Collective::AllReduce { x: part }
            | Collective::ReduceScatter { block: part, .. }
            | Collective::AllGather { block: part, .. } => (world - 1, part.len()),
            Collective::Broadcast { x, root } if root == rank => (world - 1, x.len()),
            Collective::Send { x, .. } => (1, x.len()),
            Collective::Barrier => (world - 1, 0),
            Collective::Broadcast { .. } | Collective::Recv { .. } => (0, 0),
        };
        (0..messages).for_each(|_| self.count(floats));
    }
}

impl Collective {
    /// # Panics
    /// If the slots do not fit each other, or `rank` of `world` ranks.
    pub(crate) fn check(&self, rank: usize, world: usize) {
        let floats = |slot: Slot| assert_eq!(slot.dtype(), DType::F32, "{self:?}: floats only");
        let other = |peer: usize| {
            assert!(peer < world && peer != rank, "{self:?} on rank {rank} of {world}");
        };
        match *self {
            Collective::AllReduce { x } => floats(x),
            Collective::ReduceScatter { x: whole, block }
            | Collective::AllGather { block, y: whole } => {
                floats(whole);
                floats(block);
                assert_eq!(whole.len(), world * block.len(), "{self:?}: one block a rank");
                assert!(!whole.overlaps(&block), "{self:?}: the slots overlap");
            }
            Collective::Broadcast { x, root } => {
                floats(x);
                assert!(root < world, "{self:?} in a world of {world}");
            }
            Collective::Send { x, to: peer } | Collective::Recv { x, from: peer } => {
                floats(x);
                other(peer);
            }
            Collective::Barrier => {}
        }
    }
}
