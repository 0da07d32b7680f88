//! Denormal numbers, those below the smallest normal float, 1.2e-38: no op writes one, on any
//! device.
//!
//! On many processors a product with a denormal operand or result takes a hundred times as long.
//! In training such values carry no information: they are what remains of vanishing gradients and
//! velocities. So an op writes zero, with the same sign, where a result would be denormal.
//! Intermediate values, sums above all, are not flushed; a run without denormal results is
//! bit-identical to one without this rule. Since no op writes denormal numbers, ops only read those
//! that come from outside, as initial values, weights or checkpoints: [`upload`] flushes them.
//!
//! Two kinds of writes are exact: copies ([`columns::copy`](crate::columns::copy)), and pairs of
//! bf16 values packed in the bits of a float ([`bf16::pack`](crate::bf16::pack)).

use crate::simd::{flushed, vectorized};
use tensor::{Device, Result, Slot};

/// Copies values from the host to a device, with denormal values flushed to zero.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the slot has another length than `values`.
pub fn upload(device: &mut Device, slot: Slot, values: &[f32]) -> Result<()> {
    let count = values.len();
    assert_eq!(count, slot.len(), "{count} values for a slot of {}", slot.shape());
    let any_denormal = vectorized!(
        values.iter().fold(false, |any, x| any | (flushed(*x).to_bits() != x.to_bits()))
    );
    if any_denormal {
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
