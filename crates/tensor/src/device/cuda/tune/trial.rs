//! Trials of the algorithms of an operation: which are correct, and which is fastest.
//!
//! Operands are in separate memory, with the operation's alignment; inputs are random. Each
//! algorithm first runs once untimed, to load and set up, and its outputs are compared with the
//! heuristic's, up to rounding. Then all run in turn, so that changes of the GPU's clock affect all
//! of them, and the median counts. The GPU's L2 cache is overwritten before each run, as the rest
//! of a training step would do.

use super::{ALIGNMENT, ChosenBy, GpuAlgorithm, Operation};
use crate::device::cuda::driver::{Memory, failed};
use crate::device::cuda::event::Event;
use crate::device::cuda::{Cuda, State};
use crate::{DType, Error, Precision, Result, Slot};
use std::mem::replace;

/// The maximum number of runs of an algorithm; the minimum, if they take longer than `BUDGET_MS`.
const ROUNDS: usize = 7;
const MIN_ROUNDS: usize = 3;
const BUDGET_MS: f64 = 200.0;
/// An algorithm that takes this many times as long as the fastest in the first round is dropped.
const HOPELESS: f64 = 2.0;
/// Another algorithm than the heuristic's must take less than this fraction of its time; smaller
/// differences could have the other sign in the next run.
const CLEARLY: f64 = 0.98;
/// The alignment of operands in the trial's memory, in bytes.
const ALIGN: usize = 256;
/// The period of random inputs, in floats.
const RANDOM: usize = 262_139;
/// Floats that are compared at the start, in the middle and at the end of each output.
const COMPARED: usize = 1024;

struct Candidate {
    algorithm: GpuAlgorithm,
    ms: Vec<f64>,
    is_out: bool,
}

/// Algorithms that cannot be used, with the reason.
type Failed = Vec<(GpuAlgorithm, String)>;

/// The memory of a trial.
struct Operands<const N: usize> {
    slots: [Slot; N],
    flush: Flush,
}

/// Memory that is overwritten to flush the cache.
#[derive(Clone, Copy)]
struct Flush {
    address: u64,
    bytes: usize,
}

impl Cuda {
    /// The fastest algorithm of this operation; the heuristic's, if none is clearly faster.
    pub(super) fn fastest<const N: usize>(
        &mut self,
        operation: &Operation<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<GpuAlgorithm>>,
        go: &mut impl FnMut(&mut Cuda, GpuAlgorithm, [Slot; N]) -> Result<bool>,
    ) -> Result<(GpuAlgorithm, ChosenBy)> {
        self.context.bind()?;
        let mut algorithms = vec![operation.heuristic];
        let others = others(self)?.into_iter();
        algorithms.extend(others.filter(|algorithm| *algorithm != operation.heuristic));
        let (slots, bytes) = lay_out(operation);
        let flushed = 2 * self.gpu.l2_bytes;
        let memory = Memory::new(&self.context, bytes + flushed);
        let memory = memory.map_err(failed("memory to try algorithms on"))?;
        let flush = Flush { address: memory.base() + bytes as u64, bytes: flushed };
        let planner = std::mem::take(&mut self.planner);
        let own = (self.memory.replace(memory), planner, self.profile.take());
        let state = replace(&mut self.state, State::Working);
        let tried = self.try_in_turn(operation, &algorithms, &Operands { slots, flush }, go);
        self.wait_for_others()?;
        let waited = self.stream.synchronize("an algorithm on trial"); // before freeing the memory
        self.state = state;
        (self.memory, self.planner, self.profile) = own;
        let (tried, failed) = tried?;
        waited?;
        let (heuristic, own_ms) = tried[0];
        let fastest = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("the heuristic's");
        let chosen = if fastest.1 < CLEARLY * own_ms { fastest.0 } else { heuristic };
        Ok((chosen, ChosenBy::Timing { tried, failed }))
    }

    fn try_in_turn<const N: usize>(
        &mut self,
        operation: &Operation<'_, N>,
        algorithms: &[GpuAlgorithm],
        operands: &Operands<N>,
        go: &mut impl FnMut(&mut Cuda, GpuAlgorithm, [Slot; N]) -> Result<bool>,
    ) -> Result<(Vec<(GpuAlgorithm, f64)>, Failed)> {
        let (reads, writes) = operands.slots[..N - 1].split_at(operation.reads);
        self.fill_at_random(reads)?;
        let mut go = |cuda: &mut Cuda, algorithm: GpuAlgorithm| {
            if go(cuda, algorithm, operands.slots)? {
                return Ok(());
            }
            let operation = (operation.text)();
            Err(Error::NoAlgorithm { algorithm: algorithm.to_string(), operation })
        };
        let (mut candidates, mut failed, mut expected) = (Vec::new(), Failed::new(), Vec::new());
        for &algorithm in algorithms {
            let outputs = self.sample_outputs(writes, |cuda| go(cuda, algorithm));
            match outputs.and_then(|outputs| self.compare(outputs, &mut expected)) {
                Ok(None) => candidates.push(Candidate { algorithm, ms: Vec::new(), is_out: false }),
                Ok(Some(reason)) => failed.push((algorithm, reason)),
                Err(error) if candidates.is_empty() => return Err(error), // the heuristic's
                Err(error) => failed.push((algorithm, reason(&error))),
            }
        }
        let events = (Event::timed(&self.context)?, Event::timed(&self.context)?);
        let mut spent = 0.0;
        for round in 0..ROUNDS {
            for (at, candidate) in candidates.iter_mut().enumerate().filter(|it| !it.1.is_out) {
                match self.time(&events, operands.flush, |cuda| go(cuda, candidate.algorithm)) {
                    Ok(ms) => {
                        candidate.ms.push(ms);
                        spent += ms;
                    }
                    Err(error) if at == 0 => return Err(error),
                    Err(error) => {
                        candidate.is_out = true;
                        failed.push((candidate.algorithm, reason(&error)));
                    }
                }
            }
            if round == 0 {
                drop_hopeless(&mut candidates);
            }
            if round + 1 >= MIN_ROUNDS && spent > BUDGET_MS {
                break;
            }
        }
        candidates.retain(|it| failed.iter().all(|(algorithm, _)| *algorithm != it.algorithm));
        let tried = candidates.into_iter().map(|it| (it.algorithm, median(it.ms)));
        Ok((tried.collect(), failed))
    }

    /// The milliseconds of a run that starts with none of its operands in the GPU's cache.
    fn time(
        &mut self,
        (begin, end): &(Event, Event),
        flush: Flush,
        run: impl FnOnce(&mut Cuda) -> Result<()>,
    ) -> Result<f64> {
        // SAFETY: this memory belongs to the trial, which waits before freeing it.
        unsafe { self.stream.fill(flush.address, 0, flush.bytes)? };
        begin.record(&self.stream)?;
        run(self)?;
        end.record(&self.stream)?;
        self.wait_for_others()?;
        self.stream.synchronize("an algorithm on trial")?;
        Ok(f64::from(begin.milliseconds_to(end)?))
    }

    /// Samples of the outputs of a run.
    fn sample_outputs(
        &mut self,
        outputs: &[Slot],
        run: impl FnOnce(&mut Cuda) -> Result<()>,
    ) -> Result<Vec<f32>> {
        outputs.iter().try_for_each(|&slot| self.poison(slot))?;
        run(self)?;
        let mut samples = Vec::new();
        for slot in outputs {
            let count = COMPARED.min(slot.len());
            for start in [0, (slot.len() - count) / 2, slot.len() - count] {
                let mut part = vec![0.0f32; count];
                let shape = crate::Shape::from([count]);
                self.download_into(slot.part(start, shape), &mut part)?;
                samples.extend(part);
            }
        }
        Ok(samples)
    }

    /// Compares outputs with those of the heuristic's algorithm, which is the first, up to the
    /// rounding of the precision. Returns the first difference.
    fn compare(&self, outputs: Vec<f32>, expected: &mut Vec<f32>) -> Result<Option<String>> {
        if expected.is_empty() {
            *expected = outputs;
            return Ok(None);
        }
        let tolerance = match self.precision {
            Precision::F32 => 1e-3,
            Precision::Tf32 => 2e-2,
            Precision::Bf16 => 1e-1,
        };
        let largest = expected.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        let mut pairs = outputs.iter().zip(&*expected);
        let is_off = |(value, right): &(&f32, &f32)| {
            let off = (*value - *right).abs();
            off.is_nan() || off > tolerance * largest
        };
        Ok(pairs.find(is_off).map(|(value, right)| {
            format!("it computes {value} instead of {right}, of values up to {largest}")
        }))
    }

    fn fill_at_random(&mut self, slots: &[Slot]) -> Result<()> {
        let period = slots.iter().map(Slot::len).max().unwrap_or(0).min(RANDOM);
        let values: Vec<f32> = (1..=period as u32).map(random).collect();
        for slot in slots {
            for start in (0..slot.len()).step_by(period.max(1)) {
                let part = &values[..period.min(slot.len() - start)];
                let shape = crate::Shape::from([part.len()]);
                let at = self.address_of::<f32>(slot.part(start, shape));
                // SAFETY: the part is in a slot, and so in the reserved memory.
                unsafe { self.stream.write(at, bytemuck::cast_slice(part))? };
            }
        }
        Ok(())
    }
}

/// Slots for copies of the operands, and the bytes of memory that they need.
fn lay_out<const N: usize>(operation: &Operation<'_, N>) -> ([Slot; N], usize) {
    let mut bytes = 0;
    let slots = operation.slots.map(|slot| {
        let offset = bytes + slot.range().start % ALIGNMENT;
        bytes = (offset + slot.range().len()).next_multiple_of(ALIGN);
        Slot::new(offset, DType::F32, slot.shape(), slot.planner())
    });
    (slots, bytes)
}

fn reason(error: &Error) -> String {
    match error {
        Error::NoAlgorithm { .. } => "it is not available after all".to_string(),
        other => other.to_string(),
    }
}

/// Drops slow candidates, but never the heuristic's.
fn drop_hopeless(candidates: &mut [Candidate]) {
    let first = |it: &Candidate| it.ms.first().copied().unwrap_or(f64::INFINITY);
    let fastest = candidates.iter().map(first).fold(f64::INFINITY, f64::min);
    for candidate in &mut candidates[1..] {
        candidate.is_out |= first(candidate) > HOPELESS * fastest;
    }
}

fn median(mut ms: Vec<f64>) -> f64 {
    ms.sort_by(f64::total_cmp);
    ms[ms.len() / 2]
}

/// A value from -1 to 1, by a hash of the index.
fn random(index: u32) -> f32 {
    let mut bits = index.wrapping_mul(0x9E37_79B9);
    bits = (bits ^ bits >> 16).wrapping_mul(0x85EB_CA6B);
    bits ^= bits >> 13;
    (bits >> 8) as f32 / (1 << 23) as f32 - 1.0
}
