//! Products of matrices by cuBLASLt, where it is installed and asked for.
//!
//! It takes part only once a card is [told to use it](Cuda::use_cublaslt). For each product it is
//! asked once which of its ways it holds for the best: the first time that the product is met,
//! which for a recorded step is the rehearsal before it. That way is tried on memory of its own, so
//! that whatever the library loads or sets up is there before anything is recorded. From then on a
//! product is one call on the card's stream. Its workspace is a slot of the caller's: it takes no
//! memory of its own.
//!
//! The same library on the same card finds the same way, and only such are allowed as add parts of
//! a sum up in an order that is theirs; so a run repeats its bits there, and has others elsewhere.
//! Convolutions are not its business: those are [cuDNN's](super::cudnn).

mod library;

pub use library::CublasLt;

use super::driver::{Memory, failed};
use super::library::{Handle, Raw, SUCCESS, Status};
use super::{Cuda, State, number_of_reservation};
use crate::{Precision, Result, Slot};
use library::{
    Algorithm, COMPUTE_BF16, COMPUTE_F32, COMPUTE_TF32, DESC_TRANSPOSE, Found, NOT_SUPPORTED,
    PREFER_ALIGNMENT, PREFER_REDUCTION, PREFER_WORKSPACE, R_32F, REDUCE_IN_WORKSPACE, TRANSPOSED,
};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr;

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

/// cuBLASLt for one card, with the ways it has found.
#[derive(Debug)]
pub(super) struct Engine {
    library: &'static CublasLt,
    ways: HashMap<Key, Option<Way>>,
    handle: Handle,
}

/// All that decides which way is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    product: Product,
    precision: Precision,
    /// Bytes.
    workspace: usize,
    /// What divides the addresses of A, B and C.
    alignments: [u32; 3],
}

/// A product as cuBLASLt is to do it. It thinks in columns: a matrix of rows is its transpose, so
/// that it makes C's transpose, of B's and A's in this order.
#[derive(Debug)]
struct Way {
    product: Descriptor,
    first: Descriptor,
    second: Descriptor,
    to: Descriptor,
    algorithm: Algorithm,
    /// Bytes.
    workspace: usize,
}

type Descriptor = Handle;

/// A workspace begins at a multiple of this.
const WORKSPACE_ALIGNMENT: usize = 256;
/// No way asks for more of its operands.
const MOST_ALIGNMENT: u64 = 256;

impl Cuda {
    /// From now on [`multiply`](Self::multiply) is cuBLASLt's. What was recorded before is recorded
    /// anew.
    ///
    /// # Errors
    /// [`Error::Card`](crate::Error::Card) if it cannot work with this card.
    pub fn use_cublaslt(&mut self, library: &'static CublasLt) -> Result<()> {
        assert!(self.state == State::Working, "while something is recorded");
        self.context.bind()?;
        let f = &library.functions;
        let handle = created(library, "start", f.destroy, |raw| {
            // SAFETY: writes a handle for the card whose context is bound.
            unsafe { (f.create)(raw) }
        })?;
        self.cublaslt = Some(Engine { library, ways: HashMap::new(), handle });
        self.reservation = number_of_reservation();
        Ok(())
    }

    /// The library, if it is in use.
    pub fn cublaslt(&self) -> Option<&'static CublasLt> {
        self.cublaslt.as_ref().map(|engine| engine.library)
    }

    /// C = A B in the card's [precision](Self::precision); false, and nothing done, if cuBLASLt is
    /// not in use or has no way to do it. What lies in `workspace` may be overwritten.
    ///
    /// # Errors
    /// [`Error::Card`](crate::Error::Card).
    ///
    /// # Panics
    /// If a matrix is not of the product's size.
    pub fn multiply(
        &mut self,
        product: &Product,
        [a, b, c]: [Slot; 3],
        workspace: Slot,
    ) -> Result<bool> {
        let Some(mut engine) = self.cublaslt.take() else { return Ok(false) };
        let done = self.multiply_with(&mut engine, product, [a, b, c], workspace);
        self.cublaslt = Some(engine);
        done
    }

    fn multiply_with(
        &mut self,
        engine: &mut Engine,
        product: &Product,
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
        let addresses = slots.map(|slot| self.address_of::<f32>(slot));
        let (at, bytes) = aligned(self.address_of::<f32>(workspace), workspace.range().len());
        let alignments = addresses.map(|at| 1 << (at | MOST_ALIGNMENT).trailing_zeros());
        let precision = self.precision;
        let key = Key { product: *product, precision, workspace: bytes, alignments };
        if !engine.ways.contains_key(&key) {
            assert!(self.state != State::Recording, "{product:?} was not rehearsed");
            let way = engine.find(&key)?;
            if let Some(way) = &way {
                self.try_out(engine, way, product)?;
            }
            engine.ways.insert(key, way);
        }
        let Some(way) = &engine.ways[&key] else { return Ok(false) };
        if self.state == State::Rehearsing {
            return Ok(true);
        }
        self.follow()?;
        // SAFETY: the slots have the product's sizes, and the workspace those that the way was
        // looked for with.
        unsafe { engine.start(way, addresses, at, self.stream.raw.cast())? };
        self.launched("cublasLtMatmul")?;
        Ok(true)
    }

    /// Goes that way once, on memory that nobody needs.
    fn try_out(&self, engine: &Engine, way: &Way, product: &Product) -> Result<()> {
        let mut bytes = 0;
        let offsets = product.floats().map(|floats| {
            let offset = bytes;
            bytes += (floats * size_of::<f32>()).next_multiple_of(WORKSPACE_ALIGNMENT);
            offset as u64
        });
        let memory = Memory::new(&self.context, bytes + way.workspace);
        let memory = memory.map_err(failed("memory to try a product of cuBLASLt's on"))?;
        self.stream.fill(memory.base(), 0, bytes)?;
        let (addresses, at) = (offsets.map(|at| memory.base() + at), memory.base() + bytes as u64);
        // SAFETY: the memory holds the operands one after the other, and then the workspace.
        let started = unsafe { engine.start(way, addresses, at, self.stream.raw.cast()) };
        self.wait_for_others()?;
        let done = self.stream.synchronize("cublasLtMatmul"); // before the memory goes
        started.and(done)
    }
}

impl Product {
    fn floats(&self) -> [usize; 3] {
        [self.rows * self.depth, self.depth * self.columns, self.rows * self.columns]
    }
}

impl Engine {
    /// The way that cuBLASLt holds for the best, if it has any.
    fn find(&self, key: &Key) -> Result<Option<Way>> {
        let (library, f) = (self.library, &self.library.functions);
        let Product { rows, columns, depth, transposed: [a, b] } = key.product;
        let product = self.product(key.precision, [b, a])?;
        let first = self.layout([columns, depth], b)?;
        let second = self.layout([depth, rows], a)?;
        let to = self.layout([columns, rows], false)?;
        let preference = self.preference(key)?;
        let (mut found, mut count) = (Found::default(), 0);
        // SAFETY: all descriptors are alive; writes one result at most and their number.
        let status = unsafe {
            let (handle, desc, wish) = (self.handle.raw, product.raw, preference.raw);
            let (a, b, c) = (first.raw, second.raw, to.raw);
            (f.find)(handle, desc, a, b, c, c, wish, 1, &mut found, &mut count)
        };
        if status == NOT_SUPPORTED {
            return Ok(None);
        }
        library.check(status, "choice of a way to multiply")?;
        if count == 0 || found.state != SUCCESS {
            return Ok(None);
        }
        let Found { algorithm, workspace, .. } = found;
        Ok(Some(Way { product, first, second, to, algorithm, workspace }))
    }

    fn product(&self, precision: Precision, transposed: [bool; 2]) -> Result<Descriptor> {
        let (library, f) = (self.library, &self.library.functions);
        let compute = match precision {
            Precision::F32 => COMPUTE_F32,
            Precision::Tf32 => COMPUTE_TF32,
            Precision::Bf16 => COMPUTE_BF16,
        };
        let product = created(library, "product", f.destroy_product, |raw| {
            // SAFETY: writes a descriptor.
            unsafe { (f.create_product)(raw, compute, R_32F) }
        })?;
        for (attribute, transposed) in DESC_TRANSPOSE.into_iter().zip(transposed) {
            let operation: c_int = if transposed { TRANSPOSED } else { 0 };
            // SAFETY: the descriptor is alive; the attribute is a cublasOperation_t.
            let status = unsafe {
                let (at, bytes) = (ptr::from_ref(&operation).cast(), size_of::<c_int>());
                (f.set_product)(product.raw, attribute, at, bytes)
            };
            library.check(status, "product")?;
        }
        Ok(product)
    }

    /// A factor of so many rows and columns as cuBLASLt sees them, or such whose transpose lies in
    /// memory. A column follows the one before without a gap.
    fn layout(&self, [rows, columns]: [usize; 2], transposed: bool) -> Result<Descriptor> {
        let f = &self.library.functions;
        let [rows, columns] = if transposed { [columns, rows] } else { [rows, columns] };
        created(self.library, "layout", f.destroy_layout, |raw| {
            // SAFETY: writes a descriptor.
            unsafe { (f.create_layout)(raw, R_32F, rows as u64, columns as u64, rows as i64) }
        })
    }

    fn preference(&self, key: &Key) -> Result<Descriptor> {
        let (library, f) = (self.library, &self.library.functions);
        let preference = created(library, "preference", f.destroy_preference, |raw| {
            // SAFETY: writes a descriptor.
            unsafe { (f.create_preference)(raw) }
        })?;
        let set = |attribute: c_int, value: &[u8]| {
            // SAFETY: the descriptor is alive; the value has the attribute's size, as is said
            // below.
            let status = unsafe {
                (f.set_preference)(preference.raw, attribute, value.as_ptr().cast(), value.len())
            };
            library.check(status, "preference")
        };
        // A uint64_t; the others are uint32_t.
        set(PREFER_WORKSPACE, &(key.workspace as u64).to_ne_bytes())?;
        set(PREFER_REDUCTION, &REDUCE_IN_WORKSPACE.to_ne_bytes())?;
        let [a, b, c] = key.alignments;
        for (attribute, alignment) in PREFER_ALIGNMENT.into_iter().zip([b, a, c, c]) {
            set(attribute, &alignment.to_ne_bytes())?;
        }
        Ok(preference)
    }

    /// Has the card multiply.
    ///
    /// # Safety
    /// A, B and C have the sizes of the product that the way was found for, and the workspace what
    /// it asks for.
    unsafe fn start(
        &self,
        way: &Way,
        [a, b, c]: [u64; 3],
        workspace: u64,
        stream: *mut c_void,
    ) -> Result<()> {
        let (one, zero) = (1.0f32, 0.0f32);
        let [one, zero] = [&one, &zero].map(|factor| ptr::from_ref(factor).cast::<c_void>());
        let (a, b, c) = (a as *const c_void, b as *const c_void, c as *mut c_void);
        // SAFETY: the factors are read during the call; descriptors are alive; the rest is the
        // caller's.
        let status = unsafe {
            (self.library.functions.multiply)(
                self.handle.raw,
                way.product.raw,
                one,
                b,
                way.first.raw,
                a,
                way.second.raw,
                zero,
                c,
                way.to.raw,
                c,
                way.to.raw,
                &way.algorithm,
                workspace as *mut c_void,
                way.workspace,
                stream,
            )
        };
        self.library.check(status, "product")
    }
}

fn created(
    library: &CublasLt,
    what: &str,
    destroy: unsafe extern "C" fn(Raw) -> Status,
    create: impl FnOnce(*mut Raw) -> Status,
) -> Result<Handle> {
    Handle::new(destroy, create).map_err(|status| library.failed(status, what))
}

/// The part of so many bytes at an address where a workspace can lie, and its bytes.
fn aligned(at: u64, bytes: usize) -> (u64, usize) {
    let from = at.next_multiple_of(WORKSPACE_ALIGNMENT as u64);
    match bytes.checked_sub((from - at) as usize) {
        Some(bytes) if bytes > 0 => (from, bytes),
        _ => (0, 0),
    }
}
