//! The expected time of a part of a step on an H200, counted from the kernels' machine code.
//!
//! No GPU has confirmed these times. `cargo xtask kernels` counts instructions and accesses to
//! shared memory for a panel of each product (`crates/kernels/sm_90.txt`). A panel takes the
//! longest of four times of a multiprocessor: to issue the instructions, to move the bytes of
//! shared memory and of the first-level cache, which is the same memory, to multiply, and to read
//! the panel from the second-level cache; [`EFFICIENCY`] stands for what they do not overlap. Tiles
//! run in waves, as many at once as fit the multiprocessors.
//!
//! Hits of the first-level cache are counted only if a block itself has read the line before, and
//! the multiprocessor at most [`NEAR`] bytes since: convolutions read the pixels of a tap and a
//! block of channels again for the next taps. Blocks of a multiprocessor are in no step with one
//! another, so nothing is counted for operands that they share.
//!
//! Parts without a product take the time of their bytes, times a factor for the instructions that
//! they spend beside copying ([`slowness`]), and the time of their launches.

use crate::peaks::Peaks;
use crate::step_part::{Product, StepPart, Taps, Work};
use kernels::gemm::peaks::Peak;
use kernels::gemm::{GpuTiles, gpu_tiles};
use std::fs;
use std::sync::OnceLock;

/// Multiprocessors of an H200, and their clock under load.
const MULTIPROCESSORS: f64 = 132.0;
const CLOCK: f64 = 1.755e9;
/// Warps of a block; a multiprocessor issues four instructions a clock.
const WARPS: f64 = 8.0;
const ISSUED: f64 = 4.0;
/// Multiply-adds of mma.sync in bf16 a clock, about 73 % of what wgmma does.
const PRODUCTS: f64 = 1248.0;
/// Bytes a second from the second-level cache, all multiprocessors together. A guess, which a GPU
/// has to measure.
const CACHE_BYTES: f64 = 5.5e12;
/// It is read in sectors of 32 bytes. A row of a panel is 64 bytes; where it begins anywhere, it
/// meets three sectors.
const NARROW_SECTORS: f64 = 1.5;
/// Half of the first-level cache beside the shared memory of the blocks, in bytes: 256 less 100 KB.
const NEAR: f64 = 78.0 * 1024.0;
/// Bytes of shared memory a clock, and of the first-level cache, which is the same memory.
const SHARED_BYTES: f64 = 128.0;
/// Bytes of a line of the first-level cache.
const LINE: usize = 128;
/// Of the longest of the four times.
const EFFICIENCY: f64 = 0.83;
/// Clocks of a tile before its first panel and after its last, beside those for each element.
const TILE_CLOCKS: f64 = 767.0;
const ELEMENT_CLOCKS: f64 = 0.106;
/// A launch inside a graph, in seconds.
const LAUNCH: f64 = 1.6e-6;
/// Folding images takes so much longer than its bytes: at most 200 instructions for each 32 bytes
/// of a thread take nine tenths of that time, most of it meanwhile.
const FOLDING: f64 = 1.3;
/// Bytes a second at which slices are stored and added up.
const SLICE_BYTES: f64 = 4.0e12;

/// The rate that expected times are based on: operations, or bytes, a second.
pub fn assumed_rate(peak: Peak) -> f64 {
    let clocks = MULTIPROCESSORS * CLOCK;
    match peak {
        Peak::TensorCores => 2.0 * PRODUCTS * clocks,
        Peak::SharedMemory | Peak::FirstLevelCache => SHARED_BYTES * clocks,
        Peak::SecondLevelCache => CACHE_BYTES,
    }
}

/// A kernel's row in the table of `cargo xtask kernels`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct KernelRow {
    blocks: f64,
    slots: [f64; 2],
    clocks: [f64; 2],
}

/// Read when the program runs, as the table may have changed since it was built.
fn table() -> &'static str {
    static TABLE: OnceLock<String> = OnceLock::new();
    TABLE.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/kernels/sm_90.txt");
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    })
}

fn row(kernel: &str) -> Option<KernelRow> {
    let line = table().lines().find(|line| line.split(' ').nth(1) == Some(kernel))?;
    let cells: Vec<&str> = line.split(' ').collect();
    let pair = |cell: &str| {
        let (wide, narrow) = cell.split_once('/')?;
        Some([wide.parse().ok()?, narrow.parse().ok()?])
    };
    let [.., slots, clocks] = cells[..] else { return None };
    Some(KernelRow { blocks: cells[5].parse().ok()?, slots: pair(slots)?, clocks: pair(clocks)? })
}

fn tiles_of(product: &Product) -> GpuTiles {
    let Product { kernel, sizes, count, .. } = *product;
    gpu_tiles(kernel, sizes, count).unwrap_or_else(|| panic!("there is no product {kernel}"))
}

/// Clocks in which the loads of a panel pass the first-level cache: one for each line of 128 bytes
/// that a warp's instruction touches. Rows of an operand with k along them are shorter than a line,
/// and lie in lines of their own. Narrow loads take four instructions for the same lines. That
/// lines of one instruction do not come together is a guess.
fn load_clocks(product: &Product, tile: [usize; 2], panel: usize) -> f64 {
    let along = match product.kernel {
        "conv_forward" | "linear_forward" => [true, true],
        "conv_backward_input" | "linear_backward_input" => [true, false],
        _ => [false, false],
    };
    let lines = |(extent, along): (usize, bool)| {
        let [rows, length] = if along { [extent, panel] } else { [panel, extent] };
        rows * (4 * length).div_ceil(LINE)
    };
    let lines: usize = tile.into_iter().zip(along).map(lines).sum();
    lines as f64 * if product.wide { 1.0 } else { 4.0 }
}

/// Bytes of a panel that come from the second-level cache.
fn panel_bytes(product: &Product, tile: [usize; 2], panel: usize, blocks: f64) -> f64 {
    let row = (4 * panel) as f64;
    let sectors = if product.wide { 1.0 } else { NARROW_SECTORS };
    let [down, across] = tile.map(|extent| extent as f64);
    let Some(Taps { side, map }) = product.taps else { return row * (down + across) * sectors };
    let (side, [height, width]) = (side as f64, map.map(|extent| extent as f64));
    if product.kernel == "conv_backward_filter" {
        // Columns are some taps of a block of channels; a panel is that many pixels.
        let pixels = panel as f64;
        let taps = (side * side).min(across / pixels).floor().max(1.0);
        let rows_of_taps = side.min((taps / side).ceil() + 1.0);
        // A row of pixels later, the next row of taps reads the same pixels.
        let new_of_row = pixels + side - 1.0;
        let between = ((width / pixels).ceil() + 1.0) * row * (down + rows_of_taps * new_of_row);
        let new = if blocks * between <= NEAR {
            new_of_row * (height + side - 1.0) / height
        } else {
            new_of_row * rows_of_taps
        };
        return row * (down + across * (new / (pixels * taps)).min(1.0));
    }
    // A panel is a tap of a block of channels. Of the next tap in a row only the last column of
    // each line of pixels is new, of the next row of taps a line; tiles may end amid two images.
    let of_row = down + (side - 1.0) * (down / width).ceil();
    let between = row * (side * across + of_row);
    let new = if blocks * between <= NEAR {
        of_row + (side - 1.0) * 2.0 * (width + side - 1.0)
    } else {
        side * of_row
    };
    row * (across + down * (new / (side * side * down)).min(1.0))
}

fn blocks(product: &Product) -> f64 {
    let GpuTiles { tile, slices, .. } = tiles_of(product);
    let [rows, columns, _] = product.sizes;
    let tiles = rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
    (tiles * product.count * slices) as f64
}

/// How often the blocks of each product of a part fill all multiprocessors: `1.92 + 0.96`.
pub fn waves(part: &StepPart) -> String {
    let Work::Products(products) = &part.work else { return String::new() };
    let waves = |product: &Product| {
        let row = row(tiles_of(product).kernel).expect("a kernel in sm_90.txt");
        format!("{:.2}", blocks(product) / (MULTIPROCESSORS * row.blocks))
    };
    products.iter().map(waves).collect::<Vec<_>>().join(" + ")
}

/// Seconds of a product in bf16, without its launches.
fn product_seconds(product: &Product) -> f64 {
    let [rows, columns, _] = product.sizes.map(|size| size as f64);
    let GpuTiles { kernel, tile, slices, slice, panel } = tiles_of(product);
    let row = row(kernel).unwrap_or_else(|| panic!("{kernel} is not in sm_90.txt"));
    let [down, across] = tile.map(|extent| extent as f64);
    let way = usize::from(!product.wide);
    let issue = row.slots[way] * WARPS / ISSUED;
    let multiply = down * across * panel as f64 / PRODUCTS;
    let read =
        panel_bytes(product, tile, panel, row.blocks) / (CACHE_BYTES / MULTIPROCESSORS / CLOCK);
    let local = row.clocks[way] + load_clocks(product, tile, panel);
    let of_panel = issue.max(local).max(multiply).max(read) / EFFICIENCY;
    let panels = slice.div_ceil(panel) as f64;
    let of_tile = panels * of_panel + TILE_CLOCKS + ELEMENT_CLOCKS * down * across;
    let blocks = blocks(product);
    let waves = (blocks / (MULTIPROCESSORS * row.blocks)).floor();
    let left = blocks - waves * MULTIPROCESSORS * row.blocks;
    // A block that has a multiprocessor to itself does not hide its own waits.
    let alone = if row.blocks > 2.0 { 2.0 } else { 1.35 };
    let of_last = match (left / MULTIPROCESSORS).ceil() {
        0.0 => 0.0,
        1.0 => alone,
        blocks => blocks,
    };
    let clocks = (waves * row.blocks + of_last) * of_tile;
    let summed = if slices > 1 {
        2.0 * 4.0 * rows * columns * (product.count * slices) as f64 / SLICE_BYTES
    } else {
        0.0
    };
    // Folding reads as much as it writes.
    let folded = FOLDING * 2.0 * 4.0 * product.folded as f64 / SLICE_BYTES;
    clocks / CLOCK + summed + folded
}

/// The launches of a product: of its kernel, of those that fold its images and unfold its filters,
/// and of those that add its slices. The pass of the weights adds two sums, as it also computes the
/// gradient of the biases; unfolding adds the slices of the filters.
fn product_launches(product: &Product) -> usize {
    let is_of_weights =
        ["conv_backward_filter", "linear_backward_weights"].contains(&product.kernel);
    let folds = usize::from(product.folded > 0);
    let unfolds = folds * usize::from(is_of_weights);
    match tiles_of(product).slices {
        1 => 1 + folds + unfolds,
        _ if is_of_weights => 3 + folds,
        _ => 2 + folds,
    }
}

/// The launches of a part.
pub fn launches(part: &StepPart) -> usize {
    let masks = usize::from(part.mask > 0.0);
    match &part.work {
        Work::Products(products) => masks + products.iter().map(product_launches).sum::<usize>(),
        Work::Bytes if part.name == "softmax_loss" => 2, // the rows, then their sum
        Work::Bytes => 1,
    }
}

/// How much longer than its bytes a part takes. Guessed from the source, not counted: divisions,
/// powers, and comparisons for every window.
fn slowness(name: &str) -> f64 {
    let is_slow = ["preprocess", "lrn", "pool"].iter().any(|slow| name.starts_with(slow));
    if is_slow { 2.0 } else { 1.0 }
}

/// The expected seconds of a part in bf16.
pub fn seconds(part: &StepPart, peaks: &Peaks) -> f64 {
    let computed = match &part.work {
        Work::Products(products) => {
            part.mask / peaks.bytes + products.iter().map(product_seconds).sum::<f64>()
        }
        Work::Bytes => part.bytes / peaks.bytes * slowness(&part.name),
    };
    computed + launches(part) as f64 * LAUNCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split_step::parts_of;
    use tensor::Precision;
    use testkit::own_gpu;
    use train::plan::SingleDevicePlan;

    const TILE: [usize; 2] = [128, 128];

    fn product(kernel: &'static str, side: usize, width: usize) -> Product {
        let taps = Some(Taps { side, map: [width; 2] });
        Product { kernel, sizes: [1, 1, 1], count: 1, wide: true, taps, folded: 0 }
    }

    #[test]
    fn taps_are_read_again_from_the_first_level_cache() {
        let rows = |bytes: f64| bytes / 64.0;
        // 128 pixels, and of the next two taps ten new ones each; a line of 15 for each of the next
        // two rows of taps, in two images. The weights come from the second-level cache.
        let read = panel_bytes(&product("conv_forward", 3, 13), TILE, 16, 2.0);
        assert_eq!(rows(read), 128.0 + (128.0 + 2.0 * 10.0 + 2.0 * 2.0 * 15.0) / 9.0);
        // Rows of five taps are too far apart.
        let read = panel_bytes(&product("conv_backward_input", 5, 27), TILE, 16, 2.0);
        assert_eq!(rows(read), 128.0 + 5.0 * (128.0 + 4.0 * 5.0) / 25.0);
        // Eight taps of sixteen pixels: with the next row, 18 are new, and more above each image.
        let read = panel_bytes(&product("conv_backward_filter", 3, 13), TILE, 16, 2.0);
        assert_eq!(rows(read), 128.0 + 128.0 * (18.0 * 15.0 / 13.0) / 128.0);
        // Without taps, and 4 bytes at a time.
        let linear = Product { taps: None, ..product("linear_forward", 1, 1) };
        assert_eq!(panel_bytes(&linear, TILE, 16, 2.0), 64.0 * 256.0);
        let narrow = Product { wide: false, ..linear };
        assert_eq!(panel_bytes(&narrow, TILE, 16, 2.0), 64.0 * 256.0 * NARROW_SECTORS);
    }

    #[test]
    fn rows_of_sixteen_k_take_a_line_each() {
        let clocks =
            |kernel, wide| load_clocks(&Product { wide, ..product(kernel, 3, 13) }, TILE, 16);
        assert_eq!(clocks("conv_forward", true), 256.0);
        assert_eq!(clocks("conv_backward_input", true), 128.0 + 64.0);
        assert_eq!(clocks("conv_backward_filter", true), 128.0);
        assert_eq!(clocks("conv_forward", false), 4.0 * 256.0);
    }

    /// The launches of a step's parts are those of the kernels' code.
    #[test]
    fn launches_are_those_of_a_step() {
        let Some(mut gpu) = own_gpu() else { return };
        gpu.set_precision(Precision::Bf16).unwrap();
        for network in ["alexnet", "torchvision"] {
            for images in [1, 16, 128, 1024] {
                let spec = models::find(network).unwrap();
                let expected: usize = parts_of(&spec, images).iter().map(launches).sum();
                let input = (train::recipe::Mean::Color, [256; 2]);
                let plan = SingleDevicePlan::new(&spec, images, input, gpu.target()).unwrap();
                let counted = plan.launches(&mut gpu).unwrap();
                assert_eq!(counted, expected, "{network} at {images}");
            }
        }
    }
}
