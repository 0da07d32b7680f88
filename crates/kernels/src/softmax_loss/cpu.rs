//! On the CPU: row by row. Exponentials are computed once, in f32 vectors; their sum is in f64, in
//! an order fixed by the number of classes. Memory bound: scores are read and gradients written.
//! The scores of a batch are few: one thread is enough.

use super::{Geometry, IGNORED, LabelRank};
use crate::simd::{exp, flushed, vectorized};
use tensor::{Cpu, Result, Slot};

/// Partial maxima and sums per row.
const LANES: usize = 16;

/// `slots` are logits, labels, gradient and tally.
pub(super) fn forward_backward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    let labels_counted = cpu.slice::<u32>(slots[1]).iter().filter(|&&l| l != IGNORED).count();
    let share = 1.0 / labels_counted.max(1) as f64;
    rows(cpu, g, slots, |exps, label, sum| {
        let Some(label) = label else { return exps.fill(0.0) };
        // In f64, because one minus a probability near one has few bits left in f32.
        let own = (f64::from(exps[label]) / sum - 1.0) * share;
        let scale = share / sum;
        vectorized!(
            exps.iter_mut().for_each(|exp| *exp = flushed((f64::from(*exp) * scale) as f32))
        );
        exps[label] = flushed(own as f32);
    })
}

/// `slots` are logits, labels, probabilities and tally.
pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 4]) -> Result<()> {
    rows(cpu, g, slots, |exps, _, sum| {
        vectorized!(exps.iter_mut().for_each(|exp| *exp = flushed((f64::from(*exp) / sum) as f32)));
    })
}

/// `slots` are logits, labels, targets, gradient and tally.
pub(super) fn forward_backward_dense(cpu: &mut Cpu, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let [logits, labels, targets, written, tally] = cpu.lend(slots);
    let (logits, targets): (&mut [f32], &mut [f32]) = (logits.into(), targets.into());
    let (written, tally): (&mut [f32], &mut [f32]) = (written.into(), tally.into());
    let labels: &mut [u32] = labels.into();
    let counted = labels.iter().filter(|&&label| label != IGNORED).count();
    let share = 1.0 / counted.max(1) as f64;
    let (sums, tallies) = tally.split_at_mut(4);
    let mut totals = [0.0f64; 4];
    for (row, &label) in labels.iter().enumerate() {
        let own = row * g.classes..(row + 1) * g.classes;
        let (x, dx, t) = (&logits[own.clone()], &mut written[own.clone()], &targets[own]);
        let mut entry = [0.0; 4];
        if label == IGNORED {
            dx.fill(0.0);
        } else {
            let label = label as usize;
            assert!(label < g.classes, "label {label} of {} classes", g.classes);
            let loss = vectorized!(dense_row(x, t, share, dx));
            let rank = vectorized!(LabelRank::of(x, label));
            entry = [loss, rank.error(1), rank.error(5), 1.0];
        }
        let tally = &mut tallies[4 * row..4 * row + 4];
        for ((total, tally), entry) in totals.iter_mut().zip(tally).zip(entry) {
            *total += entry;
            *tally = entry as f32;
        }
    }
    sums.copy_from_slice(&totals.map(|value| value as f32));
    Ok(())
}

/// A row's loss; writes its gradient times `share`.
#[inline(always)]
fn dense_row(x: &[f32], t: &[f32], share: f64, dx: &mut [f32]) -> f64 {
    let (max, sum) = exponentials(x, dx);
    let (mut targets, mut products) = ([0.0f64; LANES], [0.0f64; LANES]);
    let mut take = |x: f32, t: f32, lane: usize| {
        let (x, t) = (f64::from(x - max), f64::from(t));
        targets[lane] += t;
        products[lane] += t * x;
    };
    let ((strips, rest), (t_strips, t_rest)) = (x.as_chunks::<LANES>(), t.as_chunks::<LANES>());
    for (x, t) in strips.iter().zip(t_strips) {
        (0..LANES).for_each(|lane| take(x[lane], t[lane], lane));
    }
    rest.iter().zip(t_rest).enumerate().for_each(|(lane, (&x, &t))| take(x, t, lane));
    let (target, product): (f64, f64) = (targets.iter().sum(), products.iter().sum());
    // In f64, because the difference of a probability and a target may have few bits left in f32.
    for (dx, &t) in dx.iter_mut().zip(t) {
        *dx = flushed(((f64::from(*dx) / sum * target - f64::from(t)) * share) as f32);
    }
    target * sum.ln() - product
}

/// Calls `write(exponentials, label, their sum)` for every row, which replaces the exponentials by
/// gradients or probabilities; writes the tally.
fn rows(
    cpu: &mut Cpu,
    g: &Geometry,
    slots: [Slot; 4],
    write: impl Fn(&mut [f32], Option<usize>, f64),
) -> Result<()> {
    let [logits, labels, written, tally] = cpu.lend(slots);
    let (logits, written, tally): (&mut [f32], &mut [f32], &mut [f32]) =
        (logits.into(), written.into(), tally.into());
    let labels: &mut [u32] = labels.into();
    let (sums, tallies) = tally.split_at_mut(4);
    let mut totals = [0.0f64; 4];
    let scores = logits.chunks_exact(g.classes).zip(written.chunks_exact_mut(g.classes));
    for (((logits, written), &label), tally) in
        scores.zip(&*labels).zip(tallies.chunks_exact_mut(4))
    {
        let label = (label != IGNORED).then_some(label as usize);
        assert!(label.is_none_or(|l| l < g.classes), "label {label:?} of {} classes", g.classes);
        let (max, sum) = vectorized!(exponentials(logits, written));
        let mut entry = [0.0; 4];
        if let Some(label) = label {
            let loss = sum.ln() - f64::from(logits[label] - max);
            let rank = vectorized!(LabelRank::of(logits, label));
            entry = [loss, rank.error(1), rank.error(5), 1.0];
        }
        for ((total, tally), entry) in totals.iter_mut().zip(tally).zip(entry) {
            *total += entry;
            *tally = entry as f32;
        }
        write(written, label, sum);
    }
    sums.copy_from_slice(&totals.map(|value| value as f32));
    Ok(())
}

/// Writes exp(x - max); returns max and the exponentials' sum.
#[inline(always)]
fn exponentials(logits: &[f32], exps: &mut [f32]) -> (f32, f64) {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let mut take = |x: f32, lane: usize| {
        greatest[lane] = if x > greatest[lane] { x } else { greatest[lane] };
    };
    let (strips, rest) = logits.as_chunks::<LANES>();
    strips.iter().for_each(|strip| (0..LANES).for_each(|lane| take(strip[lane], lane)));
    rest.iter().enumerate().for_each(|(lane, &x)| take(x, lane));
    let max = greatest.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));

    for (e, &x) in exps.iter_mut().zip(logits) {
        // `exp` never returns zero.
        *e = if x - max < -87.0 { 0.0 } else { exp(x - max) };
    }
    let mut sums = [0.0f64; LANES];
    let (strips, rest) = exps.as_chunks::<LANES>();
    for strip in strips {
        (0..LANES).for_each(|lane| sums[lane] += f64::from(strip[lane]));
    }
    rest.iter().enumerate().for_each(|(lane, &e)| sums[lane] += f64::from(e));
    (max, sums.iter().sum())
}
