//! A thread that writes checkpoints while training goes on.

use super::{Form, Snapshot, Store};
use crate::{Error, Result};
use files::atomic;
use files::disk::Sink;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is to be written of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Checkpoint,
    CheckpointAndWeights,
    Weights,
}

/// The thread, and the one snapshot that goes to and fro between it and the training.
///
/// The snapshot's memory is the second buffer: training goes on in the first. While it is being
/// written no other can be taken, so that memory and the disk's work are bounded.
pub(crate) struct Saver {
    to: Option<Sender<(Box<Snapshot>, What)>>,
    back: Receiver<(Box<Snapshot>, Result<()>)>,
    idle: Option<Box<Snapshot>>,
    /// What is being written, and the step of the last checkpoint that has been.
    under_way: Option<What>,
    saved: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread writes with.
pub(crate) struct Desk {
    pub store: Store,
    pub form: Form,
    /// The logs, which must be on disk before a checkpoint that says how long they are.
    pub logs: Vec<Box<dyn Sink>>,
    pub weights: PathBuf,
}

impl Saver {
    pub(crate) fn start(mut desk: Desk) -> Saver {
        let (to, jobs) = channel::<(Box<Snapshot>, What)>();
        let (done, back) = channel();
        let work = move || {
            for (snapshot, what) in jobs {
                let result = desk.write(&snapshot, what);
                if done.send((snapshot, result)).is_err() {
                    break; // nobody is there to hear it
                }
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_string()).spawn(work);
        let thread = thread.expect("a thread can be started");
        let idle = Some(Box::default());
        Saver { to: Some(to), back, idle, under_way: None, saved: None, thread: Some(thread) }
    }

    /// The snapshot to fill in, if it is not being written just now.
    ///
    /// # Errors
    /// What went wrong with the last one.
    pub(crate) fn free(&mut self) -> Result<Option<&mut Snapshot>> {
        if let Ok(back) = self.back.try_recv() {
            self.take_back(back)?;
        }
        Ok(self.idle.as_deref_mut())
    }

    /// Waits until the last snapshot has been written.
    ///
    /// # Errors
    /// What went wrong with it.
    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.idle.is_some() {
            return Ok(());
        }
        let back = self.back.recv().expect("the thread ends after this one");
        self.take_back(back)
    }

    fn take_back(&mut self, (snapshot, result): (Box<Snapshot>, Result<()>)) -> Result<()> {
        let step = snapshot.progress.step;
        self.idle = Some(snapshot);
        result?;
        if self.under_way.take() != Some(What::Weights) {
            self.saved = Some(step);
        }
        Ok(())
    }

    /// The step of the last checkpoint that has been written and made durable.
    pub(crate) fn saved(&self) -> Option<u64> {
        self.saved
    }

    /// As [`wait`](Self::wait), for so long at most. Returns whether it has been written.
    ///
    /// # Errors
    /// As `wait`.
    pub(crate) fn wait_for(&mut self, patience: Duration) -> Result<bool> {
        if self.idle.is_none() {
            match self.back.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => unreachable!("it ends after this one"),
                Ok(back) => self.take_back(back)?,
            }
        }
        Ok(true)
    }

    /// Has the snapshot written.
    ///
    /// # Panics
    /// If it has not come [back](Self::free).
    pub(crate) fn send(&mut self, what: What) {
        let snapshot = self.idle.take().expect("a free snapshot");
        self.under_way = Some(what);
        let to = self.to.as_ref().expect("open until the end");
        to.send((snapshot, what)).expect("the thread ends after this one");
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it panics nowhere, and there is nobody to tell
        }
    }
}

impl Desk {
    pub(super) fn write(&mut self, snapshot: &Snapshot, what: What) -> Result<()> {
        if let Some(tensor) = self.form.first_not_finite(snapshot) {
            let step = snapshot.progress.step;
            return Err(Error::NotFinite { step, tensor });
        }
        if what != What::Weights {
            let path = &self.weights.with_file_name("metrics.jsonl");
            for log in &mut self.logs {
                log.sync().map_err(|source| files::Error::Write { path: path.clone(), source })?;
            }
            self.store.save(&self.form, snapshot)?;
        }
        if what != What::Checkpoint {
            let contents = self.form.weights(snapshot);
            let write = |file: &mut dyn std::io::Write| contents.write(file);
            atomic::write_on(&*self.store.disk, &self.weights, contents.bytes(), write)?;
        }
        Ok(())
    }
}
