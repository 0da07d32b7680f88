//! The host's processor: one block of memory and a pool of threads.

mod amx;
mod huge_pages;
mod memory;
mod vectors;

pub use amx::amx;
pub use memory::{FreeMemory, free_memory};
pub use vectors::Vectors;

use crate::planner::PlannerInUse;
use crate::{Element, Error, Planner, Precision, Result, Slot};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::sync::Arc;

/// The processor, its memory and its threads.
#[derive(Debug)]
pub struct Cpu {
    memory: Vec<Line>,
    planner: PlannerInUse,
    pool: Pool,
    precision: Precision,
}

/// A cache line: what memory is allocated in, so that slots start on one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; Planner::ALIGN]);

impl Cpu {
    /// A processor with `threads` threads (0: one for each core) and no memory yet.
    pub fn new(threads: usize) -> Cpu {
        let (memory, planner) = (Vec::new(), PlannerInUse::default());
        Cpu { memory, planner, pool: Pool::new(threads), precision: Precision::F32 }
    }

    /// The precision of convolutions and fully connected layers; initially f32.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets the precision: f32 or, with AMX, bf16. Call it before planning: scratch memory of ops
    /// depends on it ([`Target`](crate::Target)).
    ///
    /// # Errors
    /// [`Error::NoPrecision`] for tf32, and for bf16 where there is no AMX.
    pub fn set_precision(&mut self, wanted: Precision) -> Result<()> {
        let refused = |reason: &str| {
            let (device, reason) = ("cpu".to_string(), reason.to_string());
            Err(Error::NoPrecision { device, precision: wanted, reason })
        };
        match (wanted, amx()) {
            (Precision::Tf32, _) => return refused("processors multiply in f32 and bf16"),
            (Precision::Bf16, Err(why)) => return refused(why),
            (Precision::F32 | Precision::Bf16, _) => self.precision = wanted,
        }
        Ok(())
    }

    /// Multiplies in bf16 even without AMX: bit-identical, but hundreds of times slower. For tests.
    pub fn emulate_bf16(&mut self) {
        self.precision = Precision::Bf16;
    }

    pub(super) fn reserve(&mut self, bytes: usize) -> Result<()> {
        (self.memory, self.planner) = (Vec::new(), PlannerInUse::default());
        self.check_room(bytes)?;
        let lines = bytes.div_ceil(Planner::ALIGN);
        self.memory.try_reserve_exact(lines).map_err(|_| no_room(bytes, free_memory()))?;
        let memory = &mut self.memory.spare_capacity_mut()[..lines];
        huge_pages::advise(memory);
        // SAFETY: there are so many lines, and zeros are lines.
        unsafe {
            memory.as_mut_ptr().write_bytes(0, lines);
            self.memory.set_len(lines);
        }
        Ok(())
    }

    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        let Some(mut free) = free_memory() else { return Ok(()) };
        free.bytes = free.bytes.saturating_add(self.bytes().len());
        if bytes <= free.bytes { Ok(()) } else { Err(no_room(bytes, Some(free))) }
    }

    /// The threads that compute.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A slot's elements.
    ///
    /// # Panics
    /// If the slot is of another type or another planner.
    pub fn slice<T: Element>(&self, slot: Slot) -> &[T] {
        assert_eq!(slot.dtype(), T::DTYPE, "a slot of another type");
        self.planner.check(&slot);
        bytemuck::cast_slice(&self.bytes()[slot.range()])
    }

    /// A slot's elements, to write.
    ///
    /// # Panics
    /// If the slot is of another type or another planner.
    pub fn slice_mut<T: Element>(&mut self, slot: Slot) -> &mut [T] {
        let [lent] = self.lend([slot]);
        lent.into()
    }

    /// All operands of an op at once, to read or write.
    ///
    /// # Panics
    /// If two of them overlap, or one lies outside the reserved memory or is of another planner
    /// than the first slot in use.
    pub fn lend<const N: usize>(&mut self, slots: [Slot; N]) -> [Lent<'_>; N] {
        let (lent, _) = self.lend_with_pool(slots);
        lent
    }

    /// [`lend`](Self::lend), and the threads to work on them.
    pub fn lend_with_pool<const N: usize>(&mut self, slots: [Slot; N]) -> ([Lent<'_>; N], &Pool) {
        slots.iter().for_each(|slot| self.planner.check(slot));
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.memory);
        let lent = bytes
            .get_disjoint_mut(slots.map(|slot| slot.range()))
            .unwrap_or_else(|error| panic!("operands {slots:?}: {error}"));
        let mut dtypes = slots.iter().map(|slot| slot.dtype());
        let lent = lent.map(|bytes| Lent { bytes, dtype: dtypes.next().expect("one a slot") });
        (lent, &self.pool)
    }

    /// [`lend`](Self::lend) for operands that are all floats.
    ///
    /// # Panics
    /// As `lend`, or if one is not of floats.
    pub fn floats<const N: usize>(&mut self, slots: [Slot; N]) -> [&mut [f32]; N] {
        self.lend(slots).map(Into::into)
    }

    /// [`floats`](Self::floats), and the threads to work on them.
    pub fn floats_with_pool<const N: usize>(
        &mut self,
        slots: [Slot; N],
    ) -> ([&mut [f32]; N], &Pool) {
        let (lent, pool) = self.lend_with_pool(slots);
        (lent.map(Into::into), pool)
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.memory)
    }
}

/// A slot's bytes on loan to an op; [`into`](Into::into) gives them as floats, bytes or words.
#[derive(Debug)]
pub struct Lent<'a> {
    bytes: &'a mut [u8],
    dtype: crate::DType,
}

impl<'a, T: Element> From<Lent<'a>> for &'a mut [T] {
    fn from(lent: Lent<'a>) -> &'a mut [T] {
        assert_eq!(lent.dtype, T::DTYPE, "a slot of another type");
        bytemuck::cast_slice_mut(lent.bytes)
    }
}

/// The threads that compute.
///
/// Work is split into chunks by the shape of the data, never by the number of threads, and no chunk
/// reads the output of another. Results are therefore bit-identical for any number of threads.
#[derive(Clone, Debug)]
pub struct Pool {
    threads: Arc<rayon::ThreadPool>,
}

impl Pool {
    /// `threads` threads; 0: one for each core.
    ///
    /// # Panics
    /// If the system refuses to start a thread.
    pub fn new(threads: usize) -> Pool {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .build()
            .expect("the system can start the compute threads");
        Pool { threads: Arc::new(pool) }
    }

    /// How many threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Runs `work` on one of the threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    /// Runs `work(chunk)` for every chunk in `0..chunks`, in any order, on all threads.
    pub fn each(&self, chunks: usize, work: impl Fn(usize) + Sync + Send) {
        self.install(|| (0..chunks).into_par_iter().with_max_len(1).for_each(work));
    }

    /// [`each`](Self::each), telling `work(chunk, thread)` which of the threads runs it, in
    /// `0..threads()`: for memory that a thread reuses from chunk to chunk.
    pub fn each_with_thread(&self, chunks: usize, work: impl Fn(usize, usize) + Sync + Send) {
        self.each(chunks, |chunk| {
            work(chunk, rayon::current_thread_index().expect("a thread of the pool"));
        });
    }

    /// Cuts `data` into chunks of `size` elements (the last may be shorter) and runs `work(index,
    /// chunk)`.
    pub fn chunks<T: Send>(
        &self,
        data: &mut [T],
        size: usize,
        work: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        self.install(|| {
            data.par_chunks_mut(size.max(1))
                .with_max_len(1)
                .enumerate()
                .for_each(|(index, chunk)| work(index, chunk));
        });
    }

    /// [`chunks`](Self::chunks) over two slices at once, each with its own chunk size.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        (a, a_size): (&mut [A], usize),
        (b, b_size): (&mut [B], usize),
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
    ) {
        self.install(|| {
            a.par_chunks_mut(a_size.max(1))
                .zip(b.par_chunks_mut(b_size.max(1)))
                .with_max_len(1)
                .enumerate()
                .for_each(|(index, (a, b))| work(index, a, b));
        });
    }

    /// [`chunks`](Self::chunks) over three slices at once, each with its own chunk size.
    pub fn chunks3<A: Send, B: Send, C: Send>(
        &self,
        (a, a_size): (&mut [A], usize),
        (b, b_size): (&mut [B], usize),
        (c, c_size): (&mut [C], usize),
        work: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Sync + Send,
    ) {
        self.install(|| {
            a.par_chunks_mut(a_size.max(1))
                .zip(b.par_chunks_mut(b_size.max(1)))
                .zip(c.par_chunks_mut(c_size.max(1)))
                .with_max_len(1)
                .enumerate()
                .for_each(|(index, ((a, b), c))| work(index, a, b, c));
        });
    }
}

fn no_room(needed: usize, free: Option<FreeMemory>) -> Error {
    let (free, group) = free.map_or((0, None), |free| (free.bytes, free.group));
    Error::OutOfMemory { device: "cpu".to_string(), needed, free, group }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Device, Planner, Shape, Slot};

    fn two_slots() -> (Device, Slot, Slot) {
        let mut planner = Planner::new();
        let a = planner.claim(DType::F32, Shape::from([5]));
        let b = planner.claim(DType::U8, Shape::from([7]));
        let mut device = Device::cpu(1);
        device.reserve(planner.total()).unwrap();
        (device, a, b)
    }

    #[test]
    fn memory_starts_at_zero_and_keeps_what_is_uploaded() {
        let (mut device, a, b) = two_slots();
        assert_eq!(device.download::<f32>(a).unwrap(), [0.0; 5]);
        device.upload(a, &[1.0f32, 2.0]).unwrap();
        device.upload(b, &[9u8; 7]).unwrap();
        assert_eq!(device.download::<f32>(a).unwrap(), [1.0, 2.0, 0.0, 0.0, 0.0]);
        assert_eq!(device.download::<u8>(b).unwrap(), [9; 7]);
    }

    #[test]
    #[should_panic(expected = "operands")]
    fn overlapping_operands_are_refused() {
        let (mut device, a, _) = two_slots();
        let Device::Cpu(cpu) = &mut device else { unreachable!() };
        cpu.floats([a, a.part(1, Shape::from([2]))]);
    }

    #[test]
    #[should_panic(expected = "another type")]
    fn a_slot_is_of_one_type() {
        let (device, a, _) = two_slots();
        let _ = device.download::<u32>(a);
    }

    #[test]
    fn a_slot_of_another_planner_is_refused_on_use() {
        let (mut device, a, _) = two_slots();
        let mut other = Planner::new();
        let foreign = other.claim(DType::F32, Shape::from([2]));
        device.upload(a, &[1.0f32]).unwrap();
        let reads = std::panic::AssertUnwindSafe(|| device.download::<f32>(foreign));
        let panic = std::panic::catch_unwind(reads).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("is a slot of another planner"), "{message}");
        device.reserve(other.total()).unwrap(); // for the other one's slots
        device.upload(foreign, &[1.0f32]).unwrap();
    }

    #[test]
    fn too_much_memory_is_an_error() {
        let error = Device::cpu(1).reserve(usize::MAX / 4).unwrap_err().to_string();
        assert!(error.contains("use a smaller batch"), "{error}");
    }

    #[test]
    fn chunks_cover_everything_once() {
        for threads in [1, 2, 3] {
            let Device::Cpu(cpu) = Device::cpu(threads) else { unreachable!() };
            let mut data = vec![0usize; 103];
            cpu.pool().chunks(&mut data, 10, |index, chunk| {
                chunk.iter_mut().enumerate().for_each(|(i, value)| *value += index * 10 + i);
            });
            assert_eq!(data, (0..103).collect::<Vec<_>>());
        }
    }
}
