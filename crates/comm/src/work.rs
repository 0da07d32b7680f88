//! What can be started, and what has been.

use tensor::{DType, Slot, Traffic};

/// A collective with its slots. The methods of [`Comm`](crate::Comm) say what each does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// [`all_reduce`](crate::Comm::all_reduce)
    AllReduce {
        /// Read and written.
        x: Slot,
    },
    /// [`reduce_scatter`](crate::Comm::reduce_scatter)
    ReduceScatter {
        /// One block a rank.
        x: Slot,
        /// Written.
        block: Slot,
    },
    /// [`all_gather`](crate::Comm::all_gather)
    AllGather {
        /// Read.
        block: Slot,
        /// Written, one block a rank.
        y: Slot,
    },
    /// [`broadcast`](crate::Comm::broadcast)
    Broadcast {
        /// Read by the root, written by the others.
        x: Slot,
        /// Whose floats all get.
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

/// A collective that has been started. It is over when [`Comm::wait`](crate::Comm::wait) has taken
/// the handle back.
#[must_use = "a collective ends where its handle is waited for"]
#[derive(Debug)]
pub struct Handle {
    /// What was started.
    pub work: Work,
    /// Its number, counted by the engine that started it.
    pub number: u64,
}

/// Counts what ranks send.
pub(crate) trait Count {
    /// Adds a message to one rank.
    fn count(&mut self, floats: usize);

    /// Adds what `rank` sends in `work`, if it sends to each other rank what that needs.
    fn add(&mut self, work: &Work, rank: usize, world: usize);
}

impl Count for Traffic {
    fn count(&mut self, floats: usize) {
        self.messages += 1;
        self.bytes += 4 * floats as u64;
    }

    fn add(&mut self, work: &Work, rank: usize, world: usize) {
        let (messages, floats) = match *work {
            Work::AllReduce { x: part }
            | Work::ReduceScatter { block: part, .. }
            | Work::AllGather { block: part, .. } => (world - 1, part.len()),
            Work::Broadcast { x, root } if root == rank => (world - 1, x.len()),
            Work::Send { x, .. } => (1, x.len()),
            Work::Barrier => (world - 1, 0),
            Work::Broadcast { .. } | Work::Recv { .. } => (0, 0),
        };
        (0..messages).for_each(|_| self.count(floats));
    }
}

impl Work {
    /// # Panics
    /// If the slots do not fit each other and a world of so many ranks, seen from `rank`.
    pub(crate) fn check(&self, rank: usize, world: usize) {
        let floats = |slot: Slot| assert_eq!(slot.dtype(), DType::F32, "{self:?}: floats only");
        let other = |peer: usize| {
            assert!(peer < world && peer != rank, "{self:?} on rank {rank} of {world}");
        };
        match *self {
            Work::AllReduce { x } => floats(x),
            Work::ReduceScatter { x: whole, block } | Work::AllGather { block, y: whole } => {
                floats(whole);
                floats(block);
                assert_eq!(whole.len(), world * block.len(), "{self:?}: one block a rank");
                assert!(!whole.overlaps(&block), "{self:?}: the slots overlap");
            }
            Work::Broadcast { x, root } => {
                floats(x);
                assert!(root < world, "{self:?} in a world of {world}");
            }
            Work::Send { x, to: peer } | Work::Recv { x, from: peer } => {
                floats(x);
                other(peer);
            }
            Work::Barrier => {}
        }
    }
}
