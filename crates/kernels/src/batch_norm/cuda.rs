//! On a GPU: partial sums, their totals, and a pass with four elements per thread.

use super::{Backward, ForwardBatch, Geometry, Vectors};
use crate::per_channel::{self, block_rows, blocks};
use tensor::{Argument, Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "batch_norm", bytes: include_bytes!("batch_norm.fatbin") };

/// The kernels' struct `Sizes`; epsilon is passed as its bits.
fn sizes(g: &Geometry) -> [u32; 6] {
    let (block_rows, blocks) = (block_rows(g.rows()) as u32, blocks(g.rows()) as u32);
    let [images, pixels, channels] = [g.images, g.pixels, g.channels].map(|n| n as u32);
    [images, pixels, channels, block_rows, blocks, g.epsilon.to_bits()]
}

fn over(g: &Geometry) -> Grid {
    Grid::over((g.rows() * g.channels).div_ceil(4))
}

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, x: Slot, v: Vectors, y: Slot) -> Result<()> {
    let s = sizes(g);
    let [x, scale, shift, mean, variance, y] =
        cuda.addresses([x, v.scale, v.shift, v.mean, v.variance, y]);
    let arguments = [&s as &dyn Argument, &x, &scale, &shift, &mean, &variance, &y];
    // SAFETY: the kernel's parameters in their order; `check` compared the slots with the sizes.
    unsafe { cuda.launch(&IMAGE, "batch_norm_forward", over(g), &arguments) }
}

pub(super) fn forward_batch(
    cuda: &mut Cuda,
    g: &Geometry,
    &ForwardBatch { batch, x, vectors: v, y }: &ForwardBatch,
    scratch: Slot,
) -> Result<()> {
    let s = sizes(g);
    let [_, partials] = g.parts(scratch);
    let [batch, x, scale, shift, mean, variance, y, partials] =
        cuda.addresses([batch, x, v.scale, v.shift, v.mean, v.variance, y, partials]);
    let strips = per_channel::grid(g.rows(), g.channels);
    let statistics = [&s as &dyn Argument, &batch, &partials, &mean, &variance];
    let apply = [&s as &dyn Argument, &batch, &x, &scale, &shift, &mean, &variance, &y];
    // SAFETY: each kernel's parameters in their order; the matrices have images x pixels x channels
    // elements, the vectors one per channel, and `partials` four floats per channel and block.
    unsafe {
        cuda.launch(&IMAGE, "batch_norm_sums", strips, &[&s, &batch, &x, &partials])?;
        cuda.launch(&IMAGE, "batch_norm_statistics", Grid::over(g.channels), &statistics)?;
        cuda.launch(&IMAGE, "batch_norm_forward_batch", over(g), &apply)
    }
}

pub(super) fn backward(cuda: &mut Cuda, g: &Geometry, b: &Backward, scratch: Slot) -> Result<()> {
    let s = sizes(g);
    let [coefficients, partials] = g.parts(scratch);
    let strips = per_channel::grid(g.rows(), g.channels);
    let [batch, x, dy, coefficients, partials] =
        cuda.addresses([b.batch, b.x, b.dy, coefficients, partials]);
    let [scale, running_mean, running_variance] =
        cuda.addresses([b.vectors.scale, b.vectors.mean, b.vectors.variance]);
    let [d_scale, d_shift, d_mean, d_variance] = cuda.addresses(b.gradients.all());
    let gradients = [
        &s as &dyn Argument,
        &b.momentum,
        &batch,
        &partials,
        &scale,
        &running_mean,
        &running_variance,
        &d_scale,
        &d_shift,
        &d_mean,
        &d_variance,
        &coefficients,
    ];
    // SAFETY: as above; `coefficients` has four floats per channel.
    unsafe {
        cuda.launch(&IMAGE, "batch_norm_products", strips, &[&s, &batch, &x, &dy, &partials])?;
        cuda.launch(&IMAGE, "batch_norm_gradients", Grid::over(g.channels), &gradients)?;
    }
    let Some(dx) = b.dx else { return Ok(()) };
    let dx = cuda.address(dx);
    let arguments = [&s as &dyn Argument, &batch, &x, &dy, &coefficients, &dx];
    // SAFETY: as above.
    unsafe { cuda.launch(&IMAGE, "batch_norm_backward", over(g), &arguments) }
}
