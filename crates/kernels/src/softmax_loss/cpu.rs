//! On the CPU: row by row, sums in f64. The scores of a batch are small; one thread is enough.

use super::{Geometry, IGNORED, top_error};
use tensor::{Cpu, Result, Slot};

pub(super) fn forward_backward(
    cpu: &mut Cpu,
    g: &Geometry,
    logits: Slot,
    labels: Slot,
    dlogits: Slot,
    tally: Slot,
) -> Result<()> {
    let labels_counted = cpu.slice::<u32>(labels).iter().filter(|&&l| l != IGNORED).count();
    let share = 1.0 / labels_counted.max(1) as f64;
    rows(cpu, g, [logits, labels, dlogits, tally], |gradient, label, exps, sum| {
        for (class, (gradient, exp)) in gradient.iter_mut().zip(exps).enumerate() {
            let target = if label == Some(class) { 1.0 } else { 0.0 };
            *gradient = if label.is_some() { ((exp / sum - target) * share) as f32 } else { 0.0 };
        }
    })
}

pub(super) fn forward(
    cpu: &mut Cpu,
    g: &Geometry,
    logits: Slot,
    labels: Slot,
    probabilities: Slot,
    tally: Slot,
) -> Result<()> {
    rows(cpu, g, [logits, labels, probabilities, tally], |probabilities, _, exps, sum| {
        for (probability, exp) in probabilities.iter_mut().zip(exps) {
            *probability = (exp / sum) as f32;
        }
    })
}

/// Calls `write(row to write, label, exponentials, their sum)` for every row, and counts.
fn rows(
    cpu: &mut Cpu,
    g: &Geometry,
    slots: [Slot; 4],
    write: impl Fn(&mut [f32], Option<usize>, &mut dyn Iterator<Item = f64>, f64),
) -> Result<()> {
    let [logits, labels, written, tally] = cpu.lend(slots);
    let (logits, written, tally): (&mut [f32], &mut [f32], &mut [f32]) =
        (logits.into(), written.into(), tally.into());
    let labels: &mut [u32] = labels.into();
    let (mut loss, mut top1, mut top5, mut counted) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for ((logits, written), &label) in
        logits.chunks_exact(g.classes).zip(written.chunks_exact_mut(g.classes)).zip(&*labels)
    {
        let label = (label != IGNORED).then_some(label as usize);
        assert!(label.is_none_or(|l| l < g.classes), "label {label:?} of {} classes", g.classes);
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
        let exp = |&x: &f32| f64::from(x - max).exp();
        let sum: f64 = logits.iter().map(exp).sum();
        write(written, label, &mut logits.iter().map(exp), sum);
        if let Some(label) = label {
            loss += sum.ln() - f64::from(logits[label] - max);
            top1 += top_error(logits, label, 1);
            top5 += top_error(logits, label, 5);
            counted += 1.0;
        }
    }
    tally.copy_from_slice(&[loss, top1, top5, counted].map(|value| value as f32));
    Ok(())
}
