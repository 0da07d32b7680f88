//! Numbers below the smallest normal one, 1.2e-38: no op writes one, on any device.
//!
//! A product with a denormal operand or result takes a hundred times as long on many processors,
//! and means nothing in training: such numbers are what is left of gradients and velocities that
//! vanish. So where an op's result would be denormal it writes zero with the same sign. What goes
//! on inside an op, sums above all, is not touched: a run that has no denormal results has the bits
//! that it would have without this rule. As no op writes denormal numbers none reads any, but those
//! that come from outside, as initial values, weights or checkpoints: [`upload`] flushes them on
//! their way in.
//!
//! Two kinds of writes are exact: copies ([`columns::copy`](crate::columns::copy)), and words that
//! hold two numbers in bf16 ([`bf16::pack`](crate::bf16::pack)), which look like floats and are
//! none.

use crate::simd::{flushed, vectorized};
use tensor::{Device, Result, Slot};

/// Copies numbers from outside to a device, denormal ones as zero.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slot has another length.
pub fn upload(device: &mut Device, slot: Slot, values: &[f32]) -> Result<()> {
    let some = vectorized(
        #[inline(always)]
        || values.iter().fold(false, |some, x| some | (flushed(*x).to_bits() != x.to_bits())),
    );
    if some {
        device.upload(slot, &values.iter().map(|x| flushed(*x)).collect::<Vec<_>>())
    } else {
        device.upload(slot, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Slots, each_device};

    #[test]
    fn denormal_numbers_become_zero() {
        let least = f32::MIN_POSITIVE;
        let below = f32::from_bits(least.to_bits() - 1);
        let values = [1.0, below, -below, f32::from_bits(1), least, -least, 0.0, -0.0];
        let expected = [1.0, 0.0, -0.0, 0.0, least, -least, 0.0, -0.0];
        let others = [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::NAN, -1e-30];
        let bits = |floats: &[f32]| floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        each_device(|device| {
            for (values, expected) in [(&values[..], &expected[..]), (&others, &others)] {
                let mut slots = Slots::new();
                let slot = slots.room([values.len()]);
                slots.load(device);
                upload(device, slot, values).unwrap();
                assert_eq!(bits(&device.download(slot).unwrap()), bits(expected));
            }
        });
    }
}
