//! The batches of an epoch as an iterator.

use super::{LoadedBatch, Loader, LoaderMode};
use crate::Result;

/// The batches of an epoch that have not been delivered yet, in order. Made by [`Loader::epoch`].
///
/// After an error it ends; another [`epoch`](Loader::epoch) continues where the loader is.
pub struct Epoch<'a> {
    loader: &'a mut Loader,
    is_over: bool,
}

impl Loader {
    /// The rest of the current epoch: all of it, if the loader is new or has completed an epoch. A
    /// test that has ended starts over.
    pub fn epoch(&mut self) -> Epoch<'_> {
        if self.has_ended && self.plan.mode == LoaderMode::Testing {
            self.start_at(0, 0);
        }
        Epoch { loader: self, is_over: false }
    }
}

impl Iterator for Epoch<'_> {
    type Item = Result<LoadedBatch>;

    fn next(&mut self) -> Option<Result<LoadedBatch>> {
        if self.is_over {
            return None;
        }
        let batch = self.loader.next_batch().transpose();
        self.is_over = match &batch {
            Some(Ok(_)) => self.loader.has_ended,
            Some(Err(_)) | None => true,
        };
        batch
    }
}

impl std::iter::FusedIterator for Epoch<'_> {}
