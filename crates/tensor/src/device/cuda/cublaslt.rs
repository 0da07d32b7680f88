//! Matrix products by cuBLASLt, where it is installed and selected.
//!
//! A GPU uses it after [`Cuda::use_cublaslt`], or offers its algorithms to [tuning](super::tune)
//! after [`Cuda::offer_cublaslt`]. The first time that a product occurs (for a recorded step: in
//! the rehearsal before it) the library's heuristic is queried for its best algorithms. The chosen
//! one runs once on scratch memory, so that the library loads everything it needs before a
//! recording. From then on a product is one call on the GPU's stream. The workspace is a slot of
//! the caller.
//!
//! The same library version on the same GPU finds the same algorithm, and only algorithms with a
//! fixed summation order are allowed: a run is repeatable there, and may differ elsewhere.
//! Convolutions are computed by [cuDNN](super::cudnn).

mod engine;
mod library;

pub(super) use engine::Engine;
pub use library::CublasLt;

use super::driver::{Memory, failed};
use super::tune::ALIGNMENT;
use super::{Cuda, State, number_of_reservation};
use crate::{Result, Slot};
use engine::{Key, MAX_CANDIDATES};

/// C = A B, of matrices of floats whose rows lie one after the other without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// Rows of C and of A.
    pub rows: usize,
    /// Columns of C and of B.
    pub columns: usize,
    /// Columns of A and rows of B.
    pub depth: usize,
    /// A's transpose lies in memory, which has `depth` rows; and B's, which has `columns` rows.
    pub transposed: [bool; 2],
}

/// A workspace begins at a multiple of this.
const WORKSPACE_ALIGNMENT: usize = 256;
/// No algorithm requires more of its operands.
const MAX_ALIGNMENT: u64 = 256;

impl Cuda {
    /// From now on [`multiply`](Self::multiply) is cuBLASLt's. What was recorded before is recorded
    /// anew.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if it cannot work with this GPU.
    pub fn use_cublaslt(&mut self, library: &'static CublasLt) -> Result<()> {
        self.take_cublaslt(library, false)
    }

    /// From now on its algorithms are among those that can be [chosen](super::tune).
    ///
    /// # Errors
    /// As [`use_cublaslt`](Self::use_cublaslt).
    pub fn offer_cublaslt(&mut self, library: &'static CublasLt) -> Result<()> {
        self.take_cublaslt(library, true)
    }

    fn take_cublaslt(&mut self, library: &'static CublasLt, is_offered: bool) -> Result<()> {
        assert!(self.state == State::Working, "while something is recorded");
        self.context.bind()?;
        self.cublaslt = Some(Engine::start(library, is_offered)?);
        self.reservation = number_of_reservation();
        Ok(())
    }

    /// The library, if it is in use.
    pub fn cublaslt(&self) -> Option<&'static CublasLt> {
        self.cublaslt.as_ref().map(|engine| engine.library)
    }

    /// Whether products are its own without being chosen.
    pub(super) fn prefers_cublaslt(&self) -> bool {
        self.cublaslt.as_ref().is_some_and(|engine| !engine.is_offered)
    }

    /// C = A B in the GPU's [precision](Self::precision), by cuBLASLt's algorithm of this
    /// number; false, and nothing done, if it is not in use or has no such algorithm. What lies in
    /// `workspace` may be overwritten.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If a matrix is not of the product's size.
    pub fn multiply(
        &mut self,
        product: &Product,
        number: usize,
        [a, b, c]: [Slot; 3],
        workspace: Slot,
    ) -> Result<bool> {
        let Some(mut engine) = self.cublaslt.take() else { return Ok(false) };
        let done = self.multiply_with(&mut engine, (product, number), [a, b, c], workspace);
        self.cublaslt = Some(engine);
        done
    }

    /// How many algorithms [`multiply`](Self::multiply) can use for this.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn multiply_algorithms(
        &mut self,
        product: &Product,
        slots: [Slot; 3],
        workspace: Slot,
    ) -> Result<usize> {
        if product.floats().contains(&0) {
            return Ok(0);
        }
        let Some(mut engine) = self.cublaslt.take() else { return Ok(0) };
        let (key, _) = self.key(&engine, product, slots, workspace);
        let found = engine.prepare(&key).map(|product| product.map_or(0, |it| it.candidates.len()));
        self.cublaslt = Some(engine);
        found
    }

    /// The key, and where the workspace begins.
    fn key(
        &self,
        engine: &Engine,
        product: &Product,
        slots: [Slot; 3],
        workspace: Slot,
    ) -> (Key, u64) {
        let addresses = slots.map(|slot| self.address_of::<f32>(slot));
        let (at, bytes) = aligned(self.address_of::<f32>(workspace), workspace.range().len());
        // What is offered must not depend on where operands happen to lie: it is named by number.
        let (most_alignment, workspace, most) = if !engine.is_offered {
            (MAX_ALIGNMENT, bytes, 1)
        } else {
            (ALIGNMENT as u64, roundly(workspace.range().len()), MAX_CANDIDATES)
        };
        let alignments = addresses.map(|at| 1 << (at | most_alignment).trailing_zeros());
        let precision = self.precision;
        (Key { product: *product, precision, workspace, alignments, most }, at)
    }

    fn multiply_with(
        &mut self,
        engine: &mut Engine,
        (product, number): (&Product, usize),
        slots: [Slot; 3],
        workspace: Slot,
    ) -> Result<bool> {
        for (slot, floats) in slots.iter().zip(product.floats()) {
            assert_eq!(slot.len(), floats, "a slot of {} for {product:?}", slot.shape());
        }
        if product.floats().contains(&0) {
            return Ok(false);
        }
        self.context.bind()?;
        let (key, at) = self.key(engine, product, slots, workspace);
        let is_known = engine.products.contains_key(&key);
        assert!(is_known || self.state != State::Recording, "{product:?} was not rehearsed");
        let Some(prepared) = engine.prepare(&key)? else { return Ok(false) };
        let Some(&candidate) = prepared.candidates.get(number) else { return Ok(false) };
        if !candidate.was_tried {
            assert!(self.state != State::Recording, "{product:?} was not rehearsed");
            self.try_out(engine, (&key, number), candidate.workspace)?;
        }
        self.launches += 1;
        if self.state == State::Rehearsing {
            return Ok(true);
        }
        self.follow()?;
        let addresses = slots.map(|slot| self.address_of::<f32>(slot));
        // SAFETY: the slots have the product's sizes, and the workspace that the
        // candidate was found for.
        unsafe { engine.multiply((&key, number), addresses, at, self.stream.raw.cast())? };
        self.launched("cublasLtMatmul")?;
        Ok(true)
    }

    /// Runs an algorithm once on scratch memory.
    fn try_out(
        &self,
        engine: &mut Engine,
        candidate: (&Key, usize),
        workspace: usize,
    ) -> Result<()> {
        let mut bytes = 0;
        let offsets = candidate.0.product.floats().map(|floats| {
            let offset = bytes;
            bytes += (floats * size_of::<f32>()).next_multiple_of(WORKSPACE_ALIGNMENT);
            offset as u64
        });
        let memory = Memory::new(&self.context, bytes + workspace);
        let memory = memory.map_err(failed("memory to try a product of cuBLASLt's on"))?;
        // SAFETY: the memory has so many bytes, and is waited for below before it goes.
        unsafe { self.stream.fill(memory.base(), 0, bytes)? };
        let (addresses, at) = (offsets.map(|at| memory.base() + at), memory.base() + bytes as u64);
        // SAFETY: the memory holds the operands one after the other, and then the workspace.
        let started = unsafe { engine.multiply(candidate, addresses, at, self.stream.raw.cast()) };
        self.wait_for_others()?;
        let done = self.stream.synchronize("cublasLtMatmul"); // before the memory goes
        started.and(done)?;
        let product =
            engine.products.get_mut(candidate.0).and_then(Option::as_mut).expect("it was found");
        product.candidates[candidate.1].was_tried = true;
        Ok(())
    }
}

impl Product {
    fn floats(&self) -> [usize; 3] {
        [self.rows * self.depth, self.depth * self.columns, self.rows * self.columns]
    }
}

/// As much of so many bytes as can be a workspace, wherever they lie.
fn roundly(bytes: usize) -> usize {
    let lost = WORKSPACE_ALIGNMENT - size_of::<f32>();
    bytes.saturating_sub(lost) / WORKSPACE_ALIGNMENT * WORKSPACE_ALIGNMENT
}

/// The part of so many bytes at an address where a workspace can lie, and its bytes.
fn aligned(at: u64, bytes: usize) -> (u64, usize) {
    let from = at.next_multiple_of(WORKSPACE_ALIGNMENT as u64);
    match bytes.checked_sub((from - at) as usize) {
        Some(bytes) if bytes > 0 => (from, bytes),
        _ => (0, 0),
    }
}
