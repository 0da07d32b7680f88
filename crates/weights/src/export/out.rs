//! A file that is being exported: written in pieces under a temporary name, checked, and renamed.

use crate::Result;
use files::Output;
use std::path::Path;

/// Bytes written at a time, after which progress is reported.
const PIECE: usize = 4 << 20;

/// Why writing ended early.
pub(super) enum Stopped {
    /// The caller asked for it.
    ByCaller,
    Failed(files::Error),
}

impl From<files::Error> for Stopped {
    fn from(error: files::Error) -> Stopped {
        Stopped::Failed(error)
    }
}

/// The result of writing a part.
pub(super) type Written = std::result::Result<(), Stopped>;

/// A file that is being written.
pub(super) struct Out<'a> {
    output: Output,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl<'a> Out<'a> {
    pub fn create(path: &Path, progress: &'a mut dyn FnMut(u64, u64) -> bool) -> Result<Out<'a>> {
        Ok(Out { output: Output::create(path)?, done: 0, total: 0, progress })
    }

    /// Sets the size of the whole file, for progress.
    pub fn expect(&mut self, total: u64) {
        self.total = total;
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Written {
        for piece in bytes.chunks(PIECE) {
            self.output.write(piece)?;
            self.done += piece.len() as u64;
            if !(self.progress)(self.done, self.total.max(self.done)) {
                return Err(Stopped::ByCaller);
            }
        }
        Ok(())
    }

    /// Continues at a byte of the file.
    pub fn seek(&mut self, position: u64) -> Written {
        Ok(self.output.seek(position)?)
    }

    /// Whether everything was written; false if the caller stopped it.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File).
    pub fn finished(&self, written: Written) -> Result<bool> {
        match written {
            Ok(()) => Ok(true),
            Err(Stopped::ByCaller) => Ok(false),
            Err(Stopped::Failed(error)) => Err(error.into()),
        }
    }

    /// Gives the file its name if `check`, which receives its present path, finds no fault. Returns
    /// its size; `None` if the caller stopped it: `check` asks its second argument between its
    /// parts whether to go on, and returns false if not.
    pub fn finish(
        self,
        check: impl FnOnce(&Path, &mut dyn FnMut() -> bool) -> Result<bool>,
    ) -> Result<Option<u64>> {
        let Out { mut output, done, progress, .. } = self;
        if !check(output.written()?, &mut || progress(done, done))? {
            return Ok(None);
        }
        output.finish()?;
        Ok(Some(done))
    }
}
