//! The memory of a batch's images.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Memory that a device lends for the images of a batch, so that it can copy them by itself.
/// Access through `deref_mut` waits until it has done so.
pub trait HostMemory: DerefMut<Target = [u8]> + Send + Sync {}

impl<T: DerefMut<Target = [u8]> + Send + Sync> HostMemory for T {}

/// Creates the memory of a batch, given its bytes; `None` for ordinary memory.
pub type MakeMemory<'a> = &'a mut dyn FnMut(usize) -> Option<Box<dyn HostMemory>>;

/// The bytes of a batch's images, in ordinary memory or in that of a device. A clone has ordinary
/// memory.
pub struct Pixels(Memory);

enum Memory {
    Ordinary(Vec<u8>),
    Lent(Box<dyn HostMemory>),
}

impl Pixels {
    /// Zeros.
    ///
    /// # Panics
    /// If `make` returns fewer or more bytes.
    pub(super) fn zeros(bytes: usize, make: MakeMemory<'_>) -> Pixels {
        let Some(mut lent) = make(bytes) else { return vec![0; bytes].into() };
        assert_eq!(lent.len(), bytes, "memory for the images of a batch");
        lent.fill(0);
        Pixels(Memory::Lent(lent))
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Ordinary(bytes) => bytes,
            Memory::Lent(bytes) => bytes,
        }
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Ordinary(bytes) => bytes,
            Memory::Lent(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Pixels {
        Pixels(Memory::Ordinary(bytes))
    }
}

impl FromIterator<u8> for Pixels {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Pixels {
        bytes.into_iter().collect::<Vec<u8>>().into()
    }
}

impl Default for Pixels {
    fn default() -> Pixels {
        Vec::new().into()
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Pixels {
        self.to_vec().into()
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Pixels) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}
