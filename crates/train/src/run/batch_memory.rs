//! Host memory for training batches from which the device copies by itself.

use crate::executor::Executor;
use data::HostMemory;
use files::numbers::mebibytes;

/// Hands out an executor's memory to a loader, and counts it.
pub(super) struct BatchMemory<'a> {
    executor: &'a dyn Executor,
    batches: usize,
    bytes: usize,
    /// Why later batches have ordinary memory.
    failure: Option<String>,
}

impl<'a> BatchMemory<'a> {
    pub(super) fn of(executor: &'a dyn Executor) -> BatchMemory<'a> {
        BatchMemory { executor, batches: 0, bytes: 0, failure: None }
    }

    /// Memory for the images of a batch; `None` for ordinary memory.
    pub(super) fn make(&mut self, bytes: usize) -> Option<Box<dyn HostMemory>> {
        if self.failure.is_some() {
            return None;
        }
        match self.executor.batch_memory(bytes) {
            Ok(memory) => {
                let taken = usize::from(memory.is_some());
                self.batches += taken;
                self.bytes += taken * bytes;
                memory
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                None
            }
        }
    }

    /// What to report: how much memory is pinned, or why it is not.
    pub(super) fn note(&self) -> Option<String> {
        let Self { batches, bytes, failure, .. } = self;
        let pinned =
            format!("{batches} batches of images in {} of pinned memory", mebibytes(*bytes));
        match failure {
            Some(why) => Some(format!(
                "{pinned}, the others in ordinary memory, from which uploads are slower: {why}"
            )),
            None => (*batches > 0).then_some(pinned),
        }
    }
}
