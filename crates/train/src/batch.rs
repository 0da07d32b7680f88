//! The rows of a batch, as a step takes them.

/// Borrowed rows: as many of each as the step was planned for, or fewer.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Crops, `[rows, height, width, 3]`, not mirrored.
    pub pixels: &'a [u8],
    /// Top, left and mirror of each crop.
    pub views: &'a [[u32; 3]],
    /// Gain and colour shift of each.
    pub tints: &'a [[f32; 4]],
    /// Class of each; `kernels::softmax_loss::IGNORED` for rows that take no part.
    pub labels: &'a [u32],
}
