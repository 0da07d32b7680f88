//! Kernels: from the image in which they are embedded to a launch.

use super::driver::{self, Context, Stream, failed};
use super::{Cuda, image};
use crate::{Error, Result, Slot};
use bytemuck::{NoUninit, Pod, Zeroable};
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::Arc;

/// The kernels of one op, compiled for every GPU: the output of `cargo xtask kernels` for its
/// `.cu`.
#[derive(Debug)]
pub struct Image {
    /// The op, which is the file's name.
    pub op: &'static str,
    /// The file.
    pub bytes: &'static [u8],
}

/// The number of threads of a launch, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block along x, y and z.
    pub threads: [u32; 3],
    /// Bytes of shared memory beyond what the kernel declares.
    pub shared_bytes: u32,
}

impl Grid {
    /// The default number of threads of a block.
    pub const THREADS: u32 = 256;

    /// One thread for each of `n` elements; threads at the end of the last block have none.
    ///
    /// # Panics
    /// If that is more than a GPU can count.
    pub fn over(n: usize) -> Grid {
        Grid::of(n.div_ceil(Grid::THREADS as usize), Grid::THREADS)
    }

    /// `blocks` blocks of `threads` threads.
    ///
    /// # Panics
    /// If that is more than a GPU can count.
    pub fn of(blocks: usize, threads: u32) -> Grid {
        let x = i32::try_from(blocks).unwrap_or_else(|_| panic!("a grid of {blocks} blocks"));
        Grid { blocks: [x as u32, 1, 1], threads: [threads, 1, 1], shared_bytes: 0 }
    }

    /// True if no thread would run.
    pub fn is_empty(&self) -> bool {
        self.blocks.contains(&0) || self.threads.contains(&0)
    }
}

/// An address in a GPU's memory, which only kernels can access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Address(u64);

impl Address {
    /// The address of an empty or absent slot.
    pub const NOWHERE: Address = Address(0);

    pub(super) fn at(address: u64) -> Address {
        Address(address)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Kernel arguments: numbers, [`Address`]es, and `#[repr(C)]` structs of them.
pub trait Argument {
    /// Its bytes, with the kernel's layout.
    fn bytes(&self) -> &[u8];
}

impl<T: NoUninit> Argument for T {
    fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

/// An argument of a kernel that [`Cuda::launch_on`] launches.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// The address of a slot that the kernel reads.
    Read(Slot),
    /// The address of a slot that it writes.
    Write(Slot),
    /// A number, or a `#[repr(C)]` struct of numbers.
    Value(&'a dyn Argument),
}

impl fmt::Debug for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Read(slot) => f.debug_tuple("Read").field(slot).finish(),
            Operand::Write(slot) => f.debug_tuple("Write").field(slot).finish(),
            Operand::Value(value) => f.debug_tuple("Value").field(&value.bytes()).finish(),
        }
    }
}

impl Operand<'_> {
    /// Checks that no slot that is written overlaps another operand.
    fn check_all(kernel: &str, operands: &[Operand<'_>]) {
        for (idx, operand) in operands.iter().enumerate() {
            let Operand::Write(written) = operand else { continue };
            for (other_idx, other) in operands.iter().enumerate() {
                if let Operand::Read(other) | Operand::Write(other) = other
                    && other_idx != idx
                {
                    assert!(
                        !written.overlaps(other),
                        "{kernel}: operand {idx}, which is written, overlaps operand {other_idx}"
                    );
                }
            }
        }
    }
}

impl Cuda {
    /// Launches a kernel of a program's own on slots, after all earlier work, without `unsafe`:
    /// [`launch`](Self::launch) with checked operands.
    ///
    /// The kernel is trusted as any code of the program: with the given operands it may access only
    /// their elements. One that accesses others fails with an error, or changes values of other
    /// slots; it has no address of the host's memory. `cargo xtask kernels --at DIR` compiles it.
    ///
    /// # Errors
    /// [`Error::Misuse`] if an image or a kernel of this name belongs to another op;
    /// [`Error::Gpu`] with the kernel's name.
    ///
    /// # Panics
    /// If the kernel takes other arguments, in number or in size; if a slot that is written overlaps
    /// another operand; and as [`address`](Self::address).
    pub fn launch_on(
        &mut self,
        image: &'static Image,
        kernel: &'static str,
        grid: Grid,
        operands: &[Operand<'_>],
    ) -> Result<()> {
        let count = operands.len();
        assert!(count <= MAX_ARGUMENTS, "{kernel}: {count} operands, at most {MAX_ARGUMENTS}");
        Operand::check_all(kernel, operands);
        let mut addresses = [Address::NOWHERE; MAX_ARGUMENTS];
        for (address, operand) in addresses.iter_mut().zip(operands) {
            if let Operand::Read(slot) | Operand::Write(slot) = *operand {
                *address = self.address(slot);
            }
        }
        let mut arguments: [&dyn Argument; MAX_ARGUMENTS] = [&0u8; MAX_ARGUMENTS];
        for ((argument, address), operand) in arguments.iter_mut().zip(&addresses).zip(operands) {
            *argument = match operand {
                Operand::Value(value) => *value,
                Operand::Read(_) | Operand::Write(_) => address,
            };
        }
        // SAFETY: number and sizes of arguments are compared with the kernel's, the addresses are
        // those of slots in the reserved memory, and those that are written overlap no other. The
        // kernel's code is part of the program; it runs on the GPU, with addresses of its memory
        // only.
        unsafe { self.launch(image, kernel, grid, &arguments[..count]) }
    }
}

/// The maximum number of arguments of a kernel.
const MAX_ARGUMENTS: usize = 24;
/// More shared memory than this must be enabled explicitly.
const ORDINARY_SHARED_BYTES: u32 = 48 << 10;

/// A loaded kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    raw: sys::CUfunction,
    op: &'static str,
    /// Bytes of each parameter.
    parameters: [usize; MAX_ARGUMENTS],
    /// How many there are; `None` if the driver cannot tell.
    count: Option<usize>,
    shared_bytes: u32,
}

impl Function {
    /// Panics if the kernel takes other arguments, in number or in size.
    fn check_arguments(&self, kernel: &str, arguments: &[&dyn Argument]) {
        let Some(count) = self.count else { return };
        let wanted = &self.parameters[..count];
        let fit = wanted.len() == arguments.len()
            && wanted.iter().zip(arguments).all(|(&bytes, given)| bytes == given.bytes().len());
        if !fit {
            let given: Vec<usize> = arguments.iter().map(|given| given.bytes().len()).collect();
            panic!("{kernel} takes arguments of {wanted:?} bytes and was given {given:?}");
        }
    }
}

/// All loaded kernels.
#[derive(Debug)]
pub(super) struct Kernels {
    functions: HashMap<&'static str, Function>,
    modules: HashMap<&'static str, Module>,
    /// Of the GPU.
    capability: (u32, u32),
    _context: Arc<Context>,
}

#[derive(Debug)]
struct Module {
    raw: sys::CUmodule,
    /// The bytes of its image.
    image: &'static [u8],
}

// SAFETY: modules and functions belong to a context, not to a thread.
unsafe impl Send for Kernels {}

impl Kernels {
    pub fn new(context: &Arc<Context>, capability: (u32, u32)) -> Kernels {
        let (functions, modules) = (HashMap::new(), HashMap::new());
        Kernels { functions, modules, capability, _context: context.clone() }
    }

    /// The kernel, which is loaded on first use, for these arguments. The context is bound.
    pub fn find(
        &mut self,
        image: &'static Image,
        kernel: &'static str,
        arguments: &[&dyn Argument],
        grid: Grid,
    ) -> Result<Function> {
        let function = match self.functions.entry(kernel) {
            Entry::Occupied(known) if known.get().op != image.op => {
                return Err(twice("kernels", kernel, &[known.get().op, image.op]));
            }
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(room) => {
                let module = module(&mut self.modules, image, self.capability)?;
                room.insert(load(module, image.op, kernel)?)
            }
        };
        function.check_arguments(kernel, arguments);
        if grid.shared_bytes > function.shared_bytes.max(ORDINARY_SHARED_BYTES) {
            use sys::CUfunction_attribute as A;
            let attribute = A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = grid.shared_bytes as i32;
            // SAFETY: the function is of a module that stays loaded.
            unsafe { result::function::set_function_attribute(function.raw, attribute, bytes) }
                .map_err(failed(kernel))?;
            function.shared_bytes = grid.shared_bytes;
        }
        Ok(*function)
    }
}

/// The module of an image. `ALEXNET_KERNELS=DIR` takes DIR/op.fatbin or .cubin if it is there, or
/// compiles DIR/op.cu.
fn module(
    modules: &mut HashMap<&'static str, Module>,
    image: &'static Image,
    capability: (u32, u32),
) -> Result<sys::CUmodule> {
    if let Some(module) = modules.get(image.op) {
        return if module.image == image.bytes {
            Ok(module.raw)
        } else {
            Err(twice("images of kernels", image.op, &[]))
        };
    }
    let fresh = image::fresh(image.op, capability)?;
    let module = image::load(image.op, fresh.as_deref().unwrap_or(image.bytes))?;
    modules.insert(image.op, Module { raw: module, image: image.bytes });
    Ok(module)
}

/// The error of a name that is taken.
fn twice(what: &str, name: &str, ops: &[&str]) -> Error {
    let of = if ops.is_empty() { String::new() } else { format!(" (of {})", ops.join(" and ")) };
    Error::Misuse(format!("two {what} are called `{name}`{of}: each needs its own name"))
}

fn load(module: sys::CUmodule, op: &'static str, kernel: &'static str) -> Result<Function> {
    let name = CString::new(kernel).expect("a name without a zero");
    // SAFETY: the module is loaded and stays so.
    let raw = unsafe { result::module::get_function(module, name) }.map_err(failed(kernel))?;
    let mut function =
        Function { raw, op, parameters: [0; MAX_ARGUMENTS], count: None, shared_bytes: 0 };
    if !driver::has_function_queries() {
        return Ok(function);
    }
    // Else the driver may load it at its first launch, which a graph's capture forbids.
    // SAFETY: the function belongs to a loaded module.
    unsafe { sys::cuFuncLoad(raw) }.result().map_err(failed(kernel))?;
    let (parameters, mut count) = (&mut function.parameters, 0);
    while count < MAX_ARGUMENTS {
        let (mut offset, size) = (0, &mut parameters[count]);
        // SAFETY: the driver writes two numbers, or fails past the last parameter.
        let known = unsafe { sys::cuFuncGetParamInfo(raw, count, &mut offset, size) };
        if known.result().is_err() {
            break;
        }
        count += 1;
    }
    function.count = Some(count);
    Ok(function)
}

/// Starts a kernel.
///
/// # Safety
/// As [`Cuda::launch`](super::Cuda::launch); the arguments fit the function.
pub(super) unsafe fn start(
    function: Function,
    kernel: &str,
    grid: Grid,
    stream: &Stream,
    arguments: &[&dyn Argument],
) -> Result<()> {
    let mut pointers = [std::ptr::null_mut::<c_void>(); MAX_ARGUMENTS];
    for (pointer, argument) in pointers.iter_mut().zip(arguments) {
        *pointer = argument.bytes().as_ptr().cast_mut().cast(); // the driver only reads
    }
    let [[bx, by, bz], [tx, ty, tz]] = [grid.blocks, grid.threads];
    let pointers = &mut pointers[..arguments.len()];
    // SAFETY: the driver copies the arguments during the call; the rest is the caller's duty.
    unsafe {
        let (blocks, threads) = ((bx, by, bz), (tx, ty, tz));
        result::launch_kernel(
            function.raw,
            blocks,
            threads,
            grid.shared_bytes,
            stream.raw,
            pointers,
        )
    }
    .map_err(failed(kernel))
}

impl Drop for Kernels {
    fn drop(&mut self) {
        for Module { raw: module, .. } in self.modules.values() {
            // SAFETY: loaded once, unloaded once; the stream was waited for, or waits for itself.
            let _ = unsafe { result::module::unload(*module) };
        }
    }
}
