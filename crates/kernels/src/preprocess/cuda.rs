//! On a GPU: four elements per thread.

use super::{CHANNELS, Geometry, Mean};
use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "preprocess", bytes: include_bytes!("preprocess.fatbin") };

pub(super) fn forward(cuda: &mut Cuda, g: &Geometry, slots: [Slot; 5]) -> Result<()> {
    let (mean_height, mean_width) = match g.mean {
        Mean::Image { height, width } => (height as u32, width as u32),
        Mean::Color => (0, 0),
    };
    // The kernel's `Geometry`.
    let geometry = [g.height as u32, g.width as u32, mean_height, mean_width];
    let elements = g.images * g.height * g.width * CHANNELS;
    let (n, grid) = (elements as u64, Grid::over(elements.div_ceil(4)));
    let [pixels, views, tints, mean, x] = cuda.addresses(slots);
    // SAFETY: preprocess_forward's parameters in their order; the slots fit the geometry, and the
    // kernel checks that a crop lies inside the mean image.
    unsafe {
        let arguments =
            [&geometry as &dyn tensor::Argument, &pixels, &views, &tints, &mean, &x, &n];
        cuda.launch(&IMAGE, "preprocess_forward", grid, &arguments)
    }
}
