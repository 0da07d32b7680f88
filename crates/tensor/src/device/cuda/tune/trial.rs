//! Which of several ways is fastest, and which do what they should.
//!
//! Operands lie in memory of their own, aligned as the work's are; what is read is random. Each way
//! goes once untimed, so that whatever it loads or sets up is there; what it writes must be what
//! the rule's way writes, but for rounding. Then all go in turn, so that a GPU that changes its
//! clock does so to all of them, and a way's time is its median. Before each the GPU's L2 cache
//! is overwritten, as a step's other work would do.

use super::{ALIGNMENT, Way, Why, Work};
use crate::device::cuda::driver::{Memory, failed};
use crate::device::cuda::event::Event;
use crate::device::cuda::{Cuda, State};
use crate::{DType, Error, Precision, Result, Slot};
use std::mem::replace;

/// How often a way goes at most; and at least, if that takes longer than a while.
const ROUNDS: usize = 7;
const LEAST_ROUNDS: usize = 3;
const WHILE_MS: f64 = 200.0;
/// What takes so many times as long as the fastest in the first round is not tried again.
const HOPELESS: f64 = 2.0;
/// The rule's way stands unless another takes less than this part of its time: what is closer could
/// be the other way round the next time.
const CLEARLY: f64 = 0.98;
/// Where operands begin.
const APART: usize = 256;
/// Floats of what is read that are random before they come again.
const RANDOM: usize = 262_139;
/// Floats that are compared at the begin, in the middle and at the end of what is written.
const COMPARED: usize = 1024;

/// A way under trial.
struct Candidate {
    way: Way,
    ms: Vec<f64>,
    is_out: bool,
}

/// Ways that were left out, with the reason.
type Failed = Vec<(Way, String)>;

impl Cuda {
    /// The fastest way to do this work, the rule's own if none is clearly faster.
    pub(super) fn fastest<const N: usize>(
        &mut self,
        work: &Work<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<Way>>,
        go: &mut impl FnMut(&mut Cuda, Way, [Slot; N]) -> Result<bool>,
    ) -> Result<(Way, Why)> {
        self.context.bind()?;
        let mut ways = vec![work.rule];
        ways.extend(others(self)?.into_iter().filter(|way| *way != work.rule));
        let (slots, bytes) = laid_out(work);
        let flushed = 2 * self.gpu.l2_bytes;
        let memory = Memory::new(&self.context, bytes + flushed);
        let memory = memory.map_err(failed("memory to try ways on"))?;
        let flush = (memory.base() + bytes as u64, flushed);
        let own = (self.memory.replace(memory), self.profile.take());
        let state = replace(&mut self.state, State::Working);
        let tried = self.try_in_turn(work, &ways, (slots, flush), go);
        self.wait_for_others()?;
        let waited = self.stream.synchronize("a way to do some work"); // before the memory goes
        self.state = state;
        (self.memory, self.profile) = own;
        let (tried, failed) = tried?;
        waited?;
        let (rule, own_ms) = tried[0];
        let fastest = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("the rule's way");
        let way = if fastest.1 < CLEARLY * own_ms { fastest.0 } else { rule };
        Ok((way, Why::Timed { tried, failed }))
    }

    fn try_in_turn<const N: usize>(
        &mut self,
        work: &Work<'_, N>,
        ways: &[Way],
        (slots, flush): ([Slot; N], (u64, usize)),
        go: &mut impl FnMut(&mut Cuda, Way, [Slot; N]) -> Result<bool>,
    ) -> Result<(Vec<(Way, f64)>, Failed)> {
        let (reads, writes) = slots[..N - 1].split_at(work.reads);
        self.fill_at_random(reads)?;
        let mut go = |cuda: &mut Cuda, way| match go(cuda, way, slots) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoWay { way: way.to_string(), work: (work.text)() }),
            Err(error) => Err(error),
        };
        let (mut candidates, mut failed, mut expected) = (Vec::new(), Failed::new(), Vec::new());
        for &way in ways {
            let seen = self.seen(writes, |cuda| go(cuda, way));
            match seen.and_then(|seen| self.compared(seen, &mut expected)) {
                Ok(None) => candidates.push(Candidate { way, ms: Vec::new(), is_out: false }),
                Ok(Some(reason)) => failed.push((way, reason)),
                Err(error) if candidates.is_empty() => return Err(error), // the rule's own
                Err(error) => failed.push((way, reason(&error))),
            }
        }
        let events = (Event::timed(&self.context)?, Event::timed(&self.context)?);
        let mut spent = 0.0;
        for round in 0..ROUNDS {
            for (at, candidate) in candidates.iter_mut().enumerate().filter(|it| !it.1.is_out) {
                match self.timed(&events, flush, |cuda| go(cuda, candidate.way)) {
                    Ok(ms) => {
                        candidate.ms.push(ms);
                        spent += ms;
                    }
                    Err(error) if at == 0 => return Err(error),
                    Err(error) => {
                        candidate.is_out = true;
                        failed.push((candidate.way, reason(&error)));
                    }
                }
            }
            if round == 0 {
                leave_out_hopeless(&mut candidates);
            }
            if round + 1 >= LEAST_ROUNDS && spent > WHILE_MS {
                break;
            }
        }
        candidates.retain(|it| failed.iter().all(|(way, _)| *way != it.way));
        let tried = candidates.into_iter().map(|it| (it.way, median(it.ms)));
        Ok((tried.collect(), failed))
    }

    /// Milliseconds of some work, with nothing of its operands in the GPU's cache.
    fn timed(
        &mut self,
        (begin, end): &(Event, Event),
        (at, bytes): (u64, usize),
        work: impl FnOnce(&mut Cuda) -> Result<()>,
    ) -> Result<f64> {
        // SAFETY: memory of the trial's own, which is waited for before it goes.
        unsafe { self.stream.fill(at, 0, bytes)? };
        begin.record(&self.stream)?;
        work(self)?;
        end.record(&self.stream)?;
        self.wait_for_others()?;
        self.stream.synchronize("a way to do some work")?;
        Ok(f64::from(begin.milliseconds_to(end)?))
    }

    /// Some of what this work writes.
    fn seen(
        &mut self,
        writes: &[Slot],
        work: impl FnOnce(&mut Cuda) -> Result<()>,
    ) -> Result<Vec<f32>> {
        writes.iter().try_for_each(|&slot| self.poison(slot))?;
        work(self)?;
        let mut seen = Vec::new();
        for slot in writes {
            let most = COMPARED.min(slot.len());
            for start in [0, (slot.len() - most) / 2, slot.len() - most] {
                let mut part = vec![0.0f32; most];
                let shape = crate::Shape::from([most]);
                self.download_into(slot.part(start, shape), &mut part)?;
                seen.extend(part);
            }
        }
        Ok(seen)
    }

    /// What is wrong with what was seen of a way. The first is the rule's: the others must be as
    /// it, but for what the precision rounds.
    fn compared(&self, seen: Vec<f32>, expected: &mut Vec<f32>) -> Result<Option<String>> {
        if expected.is_empty() {
            *expected = seen;
            return Ok(None);
        }
        let tolerance = match self.precision {
            Precision::F32 => 1e-3,
            Precision::Tf32 => 2e-2,
            Precision::Bf16 => 1e-1,
        };
        let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let pairs = seen.iter().zip(&*expected);
        let is_off = |(made, right): &(&f32, &f32)| {
            let off = (*made - *right).abs();
            off.is_nan() || off > tolerance * largest
        };
        Ok(pairs.clone().find(is_off).map(|(made, right)| {
            format!("it makes {made} where {right} is right, of numbers up to {largest}")
        }))
    }

    fn fill_at_random(&mut self, slots: &[Slot]) -> Result<()> {
        let most = slots.iter().map(Slot::len).max().unwrap_or(0).min(RANDOM);
        let numbers: Vec<f32> = (1..=most as u32).map(random).collect();
        for slot in slots {
            for start in (0..slot.len()).step_by(most.max(1)) {
                let part = &numbers[..most.min(slot.len() - start)];
                let shape = crate::Shape::from([part.len()]);
                let at = self.address_of::<f32>(slot.part(start, shape));
                // SAFETY: the part lies in a slot, and so in the reserved memory.
                unsafe { self.stream.write(at, bytemuck::cast_slice(part))? };
            }
        }
        Ok(())
    }
}

/// Where the operands lie in memory of their own, and its bytes.
fn laid_out<const N: usize>(work: &Work<'_, N>) -> ([Slot; N], usize) {
    let mut bytes = 0;
    let slots = work.slots.map(|slot| {
        let offset = bytes + slot.range().start % ALIGNMENT;
        bytes = (offset + slot.range().len()).next_multiple_of(APART);
        Slot::new(offset, DType::F32, slot.shape())
    });
    (slots, bytes)
}

fn reason(error: &Error) -> String {
    match error {
        Error::NoWay { .. } => "it is not there after all".to_string(),
        other => other.to_string(),
    }
}

/// The rule's own way stays.
fn leave_out_hopeless(candidates: &mut [Candidate]) {
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

/// From -1 to 1, by a hash of the index.
fn random(index: u32) -> f32 {
    let mut bits = index.wrapping_mul(0x9E37_79B9);
    bits = (bits ^ bits >> 16).wrapping_mul(0x85EB_CA6B);
    bits ^= bits >> 13;
    (bits >> 8) as f32 / (1 << 23) as f32 - 1.0
}
