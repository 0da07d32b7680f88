//! On a GPU: one thread block per block of gradients; four gradients per thread to scale.

use super::Rows;
use crate::segments::launches;
use crate::sgd::Segment;
use tensor::{Cuda, Grid, Image, Result, Shape, Slot};

static IMAGE: Image = Image { op: "clip", bytes: include_bytes!("clip.fatbin") };

pub(super) fn norms(
    cuda: &mut Cuda,
    all: &[Rows],
    limit: f32,
    dw: Slot,
    norms: Slot,
) -> Result<()> {
    for rows in all.iter().filter(|rows| rows.row * rows.count > 0) {
        let dw = dw.part(rows.start, Shape::from([rows.row * rows.count]));
        let norms = norms.part(rows.at, Shape::from([rows.blocks()]));
        let [dw, norms] = cuda.addresses([dw, norms]);
        let row = rows.row as u64;
        let grid = Grid::of(rows.blocks(), Grid::THREADS);
        // SAFETY: clip_norms' parameters in their order; there is a block for each norm, and rows
        // for all blocks.
        unsafe { cuda.launch(&IMAGE, "clip_norms", grid, &[&dw, &row, &limit, &norms])? };
    }
    Ok(())
}

pub(super) fn scale(cuda: &mut Cuda, segments: &[Segment], factor: Slot, dw: Slot) -> Result<()> {
    let [factor, dw] = cuda.addresses([factor, dw]);
    for (segments, grid) in launches(segments) {
        // SAFETY: clip_scale's parameters in their order; the gradients hold every segment, and
        // there is one factor.
        unsafe { cuda.launch(&IMAGE, "clip_scale", grid, &[&segments, &factor, &dw])? };
    }
    Ok(())
}
