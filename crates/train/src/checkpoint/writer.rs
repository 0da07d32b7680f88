//! A thread that writes checkpoints while training continues.

use super::{RunMetadata, Snapshot, Store};
use crate::{Error, Result};
use files::atomic;
use files::disk::Sink;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The files that are written of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Checkpoint,
    CheckpointAndWeights,
    Weights,
}

/// The thread, and the only snapshot, which moves between it and the training loop.
///
/// Training continues while the snapshot is written. Until then no other can be taken, which bounds
/// memory and the disk's work.
pub(crate) struct WriterThread {
    sender: Option<Sender<(Box<Snapshot>, Files)>>,
    written: Receiver<(Box<Snapshot>, Result<()>)>,
    idle: Option<Box<Snapshot>>,
    /// The files that are being written, and the step of the last checkpoint that has been.
    pending: Option<Files>,
    saved: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

/// Writes checkpoints and weights of a run.
pub(crate) struct CheckpointWriter {
    pub store: Store,
    pub run: RunMetadata,
    /// The logs; a checkpoint records their lengths, so they are made durable before it.
    pub logs: Vec<Box<dyn Sink>>,
    pub weights: PathBuf,
}

impl WriterThread {
    pub(crate) fn start(mut writer: CheckpointWriter) -> WriterThread {
        let (sender, receiver) = channel::<(Box<Snapshot>, Files)>();
        let (done, written) = channel();
        let work = move || {
            for (snapshot, files) in receiver {
                let result = writer.write(&snapshot, files);
                if done.send((snapshot, result)).is_err() {
                    break; // the training loop has ended
                }
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_string()).spawn(work);
        let thread = thread.expect("a thread can be started");
        WriterThread {
            sender: Some(sender),
            written,
            idle: Some(Box::default()),
            pending: None,
            saved: None,
            thread: Some(thread),
        }
    }

    /// The snapshot to fill, unless it is being written.
    ///
    /// # Errors
    /// If the last snapshot could not be written.
    pub(crate) fn free(&mut self) -> Result<Option<&mut Snapshot>> {
        if let Ok(written) = self.written.try_recv() {
            self.take_back(written)?;
        }
        Ok(self.idle.as_deref_mut())
    }

    /// Waits until the last snapshot has been written.
    ///
    /// # Errors
    /// If it could not be written.
    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.idle.is_some() {
            return Ok(());
        }
        let written = self.written.recv().expect("the thread runs until this is dropped");
        self.take_back(written)
    }

    fn take_back(&mut self, (snapshot, result): (Box<Snapshot>, Result<()>)) -> Result<()> {
        let step = snapshot.progress.step;
        self.idle = Some(snapshot);
        result?;
        if self.pending.take() != Some(Files::Weights) {
            self.saved = Some(step);
        }
        Ok(())
    }

    /// The step of the last checkpoint that is durable.
    pub(crate) fn saved(&self) -> Option<u64> {
        self.saved
    }

    /// As [`wait`](Self::wait), at most for `timeout`. Returns whether the snapshot has been
    /// written.
    ///
    /// # Errors
    /// As `wait`.
    pub(crate) fn wait_for(&mut self, timeout: Duration) -> Result<bool> {
        if self.idle.is_none() {
            match self.written.recv_timeout(timeout) {
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("it runs until this is dropped")
                }
                Ok(written) => self.take_back(written)?,
            }
        }
        Ok(true)
    }

    /// Sends the snapshot to the thread.
    ///
    /// # Panics
    /// If it is not [free](Self::free).
    pub(crate) fn send(&mut self, files: Files) {
        let snapshot = self.idle.take().expect("a free snapshot");
        self.pending = Some(files);
        let sender = self.sender.as_ref().expect("open until dropped");
        sender.send((snapshot, files)).expect("the thread runs until this is dropped");
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl CheckpointWriter {
    pub(super) fn write(&mut self, snapshot: &Snapshot, files: Files) -> Result<()> {
        if let Some(tensor) = self.run.first_not_finite(snapshot) {
            let step = snapshot.progress.step;
            return Err(Error::NotFinite { step, tensor });
        }
        if files != Files::Weights {
            let path = &self.weights.with_file_name("metrics.jsonl");
            for log in &mut self.logs {
                log.sync().map_err(|source| files::Error::Write { path: path.clone(), source })?;
            }
            self.store.save(&self.run, snapshot)?;
        }
        if files != Files::Checkpoint {
            let contents = self.run.weights(snapshot);
            let write = |file: &mut dyn std::io::Write| contents.write(file);
            atomic::write_on(&*self.store.disk, &self.weights, contents.bytes(), write)?;
        }
        Ok(())
    }
}
