//! A stand-in for cuDNN.

use crate::library::{Unsupported, VendorBehaviour, VendorLibrary};

/// The stand-in for cuDNN.
pub type Cudnn = VendorLibrary<CudnnBehaviour>;

/// The behaviour towards the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct CudnnBehaviour {
    /// The version as cuDNN encodes it: 91900 is 9.19.0, and 8904 is 8.9.4.
    pub version: u64,
    /// The call that fails, counted from 1 after [`behave`](VendorLibrary::behave); calls that
    /// destroy something do not count.
    pub failing_call: Option<u64>,
    /// Whether and how the library reports every convolution as unsupported.
    pub unsupported: Option<Unsupported>,
}

impl Default for CudnnBehaviour {
    fn default() -> CudnnBehaviour {
        CudnnBehaviour { version: 91_900, failing_call: None, unsupported: None }
    }
}

/// Counts of the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudnnCounts {
    /// Calls, except those that destroy something.
    pub calls: u64,
    /// Passes of convolutions among them, recorded or enqueued.
    pub convolutions: u64,
    /// Handles and descriptors that were created and not destroyed.
    pub alive: u64,
}

impl VendorBehaviour for CudnnBehaviour {
    const STEM: &'static str = "cudnn";
    const NAME: &'static str = "libcudnn.so.9";
    type Counts = CudnnCounts;

    fn words(&self) -> [u64; 6] {
        let unsupported = self.unsupported.map_or(0, |how| how as u64);
        [self.version, self.failing_call.unwrap_or(0), unsupported, 0, 0, 0]
    }

    fn counts([calls, convolutions, alive]: [u64; 3]) -> CudnnCounts {
        CudnnCounts { calls, convolutions, alive }
    }
}
