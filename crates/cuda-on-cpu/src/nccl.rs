//! A stand-in for NCCL, whose ranks are threads or processes of one host.

use crate::library::{VendorBehaviour, VendorLibrary};

/// The stand-in for NCCL.
pub type Nccl = VendorLibrary<NcclBehaviour>;

/// The behaviour towards the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct NcclBehaviour {
    /// The version as NCCL encodes it: 22809 is 2.28.9.
    pub version: u64,
    /// The call that fails, counted from 1 after [`behave`](VendorLibrary::behave), among those
    /// that begin or end something.
    pub failing_call: Option<u64>,
    /// The query of the communicator's state that reports a failure, counted from 1.
    pub failing_query: Option<u64>,
}

impl Default for NcclBehaviour {
    fn default() -> NcclBehaviour {
        NcclBehaviour { version: 22_809, failing_call: None, failing_query: None }
    }
}

impl VendorBehaviour for NcclBehaviour {
    const STEM: &'static str = "nccl";
    const NAME: &'static str = "libnccl.so.2";
    /// Calls that begin or end something, and queries of a communicator's state.
    type Counts = [u64; 2];

    fn words(&self) -> [u64; 6] {
        let (call, query) = (self.failing_call.unwrap_or(0), self.failing_query.unwrap_or(0));
        [self.version, call, query, 0, 0, 0]
    }

    fn counts([calls, queries, _]: [u64; 3]) -> [u64; 2] {
        [calls, queries]
    }
}
