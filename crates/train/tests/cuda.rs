//! Whole steps on a GPU, or its stand-in: they are the CPU's but for rounding, replayed as they
//! are done, and say what failed.
//!
//! `ALEXNET_LONG=1` (`cargo xtask test --long`): alexnet-64 as it is, every launch that may fail,
//! more steps; otherwise alexnet-64 with fewer filters, a few launches and steps.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Input, Mean, Recipe};
use alexnet_train::schedule::ScheduleState;
use alexnet_train::step::SingleDevice;
use alexnet_train::{Error, recipes};
use cuda_on_cpu::Behaviour;
use data::Batch;
use evaluate::Evaluate;
use fixtures::{Learn, every_row, scaled};
use inference::{InferencePlan, Predictor};
use layers::{Row, Spec};
use random::{Purpose, Stream};
use std::path::Path;
use std::sync::OnceLock;
use tensor::cudnn::Cudnn;
use tensor::{Device, Precision, Recording};
use testkit::{is_long, own_gpu, stand_in_in_use};

fn recipe(images: usize) -> Recipe {
    let mut recipe = Recipe { batch: images, rate: 0.01, ..recipes::paper() };
    recipe.input = Input::new(Mean::Image, 1.0 / 64.0);
    scaled(recipe)
}

/// alexnet-64 for ten classes; with half the filters and a quarter of the hidden units unless all
/// tests are run in full.
fn alexnet_64() -> Spec {
    let mut spec = models::find("alexnet-64").unwrap().with_classes(10).unwrap();
    for row in spec.rows.iter_mut().filter(|_| !is_long()) {
        match row {
            Row::Conv(conv) => conv.filters /= 2,
            Row::Linear(linear) if linear.outputs > 10 => linear.outputs /= 4,
            _ => {}
        }
    }
    spec
}

/// Noise, of which each step has its own.
fn batch(spec: &Spec, images: usize, number: u64) -> Batch {
    let [height, width, _] = spec.input;
    let classes = spec.classes().unwrap() as u32;
    let mut draws = Stream::new(5, Purpose::Test, 0, number as u32);
    let pixels = (0..images * height * width * 3).map(|_| draws.below(256) as u8).collect();
    let labels = (0..images as u32).map(|image| (image + number as u32) % classes).collect();
    Batch {
        views: (0..images as u32).map(|image| [image % 3, 2, image % 2]).collect(),
        ..fixtures::batch(pixels, [0; 3], [1.0, 3.0, 0.0, -2.0], labels)
    }
}

fn open(spec: &Spec, images: usize, mut device: Device) -> alexnet_train::Result<SingleDevice> {
    let stored = spec.input[0] + 4;
    let plan = SingleDevicePlan::new(spec, images, (Mean::Image, [stored; 2]), device.target())?;
    plan.check(&mut device)?;
    let recipe = recipe(images);
    let start = fixtures::fresh_with(&recipe, 3, vec![120.0; stored * stored * 3]);
    let mut step = plan.open(device, &start)?;
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1))?;
    Ok(step)
}

/// The same network as [`open`] begins with, to go forward only.
fn predictor(spec: &Spec, images: usize, mut device: Device) -> inference::Result<Predictor> {
    let stored = spec.input[0] + 4;
    let input = Input { side: Some(stored), ..recipe(images).input };
    let begun = open(spec, images, Device::cpu(1)).unwrap();
    let mut weights = fixtures::weights_of(&begun, spec, input, vec![120.0; stored * stored * 3]);
    weights.mean.shape = vec![stored, stored, 3];
    let plan = InferencePlan::new(spec, images, (Mean::Image, [stored; 2]), device.target())?;
    plan.check(&mut device)?;
    plan.open(device, &weights, Path::new("drawn"))
}

/// What steps come to: the loss of each, a test's loss after them, and all parameters.
#[derive(Debug, PartialEq)]
struct Outcome {
    losses: Vec<f64>,
    tested: f64,
    parameters: Vec<f32>,
}

fn train(spec: &Spec, images: usize, steps: u64, device: Device) -> alexnet_train::Result<Outcome> {
    let mut step = open(spec, images, device)?;
    let mut losses = Vec::new();
    for number in 1..=steps {
        losses.push(step.learn(&batch(spec, images, number), number)?.score().loss);
    }
    let tested = step.test_on(&batch(spec, images, 99))?.score().loss;
    let parameters = step.device().download::<f32>(step.network().parameters.values)?;
    Ok(Outcome { losses, tested, parameters })
}

/// How far the first loss may be from the CPU's, the later ones, and what was learned, as shares of
/// them. In f32 another order of sums makes a difference. Rounding to less moves the first loss by
/// a few units; gradients by more, as where it turns a rectifier or a maximum over, a whole term
/// comes or goes: of n terms a share of about u does, and the root of that is what they are off by.
fn tolerances(precision: Precision) -> [f64; 3] {
    let u = precision.unit();
    match precision {
        Precision::F32 => [2e-4, 2e-4, 1e-3],
        Precision::Tf32 | Precision::Bf16 => [4.0 * u, u.sqrt(), 8.0 * u.sqrt()],
    }
}

/// Asserts that what was learned on such a GPU is what the CPU learns, but for what rounding may
/// change.
fn close(
    spec: &Spec,
    (images, steps): (usize, u64),
    precisions: &[Precision],
    gpu: fn() -> Option<Device>,
) {
    let Some(_) = gpu() else { return };
    let begun = train(spec, images, 0, Device::cpu(2)).unwrap();
    let cpu = train(spec, images, steps, Device::cpu(2)).unwrap();
    let distance = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let learned = distance(&cpu.parameters, &begun.parameters);
    for &precision in precisions {
        let mut gpu = gpu().unwrap();
        if gpu.set_precision(precision).unwrap() != precision {
            continue; // an old GPU
        }
        let gpu = train(spec, images, steps, gpu).unwrap();
        let [first, later, of_learned] = tolerances(precision);
        let losses = cpu.losses.iter().zip(&gpu.losses).chain([(&cpu.tested, &gpu.tested)]);
        for (number, (cpu, gpu)) in losses.enumerate() {
            let most = if number == 0 { first } else { later };
            assert!((cpu - gpu).abs() < most * cpu, "{precision}: losses {cpu} and {gpu}");
        }
        let apart = distance(&cpu.parameters, &gpu.parameters) / learned;
        assert!(learned > 0.0 && apart < of_learned, "{precision}: {apart} apart");
        let least = precision.unit() / 4.0;
        assert!(apart >= least, "{precision}: {apart} apart, as if nothing had been rounded");
    }
}

#[test]
fn steps_of_every_row_equal_the_cpus() {
    close(&every_row(15, 4), (5, 6), &[Precision::F32], own_gpu);
}

#[test]
fn steps_of_alexnet_64_equal_the_cpus() {
    let spec = alexnet_64();
    close(&spec, (1, 2), &[Precision::F32], own_gpu);
    close(&spec, (1, 1), &[Precision::Tf32, Precision::Bf16], own_gpu);
}

/// The same of a processor that multiplies in bf16.
#[test]
fn steps_with_amx_are_near_those_in_f32() {
    if let Err(why) = tensor::amx() {
        return eprintln!("SKIPPED: {why}");
    }
    let spec = alexnet_64();
    close(&spec, (2, 1), &[Precision::Bf16], || Some(Device::cpu(2)));
    close(&every_row(15, 4), (5, 1), &[Precision::Bf16], || Some(Device::cpu(2)));
}

/// A GPU that convolves through the stand-in for cuDNN; nothing where a real one is in use, whose
/// streams that does not know.
fn gpu_with_cudnn() -> Option<Device> {
    static LIBRARY: OnceLock<&'static Cudnn> = OnceLock::new();
    let mut gpu = own_gpu()?;
    stand_in_in_use()?;
    let open = || Cudnn::open(cuda_on_cpu::Cudnn::load().unwrap().path()).unwrap();
    let Device::Cuda(cuda) = &mut gpu else { unreachable!("a GPU") };
    cuda.use_cudnn(LIBRARY.get_or_init(open)).unwrap();
    Some(gpu)
}

#[test]
fn steps_through_cudnn_equal_the_cpus_and_are_replayed() {
    let spec = alexnet_64();
    close(&spec, (1, 1), &[Precision::Tf32], gpu_with_cudnn);
    let spec = every_row(15, 4);
    close(&spec, (5, 3), &[Precision::F32], gpu_with_cudnn);
    let Some(mut gpu) = gpu_with_cudnn() else { return };
    let Device::Cuda(cuda) = &mut gpu else { unreachable!("a GPU") };
    cuda.eager(true);
    let eager = train(&spec, 5, 3, gpu).unwrap();
    assert_eq!(train(&spec, 5, 3, gpu_with_cudnn().unwrap()).unwrap(), eager);
    assert!(train(&spec, 5, 3, own_gpu().unwrap()).unwrap() != eager, "others' sums");
}

/// With copies as late as they may be, and as early.
#[test]
fn a_replay_has_the_bits_of_what_is_done_as_it_is_asked_for() {
    let spec = every_row(15, 4);
    let steps = if is_long() { 6 } else { 3 }; // the first is recorded, the others are replays
    for precision in Precision::ALL {
        let gpu = |eager| {
            let mut gpu = own_gpu()?;
            gpu.set_precision(precision).unwrap();
            if let Device::Cuda(cuda) = &mut gpu {
                cuda.eager(eager);
            }
            Some(gpu)
        };
        let Some(eager) = gpu(true) else { return };
        let eager = train(&spec, 5, steps, eager).unwrap();
        for early_copies in [false, true] {
            let Some(gpu) = gpu(false) else { return };
            if let Some(stand_in) = stand_in_in_use() {
                stand_in.behave(Behaviour { early_copies, ..Behaviour::default() });
            }
            assert_eq!(train(&spec, 5, steps, gpu).unwrap(), eager, "{precision}");
        }
    }
}

/// A launch costs more than a microsecond, whatever it computes.
#[test]
fn a_step_of_the_paper_takes_at_most_sixty_launches() {
    let Some(mut gpu) = own_gpu() else { return };
    for (name, images, precision) in [
        ("alexnet", 2, Precision::F32),
        ("alexnet", 1024, Precision::Bf16),
        ("torchvision", 2, Precision::Bf16),
        ("torchvision", 1024, Precision::Tf32),
    ] {
        gpu.set_precision(precision).unwrap();
        let (spec, input) = (models::find(name).unwrap(), (Mean::Color, [256; 2]));
        let plan = SingleDevicePlan::new(&spec, images, input, gpu.target()).unwrap();
        let launches = plan.launches(&mut gpu).unwrap();
        assert!((30..=60).contains(&launches), "{name} at {images}, {precision}: {launches}");
        assert_eq!(plan.launches(&mut Device::cpu(1)).unwrap(), 0);
    }
}

/// The launches that are counted without running a step are those of its recording.
#[test]
fn recorded_launches_are_the_counted_ones() {
    let Some(gpu) = own_gpu() else { return };
    let spec = every_row(15, 4);
    let mut step = open(&spec, 5, gpu).unwrap();
    let (net, batch) = (step.net_mut(), batch(&spec, 5, 1));
    let counted = net.plan.launches(&mut net.device).unwrap();
    net.load_training(&batch).unwrap();
    net.begin_step(1, &batch.labels).unwrap();
    let launches = || stand_in_in_use().map(|stand_in| stand_in.counts()[1]);
    let before = launches();
    let mut recording = Recording::default();
    let pass = |plan: &SingleDevicePlan, device: &mut Device| {
        plan.forward(device)?;
        plan.backward(device)
    };
    net.replay(&mut recording, pass).unwrap();
    assert_eq!(recording.launches(), counted);
    if let (Some(before), Some(after)) = (before, launches()) {
        assert_eq!(after - before, counted as u64 + 1, "each once, and the recording");
    }
}

#[test]
fn a_network_that_only_looks_sees_what_it_sees_on_the_cpu() {
    let spec = every_row(15, 4);
    let Some(gpu) = own_gpu() else { return };
    let see = |device| {
        let mut step = predictor(&spec, 3, device).unwrap();
        let tally = step.test_on(&batch(&spec, 3, 1)).unwrap();
        let mut probabilities = vec![0.0; 3 * step.batch_shape().classes];
        step.probabilities(&mut probabilities).unwrap();
        let rows: Vec<usize> = (0..step.network().rows().len()).collect();
        let mut seen = Vec::new();
        step.activations(&batch(&spec, 3, 2), &rows, &mut |_, output| seen.push(output.to_vec()))
            .unwrap();
        // The batch that comes next must not overtake the look at this one.
        let again = step.test_on(&batch(&spec, 3, 1)).unwrap();
        assert_eq!(again, tally);
        (probabilities, seen)
    };
    let (cpu, gpu) = (see(Device::cpu(1)), see(gpu));
    testkit::close(&gpu.0, &cpu.0, 1e-5);
    assert_eq!(gpu.1.len(), cpu.1.len());
    gpu.1.iter().zip(&cpu.1).for_each(|(gpu, cpu)| testkit::close(gpu, cpu, 1e-4));
}

/// An error names the step in which it occurred and the operation that failed.
#[test]
fn a_failure_names_its_step() {
    let Some(_gpu) = own_gpu() else { return };
    let Some(stand_in) = stand_in_in_use() else {
        return eprintln!("SKIPPED: failures can be simulated on the stand-in only");
    };
    let spec = every_row(15, 4);
    let failing = |launch| {
        let failing_launch = Some(launch);
        stand_in.behave(Behaviour { failing_launch, ..Behaviour::default() });
    };
    let gpu = |eager| {
        let mut gpu = own_gpu().unwrap();
        let Device::Cuda(cuda) = &mut gpu else { unreachable!() };
        cuda.eager(eager);
        gpu
    };
    // What comes after the steps is a test.
    let launches = |steps, eager| {
        train(&spec, 1, steps, gpu(eager)).unwrap();
        stand_in.counts()[1]
    };

    // Recorded: the first step's kernels are launched into recordings, the second's are two graphs.
    let first_step = launches(1, false) - launches(0, false);
    let recorded = gpu(false);
    failing(first_step + 1);
    let error = train(&spec, 1, 6, recorded).unwrap_err();
    assert!(matches!(&error, Error::Step { step: 2, .. }), "{error}");
    let said = error.to_string();
    assert!(said.starts_with("step 2: a recorded step failed on the GPU: "), "{said}");
    assert!(said.ends_with("the run can be resumed from its last checkpoint"), "{said}");

    // As they are asked for: whichever launch it is, its kernel has a name.
    let all = launches(2, true) - launches(0, true);
    let few = vec![1, 2, all / 2, all / 2 + 1, all];
    let launches = if is_long() { (1..=all).collect() } else { few };
    for launch in launches {
        let eager = gpu(true);
        failing(launch);
        let said = train(&spec, 1, 2, eager).unwrap_err().to_string();
        let (step, what) = said.split_once(": ").unwrap();
        assert_eq!(step, if launch <= all / 2 { "step 1" } else { "step 2" }, "{said}");
        let kernel = what.split_once(" failed on the GPU: ").unwrap().0;
        assert!(kernel.contains('_') && !kernel.contains(' '), "{said}");
    }
}

/// Memory may be refused at any time: that is an error, and nothing hangs or is lost.
#[test]
fn any_allocation_may_be_refused() {
    let spec = every_row(15, 4);
    for failing in 1.. {
        let Some(gpu) = own_gpu() else { return };
        let Some(stand_in) = stand_in_in_use() else { return };
        let failing_allocation = Some(failing);
        stand_in.behave(Behaviour { failing_allocation, ..Behaviour::default() });
        match train(&spec, 2, 1, gpu) {
            Ok(_) => return assert_eq!(failing, 7, "memory, twice pinned, three recordings"),
            Err(error) => assert!(
                matches!(&error, Error::Device(tensor::Error::OutOfMemory { .. }))
                    || error.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY"),
                "{error}"
            ),
        }
    }
}
