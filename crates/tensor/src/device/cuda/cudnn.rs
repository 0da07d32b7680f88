//! Convolutions by cuDNN, where it is installed and selected.
//!
//! A GPU uses it after [`Cuda::use_cudnn`]. The first time that a pass of a convolution occurs (for
//! a recorded step: in the rehearsal before it) the library is queried for its algorithms, best
//! first. The first algorithm is taken that is deterministic, computes the products of the formula
//! (no transform, whose errors are larger), fits the workspace and works: it runs once on scratch
//! memory, so that the library loads everything it needs before a recording. From then on a pass is
//! one call on the GPU's stream. All passes share a workspace of [`WORKSPACE`] bytes, as they come
//! one after the other.
//!
//! The same library on the same GPU finds the same algorithm: a run is repeatable there, and may
//! differ elsewhere. In bf16 cuDNN is not used: its convolutions of floats multiply in f32 or tf32.

mod convolution;
mod library;

pub use convolution::{Convolution, Pass};
pub use library::Cudnn;

use super::driver::{Memory, failed};
use super::library::{Handle, Raw, Status};
use super::{Cuda, State, number_of_reservation};
use crate::{Precision, Result, Slot};
use library::{
    CROSS_CORRELATION, Convolve, FLOAT, FMA, Find, Found, NHWC, TF32, Workspace, is_unsupported,
};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr;

/// cuDNN for one GPU, with the plans it has found.
#[derive(Debug)]
pub(super) struct Engine {
    library: &'static Cudnn,
    /// It computes a pass only if that is chosen.
    is_offered: bool,
    plans: HashMap<Key, Option<Plan>>,
    handle: Handle,
    workspace: Memory,
}

/// All that decides which plan is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    pass: Pass,
    convolution: Convolution,
    precision: Precision,
    /// The one to take; none: the best.
    algorithm: Option<usize>,
}

/// A pass with its descriptors and algorithm.
#[derive(Debug)]
struct Plan {
    pass: Pass,
    /// x, w and y.
    tensors: [Handle; 3],
    convolution: Handle,
    algorithm: c_int,
    /// Bytes.
    workspace: usize,
}

/// Bytes of an engine's workspace: more than the algorithms of AlexNet's layers need.
pub const WORKSPACE: usize = 64 << 20;
/// What divides every operand's address; cuDNN is not asked about others.
const ALIGNMENT: u64 = 16;
/// More algorithms than any pass has.
const MAX_ALGORITHMS: usize = 16;
/// A tensor with as many elements, or more, is not cuDNN's to count.
const MAX_ELEMENTS: usize = 1 << 31;

impl Cuda {
    /// From now on [`convolve`](Self::convolve) is cuDNN's. What was recorded before is recorded
    /// anew.
    ///
    /// # Errors
    /// [`Error::Cudnn`](crate::Error::Cudnn) if it cannot work with this GPU,
    /// [`Error::Gpu`](crate::Error::Gpu) if there is no room for its workspace.
    pub fn use_cudnn(&mut self, library: &'static Cudnn) -> Result<()> {
        self.take_cudnn(library, false)
    }

    /// From now on its algorithms are among those that can be [chosen](super::tune).
    ///
    /// # Errors
    /// As [`use_cudnn`](Self::use_cudnn).
    pub fn offer_cudnn(&mut self, library: &'static Cudnn) -> Result<()> {
        self.take_cudnn(library, true)
    }

    fn take_cudnn(&mut self, library: &'static Cudnn, is_offered: bool) -> Result<()> {
        assert!(self.state == State::Working, "while something is recorded");
        self.synchronize()?; // the workspace that may go now
        self.cudnn = None;
        self.reservation = number_of_reservation();
        let f = &library.functions;
        let handle = library.create("its start", f.destroy, |raw| {
            // SAFETY: writes a handle for the GPU whose context is bound.
            unsafe { (f.create)(raw) }
        })?;
        // SAFETY: both are alive, and the stream is for as long as the GPU.
        let status = unsafe { (f.set_stream)(handle.raw, self.stream.raw.cast()) };
        library.check(status, "the choice of a stream")?;
        let workspace = Memory::new(&self.context, WORKSPACE);
        let workspace = workspace.map_err(failed("memory for cuDNN's workspace"))?;
        self.cudnn = Some(Engine { library, is_offered, plans: HashMap::new(), handle, workspace });
        Ok(())
    }

    /// The library, if it is in use.
    pub fn cudnn(&self) -> Option<&'static Cudnn> {
        self.cudnn.as_ref().map(|engine| engine.library)
    }

    /// Whether convolutions are its own without being chosen.
    pub(super) fn prefers_cudnn(&self) -> bool {
        self.cudnn.as_ref().is_some_and(|engine| !engine.is_offered)
    }

    /// A pass of a convolution in the GPU's [precision](Self::precision), by the algorithm of this
    /// number or the best that works: of x, w and y it overwrites the one that the pass makes.
    /// False, and nothing done, if cuDNN is not in use or has no such algorithm; always in bf16.
    ///
    /// # Errors
    /// [`Error::Cudnn`](crate::Error::Cudnn), [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If a tensor is not of the convolution's size.
    pub fn convolve(
        &mut self,
        pass: Pass,
        convolution: &Convolution,
        algorithm: Option<usize>,
        [x, w, y]: [Slot; 3],
    ) -> Result<bool> {
        let Some(mut engine) = self.cudnn.take() else { return Ok(false) };
        let key = Key { pass, convolution: *convolution, precision: self.precision, algorithm };
        let done = self.convolve_with(&mut engine, &key, [x, w, y]);
        self.cudnn = Some(engine);
        done
    }

    /// The numbers of the algorithms that [`convolve`](Self::convolve) could go by, the best first
    /// as cuDNN sees it.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn convolve_algorithms(
        &self,
        pass: Pass,
        convolution: &Convolution,
        slots: [Slot; 3],
    ) -> Result<Vec<usize>> {
        let Some(engine) = &self.cudnn else { return Ok(Vec::new()) };
        let convolution = *convolution;
        let key = Key { pass, convolution, precision: self.precision, algorithm: None };
        if self.operands(&key, slots).is_none() {
            return Ok(Vec::new());
        }
        self.context.bind()?;
        let found = engine.find(&engine.describe(&key)?)?;
        Ok(found.into_iter().filter_map(|algorithm| usize::try_from(algorithm).ok()).collect())
    }

    /// Where the operands lie, if they are such as cuDNN is asked about.
    fn operands(&self, key: &Key, slots: [Slot; 3]) -> Option<[u64; 3]> {
        let floats = key.convolution.floats();
        for (slot, floats) in slots.iter().zip(floats) {
            let expected = &key.convolution;
            assert_eq!(slot.len(), floats, "a slot of {} for {expected:?}", slot.shape());
        }
        let addresses = slots.map(|slot| self.address_of::<f32>(slot));
        let can_be = key.precision != Precision::Bf16
            && floats.iter().all(|&floats| floats > 0 && floats < MAX_ELEMENTS)
            && addresses.iter().all(|at| at.is_multiple_of(ALIGNMENT));
        can_be.then_some(addresses)
    }

    fn convolve_with(&mut self, engine: &mut Engine, key: &Key, slots: [Slot; 3]) -> Result<bool> {
        let Some(addresses) = self.operands(key, slots) else { return Ok(false) };
        self.context.bind()?;
        if !engine.plans.contains_key(key) {
            assert!(self.state != State::Recording, "{key:?} was not rehearsed");
            let plan = self.find_plan(engine, key)?;
            engine.plans.insert(*key, plan);
        }
        let Some(plan) = &engine.plans[key] else { return Ok(false) };
        self.launches += 1;
        if self.state == State::Rehearsing {
            return Ok(true);
        }
        self.follow()?;
        // SAFETY: the slots have the convolution's sizes.
        let status = unsafe { engine.start(plan, addresses) };
        engine.library.check(status, key.pass.name())?;
        self.launched(key.pass.name())?;
        Ok(true)
    }

    /// A plan with the first algorithm that fits and works, if there is one.
    fn find_plan(&self, engine: &Engine, key: &Key) -> Result<Option<Plan>> {
        let mut plan = engine.describe(key)?;
        let is_wanted =
            |number: &c_int| key.algorithm.is_none_or(|it| usize::try_from(*number) == Ok(it));
        for algorithm in engine.find(&plan)?.into_iter().filter(is_wanted) {
            plan.algorithm = algorithm;
            let Some(bytes) = engine.workspace_bytes(&plan)? else { continue };
            plan.workspace = bytes;
            if bytes <= WORKSPACE && self.try_convolution(engine, &plan, &key.convolution)? {
                return Ok(Some(plan));
            }
        }
        Ok(None)
    }

    /// Runs the plan once on scratch memory that all operands share; whether it is supported.
    fn try_convolution(
        &self,
        engine: &Engine,
        plan: &Plan,
        convolution: &Convolution,
    ) -> Result<bool> {
        let bytes = size_of::<f32>() * convolution.floats().into_iter().max().unwrap_or(0);
        let memory = Memory::new(&self.context, bytes);
        let memory = memory.map_err(failed("memory to try a convolution of cuDNN's on"))?;
        // SAFETY: the memory has so many bytes, and is waited for below before it goes.
        unsafe { self.stream.fill(memory.base(), 0, bytes)? };
        // SAFETY: the memory has room for each operand.
        let status = unsafe { engine.start(plan, [memory.base(); 3]) };
        self.wait_for_others()?;
        let done = self.stream.synchronize(plan.pass.name()); // before the memory goes
        if is_unsupported(status) {
            return done.and(Ok(false));
        }
        engine.library.check(status, plan.pass.name())?;
        done.and(Ok(true))
    }
}

impl Plan {
    /// Those of the tensors that are read, and the one that is written.
    fn descriptors(&self) -> [Raw; 3] {
        self.pass.order().map(|at| self.tensors[at].raw)
    }
}

impl Engine {
    fn functions(&self, pass: Pass) -> (Find, Workspace, Convolve) {
        let f = &self.library.functions;
        match pass {
            Pass::Forward => (f.find_forward, f.workspace_forward, f.forward),
            Pass::Input => (f.find_input, f.workspace_input, f.backward_input),
            Pass::Filter => (f.find_filter, f.workspace_filter, f.backward_filter),
        }
    }

    /// The pass with its descriptors; the algorithm is not chosen yet.
    fn describe(&self, key: &Key) -> Result<Plan> {
        let [x, w, y] = key.convolution.extents().map(|extents| extents.map(whole));
        let tensors = [self.tensor(x)?, self.filter(w)?, self.tensor(y)?];
        let convolution = self.convolution(key)?;
        Ok(Plan { pass: key.pass, tensors, convolution, algorithm: 0, workspace: 0 })
    }

    fn tensor(&self, [n, c, h, w]: [c_int; 4]) -> Result<Handle> {
        let f = &self.library.functions;
        let tensor = self.descriptor("a tensor", f.create_tensor, f.destroy_tensor)?;
        // SAFETY: the descriptor is alive.
        let status = unsafe { (f.set_tensor)(tensor.raw, NHWC, FLOAT, n, c, h, w) };
        self.library.check(status, "a tensor").and(Ok(tensor))
    }

    fn filter(&self, [k, c, h, w]: [c_int; 4]) -> Result<Handle> {
        let f = &self.library.functions;
        let filter = self.descriptor("a filter", f.create_filter, f.destroy_filter)?;
        // SAFETY: the descriptor is alive.
        let status = unsafe { (f.set_filter)(filter.raw, FLOAT, NHWC, k, c, h, w) };
        self.library.check(status, "a filter").and(Ok(filter))
    }

    fn descriptor(
        &self,
        what: &str,
        create: unsafe extern "C" fn(*mut Raw) -> Status,
        destroy: unsafe extern "C" fn(Raw) -> Status,
    ) -> Result<Handle> {
        // SAFETY: writes a descriptor.
        self.library.create(what, destroy, |raw| unsafe { create(raw) })
    }

    fn convolution(&self, key: &Key) -> Result<Handle> {
        let (library, f) = (self.library, &self.library.functions);
        let (create, destroy) = (f.create_convolution, f.destroy_convolution);
        let convolution = self.descriptor("a convolution", create, destroy)?;
        let ([top, left], stride) = (key.convolution.pad.map(whole), whole(key.convolution.stride));
        // SAFETY: the descriptor is alive; the windows have no holes.
        let status = unsafe {
            let (set, mode) = (f.set_convolution, CROSS_CORRELATION);
            set(convolution.raw, top, left, stride, stride, 1, 1, mode, FLOAT)
        };
        library.check(status, "a convolution")?;
        // SAFETY: as above.
        let status = unsafe { (f.set_groups)(convolution.raw, whole(key.convolution.groups)) };
        library.check(status, "the groups of a convolution")?;
        let math = match key.precision {
            Precision::F32 => FMA,
            Precision::Tf32 => TF32,
            Precision::Bf16 => unreachable!("not asked for"),
        };
        // SAFETY: as above.
        let status = unsafe { (f.set_math)(convolution.raw, math) };
        library.check(status, "the precision of a convolution").and(Ok(convolution))
    }

    /// The algorithms that will do, the best first as cuDNN sees it.
    fn find(&self, plan: &Plan) -> Result<Vec<c_int>> {
        let (find, _, _) = self.functions(plan.pass);
        let [first, second, made] = plan.descriptors();
        let (mut found, mut count) = ([Found::default(); MAX_ALGORITHMS], 0);
        // SAFETY: all descriptors are alive; writes that many results at most and their number.
        let status = unsafe {
            let (handle, convolution) = (self.handle.raw, plan.convolution.raw);
            let (room, to) = (MAX_ALGORITHMS as c_int, found.as_mut_ptr());
            find(handle, first, second, convolution, made, room, &mut count, to)
        };
        if is_unsupported(status) {
            return Ok(Vec::new());
        }
        self.library.check(status, "the heuristic for algorithms")?;
        let found = found[..usize::try_from(count).unwrap_or(0).min(MAX_ALGORITHMS)].iter();
        let direct = plan.pass.direct();
        let will_do = |found: &&Found| found.repeats() && direct.contains(&found.algorithm);
        Ok(found.filter(will_do).map(|found| found.algorithm).collect())
    }

    /// The bytes of workspace that the plan needs; `None` if it is not supported.
    fn workspace_bytes(&self, plan: &Plan) -> Result<Option<usize>> {
        let (_, workspace, _) = self.functions(plan.pass);
        let [first, second, made] = plan.descriptors();
        let mut bytes = 0;
        // SAFETY: all descriptors are alive; writes a number.
        let status = unsafe {
            let (handle, convolution) = (self.handle.raw, plan.convolution.raw);
            workspace(handle, first, second, convolution, made, plan.algorithm, &mut bytes)
        };
        if is_unsupported(status) {
            return Ok(None);
        }
        self.library.check(status, "the workspace of a convolution").and(Ok(Some(bytes)))
    }

    /// Has the GPU convolve; x, w and y lie at these addresses.
    ///
    /// # Safety
    /// They have the sizes of the plan's convolution.
    unsafe fn start(&self, plan: &Plan, addresses: [u64; 3]) -> Status {
        let (_, _, convolve) = self.functions(plan.pass);
        let (one, zero) = (1.0f32, 0.0f32);
        let [one, zero] = [&one, &zero].map(|factor| ptr::from_ref(factor).cast::<c_void>());
        let [first, second, made] = plan.descriptors();
        let [a, b, c] = plan.pass.order().map(|at| addresses[at] as *mut c_void);
        let workspace = self.workspace.base() as *mut c_void;
        // SAFETY: the factors are read during the call; descriptors and the workspace, which is as
        // large as any plan's, are alive; the rest is the caller's.
        unsafe {
            convolve(
                self.handle.raw,
                one,
                first,
                a,
                second,
                b,
                plan.convolution.raw,
                plan.algorithm,
                workspace,
                plan.workspace,
                zero,
                made,
                c,
            )
        }
    }
}

/// A number of a convolution whose tensors have fewer elements than [`MAX_ELEMENTS`].
fn whole(number: usize) -> c_int {
    c_int::try_from(number).expect("a convolution that its tensors tell the size of")
}
