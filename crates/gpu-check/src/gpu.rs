//! Opens the GPU, measures its limits and finds networks for it.

use layers::{Spec, window};
use tensor::{Choice, Cuda, DType, Device, Planner, Precision, Recording, Shape};
use train::recipe::Recipe;
use train::recipes;

/// The name of a small network with every kind of row.
pub const TINY: &str = "tiny";

/// FLOP/s of f32 without tensor cores, from the data sheets.
const F32_FLOPS: [(&str, f64); 7] = [
    ("GH200", 66.9e12),
    ("H200", 66.9e12),
    ("H100", 66.9e12),
    ("A100", 19.5e12),
    ("L40S", 91.6e12),
    ("L4", 30.3e12),
    ("T4", 8.1e12),
];

/// Peak rates of a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// f32 operations per second; infinite for a GPU that is not in the list.
    pub flops: f64,
    /// Bytes per second, read and written, measured.
    pub bytes: f64,
    /// The number of bytes of the measurement.
    pub over: usize,
}

/// Opens the first GPU.
pub fn open() -> Result<Device, String> {
    Device::open(Choice::Cuda(0), 0).map_err(|error| error.to_string())
}

/// Opens the first GPU with this precision; `None` if the GPU does not have it.
pub fn open_in(precision: Precision) -> Result<Option<Device>, String> {
    let mut device = open()?;
    let has = device.set_precision(precision).map_err(|error| error.to_string())?;
    Ok((has == precision).then_some(device))
}

/// The precisions of the first GPU.
pub fn precisions() -> Result<Vec<Precision>, String> {
    let has = |precision| Ok(open_in(precision)?.map(|_| precision));
    Precision::ALL.into_iter().filter_map(|precision| has(precision).transpose()).collect()
}

/// The CUDA device.
pub fn cuda(device: &mut Device) -> &mut Cuda {
    match device {
        Device::Cuda(cuda) => cuda,
        Device::Cpu(_) => unreachable!("opened as a GPU"),
    }
}

/// `cuda:0: NVIDIA H200, compute capability 9.0`.
pub fn name(device: &Device) -> String {
    match device {
        Device::Cuda(cuda) => cuda.name(),
        Device::Cpu(_) => "cpu".to_string(),
    }
}

/// Waits for all launched work.
pub fn wait(device: &Device) -> Result<(), String> {
    match device {
        Device::Cuda(cuda) => cuda.synchronize().map_err(|error| error.to_string()),
        Device::Cpu(_) => Ok(()),
    }
}

/// A built-in model or [`TINY`], with its recipe.
pub fn find(name: &str) -> Result<(Spec, Recipe), String> {
    let recipe = recipes::paper();
    if name == TINY {
        let spec = Spec::image(TINY, 12, 12, 3)
            .conv("conv1", 8, window(3).pad(1))
            .relu()
            .lrn()
            .pool(window(3).stride(2))
            .conv("conv2", 8, window(3).pad(1).groups(2))
            .relu()
            .pool(window(3).stride(2))
            .linear("fc3", 12)
            .relu()
            .dropout(0.5)
            .linear("fc4", 4);
        return Ok((spec, recipe));
    }
    let spec = models::find(name).map_err(|error| error.to_string())?;
    Ok((spec, recipes::find(recipes::default_for(name)).unwrap_or(recipe)))
}

/// Measures the memory bandwidth with y = s x; looks up the arithmetic rate by the GPU's name.
pub fn limits(small: bool) -> Result<Limits, String> {
    let floats = if small { 1 << 10 } else { 1 << 28 };
    let mut device = open()?;
    let name = name(&device);
    let mut measure = || -> tensor::Result<f64> {
        let mut planner = Planner::new();
        let [x, y] = [0; 2].map(|_| planner.claim(DType::F32, Shape::from([floats])));
        device.reserve(planner.total())?;
        let scaling = kernels::dropout::Scaling::Paper;
        let g = kernels::dropout::Geometry {
            units: floats,
            layer: 0,
            drop: 0.5,
            scaling,
            columns: None,
        };
        const ROUNDS: usize = 10;
        let mut recording = Recording::default();
        let mut work = |device: &mut Device| {
            (0..ROUNDS).try_for_each(|_| kernels::dropout::at_test(device, &g, x, y))
        };
        device.replay(&mut recording, &mut work)?; // warms up
        cuda(&mut device).synchronize()?;
        let began = std::time::Instant::now();
        device.replay(&mut recording, &mut work)?;
        cuda(&mut device).synchronize()?;
        Ok((ROUNDS * 8 * floats) as f64 / began.elapsed().as_secs_f64())
    };
    let bytes = measure().map_err(|error| error.to_string())?;
    Ok(Limits { flops: f32_flops(&name), bytes, over: 8 * floats })
}

/// The rate by a whole word of the GPU's name: `NVIDIA A100-SXM4-80GB` is an A100, but `L40` is not
/// `L4`.
fn f32_flops(name: &str) -> f64 {
    let is_word = |known: &str| name.split([' ', '-', ',']).any(|word| word == known);
    let known = F32_FLOPS.iter().find(|(known, _)| is_word(known));
    known.map_or(f64::INFINITY, |(_, flops)| *flops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_found_by_whole_words() {
        let of = |gpu| f32_flops(&format!("cuda:0: {gpu}, compute capability 9.0"));
        for gpu in ["NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA GH200 480GB"] {
            assert_eq!(of(gpu), 66.9e12, "{gpu}");
        }
        assert_eq!(of("NVIDIA A100-SXM4-80GB"), 19.5e12);
        assert_eq!(
            [of("NVIDIA L4"), of("NVIDIA L40S"), of("Tesla T4")],
            [30.3e12, 91.6e12, 8.1e12]
        );
        for gpu in ["NVIDIA L40", "NVIDIA T400 4GB", "Quadro T4000", "NVIDIA GeForce RTX 4090"] {
            assert_eq!(of(gpu), f64::INFINITY, "{gpu}");
        }
    }
}
