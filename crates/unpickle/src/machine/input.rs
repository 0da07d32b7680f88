//! Reads the bytes of a pickle.

use super::PickleMachine;
use crate::{Callable, Error, Result};

impl<'a, G: Callable> PickleMachine<'a, G> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let input: &'a [u8] = self.arena.input;
        let end = self.at.checked_add(len).filter(|&end| end <= input.len());
        let end = end.ok_or(Error::Truncated { at: input.len() })?;
        let bytes = &input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes"))
    }

    /// A length stored in N bytes.
    pub(super) fn len<const N: usize>(&mut self) -> Result<usize> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(self.take(N)?);
        let len = u64::from_le_bytes(word);
        usize::try_from(len).map_err(|_| Error::Truncated { at: self.arena.input.len() })
    }

    /// The bytes up to the next line feed, which is consumed.
    pub(super) fn line(&mut self, longest: usize) -> Result<&'a [u8]> {
        let rest = &self.arena.input[self.at..];
        let within = &rest[..rest.len().min(longest)];
        let Some(len) = within.iter().position(|&byte| byte == b'\n') else {
            return Err(if within.len() < rest.len() {
                self.wrong("a line without an end")
            } else {
                Error::Truncated { at: self.arena.input.len() }
            });
        };
        let line = self.take(len)?;
        self.at += 1;
        Ok(line)
    }
}
