//! Products as cuBLASLt describes them, and its candidate algorithms for each.

use super::Product;
use super::library::{
    Algorithm, COMPUTE_BF16, COMPUTE_F32, COMPUTE_TF32, CublasLt, DESC_TRANSPOSE, Found,
    NOT_SUPPORTED, PREFER_ALIGNMENT, PREFER_REDUCTION, PREFER_WORKSPACE, R_32F,
    REDUCE_IN_WORKSPACE, TRANSPOSED,
};
use crate::device::cuda::library::{Handle, SUCCESS};
use crate::{Precision, Result};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The number of algorithms that it is queried for.
pub const MAX_CANDIDATES: usize = 8;

/// cuBLASLt for one GPU, with the products it has prepared.
#[derive(Debug)]
pub(in crate::device::cuda) struct Engine {
    pub library: &'static CublasLt,
    /// It computes a product only if that is chosen.
    pub is_offered: bool,
    pub products: HashMap<Key, Option<PreparedProduct>>,
    handle: Handle,
}

/// All that decides which algorithms are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub product: Product,
    pub precision: Precision,
    /// Bytes.
    pub workspace: usize,
    /// What divides the addresses of A, B and C.
    pub alignments: [u32; 3],
    /// How many it is asked for.
    pub most: usize,
}

/// A product with its descriptors, and the algorithms for it. cuBLASLt's matrices are stored by
/// columns: a matrix of rows is its transpose, so it computes C's transpose from B's and A's.
#[derive(Debug)]
pub struct PreparedProduct {
    product: Descriptor,
    first: Descriptor,
    second: Descriptor,
    to: Descriptor,
    /// Best first, as cuBLASLt ranks them.
    pub candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    algorithm: Algorithm,
    /// Bytes.
    pub workspace: usize,
    pub was_tried: bool,
}

type Descriptor = Handle;

impl Engine {
    /// One for the GPU whose context is bound.
    pub fn start(library: &'static CublasLt, is_offered: bool) -> Result<Engine> {
        let f = &library.functions;
        let handle = library.create("start", f.destroy, |raw| {
            // SAFETY: writes a handle for the GPU whose context is bound.
            unsafe { (f.create)(raw) }
        })?;
        Ok(Engine { library, is_offered, products: HashMap::new(), handle })
    }

    /// A product with its algorithms, found now or before; `None` if it is not supported.
    pub fn prepare(&mut self, key: &Key) -> Result<Option<&PreparedProduct>> {
        if !self.products.contains_key(key) {
            let product = self.find(key)?;
            self.products.insert(*key, product);
        }
        Ok(self.products[key].as_ref())
    }

    /// The product with the algorithms that cuBLASLt finds, if there are any.
    fn find(&self, key: &Key) -> Result<Option<PreparedProduct>> {
        let (library, f) = (self.library, &self.library.functions);
        let Product { rows, columns, depth, transposed: [a, b] } = key.product;
        let product = self.product(key.precision, [b, a])?;
        let first = self.layout([columns, depth], b)?;
        let second = self.layout([depth, rows], a)?;
        let to = self.layout([columns, rows], false)?;
        let preference = self.preference(key)?;
        let (mut results, mut count) = ([Found::default(); MAX_CANDIDATES], 0);
        // SAFETY: all descriptors are alive; writes as many results at most, and their number.
        let status = unsafe {
            let (handle, desc, wish) = (self.handle.raw, product.raw, preference.raw);
            let (a, b, c) = (first.raw, second.raw, to.raw);
            let (most, at) = (key.most as c_int, results.as_mut_ptr());
            (f.find)(handle, desc, a, b, c, c, wish, most, at, &mut count)
        };
        if status == NOT_SUPPORTED {
            return Ok(None);
        }
        library.check(status, "the heuristic for algorithms")?;
        let results = results.iter().take(count as usize).filter(|found| found.state == SUCCESS);
        let candidate = |found: &Found| {
            let Found { algorithm, workspace, .. } = *found;
            Candidate { algorithm, workspace, was_tried: false }
        };
        let candidates: Vec<Candidate> = results.map(candidate).collect();
        let prepared = PreparedProduct { product, first, second, to, candidates };
        Ok((!prepared.candidates.is_empty()).then_some(prepared))
    }

    fn product(&self, precision: Precision, transposed: [bool; 2]) -> Result<Descriptor> {
        let (library, f) = (self.library, &self.library.functions);
        let compute = match precision {
            Precision::F32 => COMPUTE_F32,
            Precision::Tf32 => COMPUTE_TF32,
            Precision::Bf16 => COMPUTE_BF16,
        };
        let product = library.create("product", f.destroy_product, |raw| {
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
        self.library.create("layout", f.destroy_layout, |raw| {
            // SAFETY: writes a descriptor.
            unsafe { (f.create_layout)(raw, R_32F, rows as u64, columns as u64, rows as i64) }
        })
    }

    fn preference(&self, key: &Key) -> Result<Descriptor> {
        let (library, f) = (self.library, &self.library.functions);
        let preference = library.create("preference", f.destroy_preference, |raw| {
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

    /// Has the GPU multiply.
    ///
    /// # Safety
    /// A, B and C have the sizes of the product that the candidate was found for, and the
    /// workspace the candidate's.
    pub unsafe fn multiply(
        &self,
        (key, number): (&Key, usize),
        [a, b, c]: [u64; 3],
        workspace: u64,
        stream: *mut c_void,
    ) -> Result<()> {
        let prepared = self.products[key].as_ref().expect("it was found");
        let candidate = &prepared.candidates[number];
        let (one, zero) = (1.0f32, 0.0f32);
        let [one, zero] = [&one, &zero].map(|factor| ptr::from_ref(factor).cast::<c_void>());
        let (a, b, c) = (a as *const c_void, b as *const c_void, c as *mut c_void);
        // SAFETY: the factors are read during the call; descriptors are alive; the rest is the
        // caller's.
        let status = unsafe {
            (self.library.functions.multiply)(
                self.handle.raw,
                prepared.product.raw,
                one,
                b,
                prepared.first.raw,
                a,
                prepared.second.raw,
                zero,
                c,
                prepared.to.raw,
                c,
                prepared.to.raw,
                &candidate.algorithm,
                workspace as *mut c_void,
                candidate.workspace,
                stream,
            )
        };
        self.library.check(status, "product")
    }
}
