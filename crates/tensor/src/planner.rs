//! The memory layout of all values, planned before the first step.

use crate::{DType, Shape, Slot};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Lays out slots in one range of memory by their lifetimes.
///
/// Walk through a step in execution order: [`claim`](Self::claim) the outputs of an op,
/// [`release`](Self::release) slots that are not read again. A claim takes the smallest hole that
/// fits, or grows the range. Nothing is allocated here; the device must reserve
/// [`total`](Self::total) bytes.
#[derive(Clone, Debug)]
pub struct Planner {
    id: PlannerId,
    /// Free holes below the high-water mark: start -> length, never adjacent.
    holes: BTreeMap<usize, usize>,
    total: usize,
}

impl Default for Planner {
    fn default() -> Planner {
        Planner { id: PlannerId::next(), holes: BTreeMap::new(), total: 0 }
    }
}

impl Planner {
    /// Every slot starts at a multiple of this many bytes: a cache line, and a vector register.
    pub const ALIGN: usize = 64;

    /// A planner with nothing laid out.
    pub fn new() -> Planner {
        Planner::default()
    }

    /// A slot that overlaps no other live one.
    ///
    /// # Panics
    /// If its bytes, or those of all slots, are more than 2^64.
    pub fn claim(&mut self, dtype: DType, shape: Shape) -> Slot {
        let bytes = shape.len().checked_mul(dtype.size());
        let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(Self::ALIGN));
        let bytes = bytes.unwrap_or_else(|| panic!("a slot of {shape} takes too many bytes"));
        if bytes == 0 {
            return Slot::new(0, dtype, shape, self.id); // nowhere in particular, so inside no other slot
        }
        let best = self.holes.iter().filter(|hole| *hole.1 >= bytes).min_by_key(|hole| *hole.1);
        let offset = match best.map(|(&start, &length)| (start, length)) {
            Some((start, length)) => {
                self.holes.remove(&start);
                self.add_hole(start + bytes, length - bytes);
                start
            }
            None => self.grow(bytes),
        };
        Slot::new(offset, dtype, shape, self.id)
    }

    /// Takes `bytes` at the end, swallowing a hole that touches it.
    fn grow(&mut self, bytes: usize) -> usize {
        let start = match self.holes.last_key_value() {
            Some((&start, &length)) if start + length == self.total => start,
            _ => self.total,
        };
        self.holes.remove(&start);
        self.total = start.checked_add(bytes).expect("all slots together take too many bytes");
        start
    }

    /// Ends a slot's life: its range may be claimed again.
    ///
    /// # Panics
    /// If any of it is already free.
    pub fn release(&mut self, slot: Slot) {
        let (start, bytes) = (slot.range().start, slot.padded_bytes());
        if bytes == 0 {
            return;
        }
        let end = start + bytes;
        assert!(end <= self.total, "released a slot that was never claimed");
        let before = self.holes.range(..end).next_back().map(|(&start, &length)| (start, length));
        if let Some((hole, length)) = before {
            assert!(hole + length <= start, "released a slot twice");
        }
        let mut merged = (start, bytes);
        if let Some((hole, length)) = before.filter(|&(hole, length)| hole + length == start) {
            self.holes.remove(&hole);
            merged = (hole, length + bytes);
        }
        if let Some(length) = self.holes.remove(&end) {
            merged.1 += length;
        }
        self.add_hole(merged.0, merged.1);
    }

    /// Forgets all holes: later claims share no memory with earlier ones, even released ones. A
    /// network that runs many times calls it when its plan is complete, because every step uses the
    /// slots of its first row again.
    pub fn seal(&mut self) {
        self.holes.clear();
    }

    fn add_hole(&mut self, start: usize, length: usize) {
        if length > 0 {
            self.holes.insert(start, length);
        }
    }

    /// The bytes that hold every slot claimed so far.
    pub fn total(&self) -> usize {
        self.total
    }
}

/// Which planner laid a slot out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlannerId(u32);

impl PlannerId {
    fn next() -> PlannerId {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        PlannerId(NEXT.fetch_add(1, Relaxed))
    }
}

/// The planner whose slots are in a device's memory: that of the first slot in use.
#[derive(Debug, Default)]
pub(crate) struct PlannerInUse(AtomicU32);

impl PlannerInUse {
    /// Panics if slots of another planner are in use.
    pub fn check(&self, slot: &Slot) {
        let PlannerId(id) = slot.planner();
        let known = self.0.load(Relaxed);
        if known == id || slot.is_empty() {
            return;
        }
        let first = self.0.compare_exchange(0, id, Relaxed, Relaxed);
        assert!(
            first.is_ok() || first == Err(id),
            "{slot:?} is a slot of another planner: all slots of a device's memory must be claimed \
             from the planner whose total was reserved"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floats(planner: &mut Planner, n: usize) -> Slot {
        planner.claim(DType::F32, Shape::from([n]))
    }

    #[test]
    fn reuses_what_has_died() {
        let mut planner = Planner::new();
        let a = floats(&mut planner, 100);
        let b = floats(&mut planner, 100);
        planner.release(a);
        let c = floats(&mut planner, 50);
        assert_eq!(c.range().start, a.range().start);
        assert!(!c.overlaps(&b));
        assert_eq!(planner.total(), 2 * 448);
    }

    #[test]
    fn what_is_sealed_is_not_given_out_again() {
        let mut planner = Planner::new();
        let a = floats(&mut planner, 100);
        planner.release(a);
        planner.seal();
        assert!(!floats(&mut planner, 10).overlaps(&a));
    }

    #[test]
    #[should_panic(expected = "twice")]
    fn refuses_to_release_twice() {
        let mut planner = Planner::new();
        let a = floats(&mut planner, 10);
        planner.release(a);
        planner.release(a);
    }

    #[test]
    #[should_panic(expected = "take too many bytes")]
    fn bytes_do_not_wrap() {
        let mut planner = Planner::new();
        for _ in 0..5 {
            floats(&mut planner, 1 << 60);
        }
    }

    #[test]
    fn a_stack_of_lives_takes_no_more_than_its_peak() {
        let mut planner = Planner::new();
        for _ in 0..10 {
            let slots: Vec<Slot> = (1..20).map(|n| floats(&mut planner, 16 * n)).collect();
            slots.into_iter().rev().for_each(|slot| planner.release(slot));
        }
        assert_eq!(planner.total(), (1..20).map(|n| 64 * n).sum::<usize>());
    }

    proptest! {
        /// Claims and releases in any order: live slots never overlap, and all lie inside the
        /// total.
        #[test]
        fn live_slots_never_overlap(
            moves in prop::collection::vec((any::<bool>(), 0usize..300), 1..120)
        ) {
            let mut planner = Planner::new();
            let mut live: Vec<Slot> = Vec::new();
            for (claim, n) in moves {
                if claim || live.is_empty() {
                    let slot = floats(&mut planner, n);
                    prop_assert!(live.iter().all(|other| !other.overlaps(&slot)));
                    prop_assert!(slot.range().end <= planner.total());
                    prop_assert_eq!(slot.range().start % Planner::ALIGN, 0);
                    live.push(slot);
                } else {
                    let slot = live.swap_remove(n % live.len());
                    planner.release(slot);
                }
            }
            live.into_iter().for_each(|slot| planner.release(slot));
            let all = floats(&mut planner, 1);
            prop_assert_eq!(all.range().start, 0, "all holes have merged");
        }
    }
}
