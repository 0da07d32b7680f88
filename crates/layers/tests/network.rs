//! Whole networks: gradients against central differences, memory plans, determinism, refused
//! specifications.

use alexnet_layers::{
    BatchNorm, Clock, Lrn, Network, Phase, Role, Row, Spec, SpecError, TrainableNetwork, window,
};
use random::{Purpose, Stream};
use std::collections::BTreeMap;
use tensor::{DType, Device, Planner, Recording, Target};
use testkit::{bits_equal, close, each_device, each_gpu};

/// Every kind of row, on 11 x 9 images.
fn every_row() -> Spec {
    let across = Lrn { alpha: 0.3, divide_alpha: true, towers: 2, ..Lrn::default() };
    let within = Lrn { size: 3, alpha: 0.2, k: 1.0, within_channel: true, ..Lrn::default() };
    Spec::image("every-row", 11, 9, 3)
        .conv("conv1", 6, window(3).overhang(2))
        .lrn_with(across)
        .pool(window(3).stride(2))
        .tanh()
        .conv("conv2", 8, window(3).pad(1).groups(2).direct())
        .relu()
        .batch_norm()
        .lrn_with(within)
        .average_pool(window(3).stride(2).ceil())
        .logistic()
        .local("local3", 6, window(2).pad(1).stride(2))
        .prelu()
        .gelu()
        .layer_norm()
        .linear("fc3", 10)
        .leaky_relu(0.1)
        .prelu()
        .dropout(0.5)
        .inverted_dropout(0.25)
        .linear("fc4", 4)
}

/// The clock at a step, with `images` valid images that are the whole batch.
fn clock(step: u32, images: usize) -> Clock {
    Clock::new(1, step, images as u32)
}

struct Built<N> {
    device: Device,
    network: N,
}

/// The network with random parameters and random images.
fn built(spec: &Spec, images: usize, threads: usize) -> Built<TrainableNetwork> {
    let mut planner = Planner::new();
    let target = Target::Cpu { threads };
    let network = TrainableNetwork::plan(spec, images, &mut planner, target).unwrap();
    Built { device: filled(&network, &planner, threads), network }
}

/// As [`built`], to go forward only.
fn built_forward(spec: &Spec, images: usize, threads: usize) -> Built<Network> {
    let mut planner = Planner::new();
    let network = Network::plan(spec, images, &mut planner, Target::Cpu { threads }).unwrap();
    Built { device: filled(&network, &planner, threads), network }
}

fn filled(network: &Network, planner: &Planner, threads: usize) -> Device {
    let mut device = Device::cpu(threads);
    fill(network, planner, &mut device);
    device
}

fn fill(network: &Network, planner: &Planner, device: &mut Device) {
    device.reserve(planner.total()).unwrap();
    let mut draws = Stream::new(5, Purpose::Test, 0, 0);
    let mut normals =
        |len: usize, std: f32| -> Vec<f32> { (0..len).map(|_| std * draws.normal()).collect() };
    for (idx, entry) in network.parameters.entries.iter().enumerate() {
        let mut values = normals(entry.len(), (2.0 / entry.fan_in as f32).sqrt());
        if entry.role == Role::Variance {
            values.iter_mut().for_each(|value| *value = value.abs());
        }
        network.parameters.upload(device, idx, &values).unwrap();
    }
    let shape = network.input.shape().dims().try_into().unwrap();
    network.set_input(device, shape, &normals(network.input.len(), 1.0)).unwrap();
    network.set_clock(device, clock(3, network.input.shape().dims()[0])).unwrap();
}

/// sum(output * upstream), forward only.
fn objective(built: &mut Built<TrainableNetwork>, upstream: &[f32]) -> f64 {
    built.network.forward(&mut built.device, Phase::Train).unwrap();
    let output = built.device.download::<f32>(built.network.output).unwrap();
    output.iter().zip(upstream).map(|(y, u)| f64::from(*y) * f64::from(*u)).sum()
}

/// Every parameter's gradient against central differences, at a few entries of each, under a random
/// upstream gradient.
#[test]
fn gradients_equal_central_differences() {
    let mut built = built(&every_row(), 3, 2);
    let mut draws = Stream::new(6, Purpose::Test, 0, 0);
    let upstream: Vec<f32> = (0..built.network.output.len()).map(|_| draws.normal()).collect();
    objective(&mut built, &upstream);
    built.device.upload(built.network.d_output, &upstream).unwrap();
    built.network.backward(&mut built.device).unwrap();

    let entries = built.network.parameters.entries.clone();
    let trainable = entries.iter().enumerate().filter(|(_, entry)| !entry.role.is_statistic());
    for (idx, entry) in trainable {
        let slot = built.network.parameters.value(idx);
        let gradient = built.device.download::<f32>(built.network.gradient(idx)).unwrap();
        let scale = gradient.iter().fold(0.0f32, |max, g| max.max(g.abs()));
        assert!(scale > 0.0, "{} has no gradient at all", entry.name);
        let values = built.device.download::<f32>(slot).unwrap();
        let mut checked = 0;
        for _ in 0..12 {
            let at = draws.below(entry.len() as u32) as usize;
            let mut slope = |step: f32| {
                let mut moved = values.clone();
                let mut side = |by: f32| {
                    moved[at] = values[at] + by;
                    built.device.upload(slot, &moved).unwrap();
                    objective(&mut built, &upstream)
                };
                (side(step) - side(-step)) / f64::from(2.0 * step)
            };
            // Two step widths disagree where there is no derivative, at a kink of ReLU or max.
            let (wide, narrow) = (slope(4e-3), slope(2e-3));
            let tolerance = 0.02 * f64::from(scale);
            if (wide - narrow).abs() < tolerance / 4.0 {
                let error = (narrow - f64::from(gradient[at])).abs();
                assert!(error < tolerance, "{}[{at}]: {narrow} {}", entry.name, gradient[at]);
                checked += 1;
            }
        }
        built.device.upload(slot, &values).unwrap();
        assert!(checked >= 4, "{}: only {checked} entries without a kink", entry.name);
    }
}

fn gradients(spec: &Spec, threads: usize) -> Vec<f32> {
    gradients_of(built(spec, 3, threads))
}

fn gradients_of(mut built: Built<TrainableNetwork>) -> Vec<f32> {
    built.network.forward(&mut built.device, Phase::Train).unwrap();
    let upstream: Vec<f32> = (0..built.network.output.len()).map(|i| (i as f32).sin()).collect();
    built.device.upload(built.network.d_output, &upstream).unwrap();
    built.network.backward(&mut built.device).unwrap();
    let all = 0..built.network.parameters.entries.len();
    let slots = all.map(|idx| built.network.gradient(idx));
    slots.flat_map(|slot| built.device.download::<f32>(slot).unwrap()).collect()
}

#[test]
fn bits_do_not_depend_on_threads() {
    let one: Vec<u32> = gradients(&every_row(), 1).iter().map(|g| g.to_bits()).collect();
    for threads in [2, 3, 8] {
        let more: Vec<u32> = gradients(&every_row(), threads).iter().map(|g| g.to_bits()).collect();
        assert!(one == more, "{threads} threads");
    }
}

/// The paper's first two layers in small, and a layer whose pool masks the gradient: fused, they
/// give every gradient the bits of the rows one by one.
#[test]
#[rustfmt::skip]
fn fused_rows_change_no_bit() {
    let overlap = window(3).stride(2);
    let towers = Lrn { towers: 2, divide_alpha: true, ..Lrn::default() };
    let spec = Spec::image("fused", 31, 29, 3)
        .conv("conv1", 16, window(3).pad(1)).relu().lrn().pool(overlap)
        .conv("conv2", 24, window(3).pad(1).groups(2)).lrn_with(towers).pool(overlap).relu()
        .conv("conv3", 8, window(3).pad(1)).relu().pool(overlap)
        .linear("fc4", 12).relu().dropout(0.5)
        .linear("fc5", 4);
    let (mut planner, target) = (Planner::new(), Target::Cpu { threads: 2 });
    let apart = TrainableNetwork::plan_as_written(&spec, 3, &mut planner, target).unwrap();
    assert_eq!(apart.rows().len(), spec.rows.len());
    let apart = gradients_of(Built { device: filled(&apart, &planner, 2), network: apart });
    let fused = gradients(&spec, 2);
    assert!(fused.iter().any(|gradient| *gradient != 0.0));
    bits_equal(&fused, &apart, "fused");
}

/// Rows with outputs of their own, one or all of them, change no bit of any output.
#[test]
fn rows_with_their_own_outputs_change_no_bit() {
    let overlap = window(3).stride(2);
    let spec = Spec::image("own-outputs", 17, 15, 3)
        .conv("conv1", 16, window(3).pad(1))
        .relu()
        .lrn()
        .pool(overlap)
        .conv("conv2", 8, window(3).pad(1).groups(2))
        .relu()
        .batch_norm()
        .relu()
        .pool(overlap)
        .local("local3", 6, window(2))
        .relu()
        .linear("fc4", 12)
        .relu()
        .dropout(0.5)
        .linear("fc5", 4);
    let names: Vec<String> = spec.describe().unwrap().into_iter().map(|row| row.name).collect();
    let run = |device: &mut Device, own: &[&str]| {
        let (mut planner, target) = (Planner::new(), device.target());
        let network = Network::plan_with_outputs(&spec, 3, own, &mut planner, target).unwrap();
        device.reserve(planner.total()).unwrap();
        let mut draws = Stream::new(5, Purpose::Test, 0, 0);
        let mut normals = |len| (0..len).map(|_| 0.3 * draws.normal()).collect::<Vec<f32>>();
        device.upload(network.input, &normals(network.input.len())).unwrap();
        for (idx, entry) in network.parameters.entries.iter().enumerate() {
            let mut values = normals(entry.len());
            if entry.role == Role::Variance {
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            device.upload(network.parameters.value(idx), &values).unwrap();
        }
        let mut outputs = BTreeMap::new();
        for row in network.rows() {
            row.forward(device, Phase::Test).unwrap();
            let output = device.download::<f32>(row.output()).unwrap();
            outputs.insert(row.output_name().to_string(), output);
        }
        outputs
    };
    each_device(|device| {
        let fused = run(device, &[]);
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let apart = run(device, &all);
        assert_eq!((fused.len(), apart.len()), (names.len() - 5, names.len()));
        fused.iter().for_each(|(name, output)| bits_equal(output, &apart[name], name));
        let relus = [("conv1", "relu1"), ("conv2", "relu2"), ("local3", "relu3"), ("fc4", "relu4")];
        for (before, after) in relus {
            assert!(apart[before].iter().any(|&x| x < 0.0), "{before}");
            let rectified: Vec<f32> = apart[before].iter().map(|x| x.max(0.0)).collect();
            bits_equal(&apart[after], &rectified, after);
        }
        for own in ["conv1", "lrn1", "conv2", "local3", "fc4"] {
            let one = run(device, &[own]);
            assert!(!fused.contains_key(own) && one.contains_key(own), "{own}");
            one.iter().for_each(|(name, output)| bits_equal(output, &apart[name], name));
        }
    });
}

#[rustfmt::skip]
fn paper() -> Spec {
    let overlap = window(3).stride(2);
    Spec::image("paper", 227, 227, 3)
        .conv("conv1", 96, window(11).stride(4)).relu().lrn().pool(overlap)
        .conv("conv2", 256, window(5).pad(2).groups(2)).relu().lrn().pool(overlap)
        .conv("conv3", 384, window(3).pad(1)).relu()
        .conv("conv4", 384, window(3).pad(1).groups(2)).relu()
        .conv("conv5", 256, window(3).pad(1).groups(2)).relu().pool(overlap)
        .linear("fc6", 4096).relu().dropout(0.5)
        .linear("fc7", 4096).relu().dropout(0.5)
        .linear("fc8", 1000)
}

/// The paper's network, planned for training with 128 images, needs little more memory than its
/// parameters, gradients, velocities, input and outputs: gradients of activations reuse the memory
/// of dead activations.
#[test]
fn training_takes_little_more_memory_than_its_activations() {
    let spec = paper();
    let (mut planner, mut apart) = (Planner::new(), Planner::new());
    let target = Target::Cpu { threads: 2 };
    let network = TrainableNetwork::plan(&spec, 128, &mut planner, target).unwrap();
    let written = TrainableNetwork::plan_as_written(&spec, 128, &mut apart, target).unwrap();
    let parameters = 3 * 4 * network.parameters.count();
    let outputs: usize = network.rows().iter().map(|row| row.output().range().len()).sum();
    let activations = network.input.range().len() + outputs;
    assert_eq!((written.velocities.len(), written.gradients.len()), (0, network.gradients.len()));
    let velocities = network.velocities.range().len();
    let (total, apart) = (planner.total(), apart.total() + velocities);
    assert!(total - parameters < activations / 100 * 130, "{total} {parameters} {activations}");
    assert!(total < apart / 100 * 80, "{total} bytes fused, {apart} apart");
}

/// A network for inference reuses the memory of dead activations and computes the same scores.
#[test]
fn inference_takes_less_memory_and_gives_the_same_scores() {
    let (mut infer, mut train) = (Planner::new(), Planner::new());
    let target = Target::Cpu { threads: 2 };
    Network::plan(&every_row(), 16, &mut infer, target).unwrap();
    TrainableNetwork::plan(&every_row(), 16, &mut train, target).unwrap();
    let (infer, train) = (infer.total(), train.total());
    assert!(infer < train / 8 * 7, "{infer} bytes to infer, {train} to train");
    let scores = |network: &Network, mut device: Device| {
        network.forward(&mut device, Phase::Test).unwrap();
        device.download::<f32>(network.output).unwrap()
    };
    let infer = built_forward(&every_row(), 2, 2);
    let train = built(&every_row(), 2, 2);
    assert_eq!(scores(&infer.network, infer.device), scores(&train.network, train.device));
}

/// x in bf16, by arithmetic.
fn rounded(x: f32) -> f32 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let unit = (f64::from(x).abs().log2().floor() - 7.0).exp2();
    ((f64::from(x) / unit).round_ties_even() * unit) as f32
}

/// On a CPU in bf16, weights and some activations are stored in bf16 only. Every output is
/// bit-identical to that of a network that rounds f32 operands in each pass, or is its rounded
/// value.
#[test]
fn values_stored_in_bf16_change_no_bit() {
    for spec in [every_row(), convolutions()] {
        check_stored_values(&spec);
    }
}

/// Rows of which several write bf16: with and without a normalisation that reads f32.
fn convolutions() -> Spec {
    let overlap = window(3).stride(2);
    Spec::image("convolutions", 47, 45, 3)
        .conv("conv1", 40, window(5).stride(2))
        .relu()
        .lrn()
        .pool(overlap)
        .conv("conv2", 24, window(3).pad(1).groups(2))
        .relu()
        .pool(overlap)
        .conv("conv3", 8, window(3).pad(1))
        .conv("conv4", 8, window(1))
        .relu()
        .pool(overlap)
        .linear("fc5", 5)
}

fn check_stored_values(spec: &Spec) {
    let images = 3;
    let in_bf16 = |threads| {
        let mut device = Device::cpu(threads);
        let Device::Cpu(cpu) = &mut device else { unreachable!("a CPU") };
        cpu.emulate_bf16();
        device
    };
    let (mut planner, mut device) = (Planner::new(), in_bf16(2));
    let rounding = TrainableNetwork::plan(spec, images, &mut planner, device.target()).unwrap();
    fill(&rounding, &planner, &mut device);
    let mut expected = BTreeMap::new();
    for row in rounding.rows() {
        row.forward(&mut device, Phase::Test).unwrap();
        let output = device.download::<f32>(row.output()).unwrap();
        expected.insert(row.output_name().to_string(), output);
    }
    let all: Vec<String> = spec.describe().unwrap().into_iter().map(|row| row.name).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (threads, own) in [(1, &[][..]), (3, &[]), (2, &["pool1", "fc4"]), (2, &all)] {
        let (mut planner, mut device) = (Planner::new(), in_bf16(threads));
        let target = device.target();
        let storing = Network::plan_with_outputs(spec, images, own, &mut planner, target).unwrap();
        fill(&storing, &planner, &mut device);
        let parameters = &storing.parameters;
        for (idx, entry) in parameters.entries.iter().enumerate() {
            let multiplies = entry.layer().starts_with("conv") || entry.layer().starts_with("fc");
            let stored = multiplies && entry.role == Role::Weight;
            assert_eq!(parameters.is_stored(idx), stored, "{}", entry.name);
        }
        storing.prepare(&mut device).unwrap();
        for phase in [Phase::Infer, Phase::Test] {
            for row in storing.rows() {
                row.forward(&mut device, phase).unwrap();
                let Some(expected) = expected.get(row.output_name()) else { continue };
                let output = row.output_values(&device).unwrap();
                if row.output().dtype() == DType::Bf16 {
                    assert!(!own.contains(&row.output_name()), "{}", row.output_name());
                    let rounded: Vec<f32> = expected.iter().map(|&x| rounded(x)).collect();
                    bits_equal(&output, &rounded, row.output_name());
                } else {
                    bits_equal(&output, expected, row.output_name());
                }
            }
        }
    }
}

/// The paper's network, for single images and for batches: no f32 copy of the weights is kept.
#[test]
fn inference_in_bf16_takes_at_most_three_fifths_of_the_memory() {
    for images in [1, 8, 64] {
        let bytes = |target| {
            let mut planner = Planner::new();
            Network::plan(&paper(), images, &mut planner, target).unwrap();
            planner.total()
        };
        let [f32, bf16] = [Target::Cpu { threads: 2 }, Target::CpuBf16 { threads: 2 }].map(bytes);
        assert!(bf16 * 10 <= f32 * 6, "{images} images: {bf16} bytes in bf16, {f32} in f32");
    }
}

/// Packed filters give the same scores as unpacked ones, also after new parameters are packed.
#[test]
fn a_prepared_network_gives_the_same_scores() {
    let mut built = built_forward(&every_row(), 2, 2);
    let (network, device) = (&built.network, &mut built.device);
    let scores = |device: &mut Device, phase| {
        network.forward(device, phase).unwrap();
        device.download::<f32>(network.output).unwrap()
    };
    network.prepare(device).unwrap();
    let first = scores(device, Phase::Test);
    testkit::close(&scores(device, Phase::Infer), &first, 1e-4);
    testkit::close(&scores(device, Phase::Infer), &first, 1e-4);
    let mut values = device.download::<f32>(network.parameters.values).unwrap();
    values.iter_mut().for_each(|value| *value *= 1.5);
    device.upload(network.parameters.values, &values).unwrap();
    network.prepare(device).unwrap();
    let second = scores(device, Phase::Test);
    assert_ne!(first, second);
    testkit::close(&scores(device, Phase::Infer), &second, 1e-4);
}

/// A GPU reads unpacked filters: a plan for inference has no packed copy, and `prepare` does
/// nothing.
#[test]
fn a_gpu_packs_no_weights() {
    let spec = Spec::image("filters", 3, 3, 64).conv("conv1", 96, window(3).pad(1)).linear("fc", 2);
    let plan = |target| {
        let mut planner = Planner::new();
        let network = Network::plan(&spec, 1, &mut planner, target).unwrap();
        (network, planner)
    };
    let (network, planner) = plan(Target::Cuda);
    let parameters = 4 * network.parameters.count();
    let [on_gpu, on_cpu] = [planner.total(), plan(Target::Cpu { threads: 1 }).1.total()];
    assert!(on_gpu < parameters / 2 * 3, "{on_gpu} bytes for {parameters} of parameters");
    assert!(on_cpu > 2 * parameters, "{on_cpu} bytes for {parameters} of parameters, and packed");
    each_gpu(|device| {
        device.reserve(planner.total()).unwrap();
        let values = network.parameters.values;
        let mut draws = Stream::new(5, Purpose::Test, 0, 0);
        let mut normals = |len| (0..len).map(|_| 0.1 * draws.normal()).collect::<Vec<f32>>();
        device.upload(values, &normals(values.len())).unwrap();
        device.upload(network.input, &normals(network.input.len())).unwrap();
        network.prepare(device).unwrap();
        let [infer, test] = [Phase::Infer, Phase::Test].map(|phase| {
            network.forward(device, phase).unwrap();
            device.download::<f32>(network.output).unwrap()
        });
        assert_eq!(infer, test);
    });
}

/// Winograd's algorithm differs slightly from direct convolution, which a row can ask for.
#[test]
fn a_row_can_ask_for_direct_convolution() {
    let scores = |window| {
        let spec = Spec::image("two-rows", 16, 16, 16).conv("conv1", 64, window).linear("fc2", 10);
        let mut built = built_forward(&spec, 16, 1);
        built.network.forward(&mut built.device, Phase::Test).unwrap();
        built.device.download::<f32>(built.network.output).unwrap()
    };
    let (fast, direct) = (scores(window(5).pad(2)), scores(window(5).pad(2).direct()));
    assert_ne!(fast, direct);
    testkit::close(&fast, &direct, 1e-4);
}

#[test]
fn a_specification_survives_toml() {
    let spec = every_row();
    assert_eq!(Spec::from_toml(&spec.to_toml()).unwrap(), spec);
}

/// Names, parameter counts and summaries of rows: PReLU has a slope per channel, or per unit.
#[test]
fn rows_are_described() {
    let spec = Spec::image("net", 8, 8, 3)
        .conv("conv1", 6, window(3))
        .prelu()
        .prelu()
        .linear("fc2", 5)
        .prelu()
        .gelu()
        .leaky_relu(0.01)
        .batch_norm()
        .layer_norm()
        .linear("fc3", 2);
    let table = spec.describe().unwrap();
    let lines: Vec<_> = table.iter().map(|row| (row.name.as_str(), row.parameters)).collect();
    assert_eq!(lines[1..3], [("prelu1", 6), ("prelu1b", 6)]);
    assert_eq!(lines[4..7], [("prelu2", 5), ("gelu2", 0), ("leaky_relu2", 0)]);
    // A scale and a shift per unit; running statistics are not counted.
    assert_eq!(lines[7..9], [("batch_norm2", 10), ("layer_norm2", 10)]);
    let summaries = [&table[1].summary, &table[5].summary, &table[6].summary];
    assert_eq!(
        summaries,
        ["max(0, x) + a min(0, x), a learned", "x F(x), F normal", "max(x, 0.01 x)"]
    );
    let text = "name = \"net\"\ninput = [8, 8, 3]\nrows = [{ leaky_relu = {} }, { prelu = {} }, \
                { gelu = {} }, { batch_norm = {} }, \
                { layer_norm = {} }, { linear = { name = \"fc1\", outputs = 2 } }]";
    let expected = Spec::image("net", 8, 8, 3).leaky_relu(0.01).prelu().gelu();
    let expected = expected.batch_norm().layer_norm().linear("fc1", 2);
    assert_eq!(Spec::from_toml(text).unwrap(), expected);
}

#[test]
fn toml_errors_name_the_mistake() {
    let mistake = |row: &str| {
        let text = format!("name = \"net\"\ninput = [8, 8, 3]\nrows = [{row}]\n");
        Spec::from_toml(&text).unwrap_err().to_string()
    };
    let error = mistake("{ conv = { name = \"a\", filter = 3, window = 3 } }");
    assert!(error.contains("unknown field `filter`") && error.contains("filters"), "{error}");
    assert!(mistake("{ convolution = {} }").contains("unknown variant `convolution`"));
    assert!(mistake("{ linear = { name = \"a\" } }").contains("missing field `outputs`"));
}

#[test]
fn rows_that_do_not_fit_are_reported_with_their_shapes() {
    let refused = |spec: Spec| spec.describe().unwrap_err().to_string();
    let too_small = Spec::image("net", 8, 8, 3).conv("conv1", 4, window(9)).linear("fc2", 2);
    assert_eq!(
        refused(too_small),
        "net, row `conv1`: a window of 9 x 9 does not fit its input of 8 x 8 x 3 padded by 0 0 0 0"
    );
    let groups = Spec::image("net", 8, 8, 3).conv("conv1", 4, window(3).groups(2));
    assert!(refused(groups).contains("2 groups must divide both its 3 input channels"));
    let order = Spec::image("net", 8, 8, 3).linear("fc1", 4).pool(window(2)).linear("fc2", 2);
    assert!(refused(order).contains("row `pool1`: this row needs feature maps"));
    let twice = Spec::image("net", 8, 8, 3).linear("fc", 4).linear("fc", 2);
    assert_eq!(refused(twice), "net: two rows are called `fc`; each needs its own name");
    let steep = Spec::image("net", 8, 8, 3).leaky_relu(-0.5).linear("fc2", 2);
    assert!(refused(steep).contains("its slope is -0.5; it must not be negative"));
    let mut norm = Spec::image("net", 8, 8, 3).batch_norm().linear("fc2", 2);
    norm.rows[0] = Row::BatchNorm(BatchNorm { momentum: 2.0, ..BatchNorm::default() });
    assert!(refused(norm).contains("momentum 2 between 0 and 1"));
    let open = Spec::image("net", 8, 8, 3).conv("conv1", 4, window(3));
    assert_eq!(open.describe(), Err(SpecError::NoClassifier { network: "net".to_string() }));
}

/// Every fused row: convolution, local and linear layers with ReLUs, pooling with masks,
/// normalisation with pooling.
fn fused_rows() -> Spec {
    let towers = Lrn { alpha: 0.1, towers: 2, ..Lrn::default() };
    Spec::image("fused-rows", 13, 11, 3)
        .conv("conv1", 12, window(3))
        .relu()
        .lrn_with(towers)
        .pool(window(3).stride(2))
        .conv("conv2", 8, window(2))
        .lrn()
        .pool(window(2))
        .conv("conv3", 7, window(2).pad(1))
        .relu()
        .average_pool(window(2))
        .local("local4", 6, window(2))
        .relu()
        .linear("fc5", 9)
        .relu()
        .linear("fc6", 4)
}

/// Whole networks, forward and backward: gradients of every kind of row, and of every fused one,
/// are close on GPU and CPU.
#[test]
fn gpu_gradients_are_close_to_the_cpus() {
    for spec in [every_row(), fused_rows()] {
        let run = |device: &mut Device| {
            let mut planner = Planner::new();
            let target = device.target();
            let network = TrainableNetwork::plan(&spec, 3, &mut planner, target).unwrap();
            device.reserve(planner.total()).unwrap();
            let (values, d_output) = (network.parameters.values, network.d_output);
            let mut draws = Stream::new(5, Purpose::Test, 0, 0);
            for (slot, std) in [(network.input, 1.0), (values, 0.3)] {
                let normals: Vec<f32> = (0..slot.len()).map(|_| std * draws.normal()).collect();
                device.upload(slot, &normals).unwrap();
            }
            network.set_clock(device, clock(3, 3)).unwrap();
            network.forward(device, Phase::Train).unwrap();
            let output = device.download::<f32>(network.output).unwrap();
            let upstream: Vec<f32> = (0..d_output.len()).map(|_| draws.normal()).collect();
            device.upload(d_output, &upstream).unwrap();
            network.backward(device).unwrap();
            [output, device.download::<f32>(network.gradients).unwrap()]
        };
        let expected = run(&mut Device::cpu(1));
        each_gpu(|gpu| {
            let actual = run(gpu);
            close(&actual[0], &expected[0], 1e-4);
            close(&actual[1], &expected[1], 1e-3);
        });
    }
}

/// Rehearses a network before memory is reserved, then records and replays it: a replay reads the
/// current images, weights and clock.
#[test]
fn a_recorded_gpu_pass_computes_what_the_cpu_does() {
    let within = Lrn { size: 3, alpha: 0.2, within_channel: true, ..Lrn::default() };
    let spec = Spec::image("few-products", 11, 9, 5)
        .tanh()
        .lrn()
        .pool(window(3).stride(2))
        .local("local1", 6, window(3).pad(1))
        .relu()
        .lrn_with(within)
        .dropout(0.5)
        .average_pool(window(3).stride(2).ceil())
        .logistic()
        .inverted_dropout(0.25)
        .linear("fc1", 4);
    let mut planner = Planner::new();
    let network = Network::plan(&spec, 3, &mut planner, Target::Cpu { threads: 1 }).unwrap();
    let output = network.output;
    let forward = |device: &mut Device, phase| network.forward(device, phase);
    let prepare = |device: &mut Device, step: u32| {
        let mut draws = Stream::new(5, Purpose::Test, 0, step);
        let images: Vec<f32> = (0..network.input.len()).map(|_| draws.normal()).collect();
        let values = network.parameters.values;
        let weights: Vec<f32> = (0..values.len()).map(|_| 0.3 * draws.normal()).collect();
        device.upload(network.input, &images).unwrap();
        device.upload(values, &weights).unwrap();
        network.set_clock(device, clock(step, 3)).unwrap();
    };
    for phase in [Phase::Train, Phase::Test] {
        let mut cpu = Device::cpu(1);
        cpu.reserve(planner.total()).unwrap();
        let expected = [1, 2, 3].map(|step| {
            prepare(&mut cpu, step);
            forward(&mut cpu, phase).unwrap();
            cpu.download::<f32>(output).unwrap()
        });
        assert_ne!(expected[0], expected[1]);
        each_gpu(|gpu| {
            gpu.rehearse(|gpu| forward(gpu, phase)).unwrap();
            gpu.reserve(planner.total()).unwrap();
            let mut recording = Recording::default();
            for (step, expected) in (1..).zip(&expected) {
                prepare(gpu, step);
                gpu.replay(&mut recording, |gpu| forward(gpu, phase)).unwrap();
                let expected: Vec<f64> = expected.iter().map(|&y| f64::from(y)).collect();
                close(&gpu.download::<f32>(output).unwrap(), &expected, 1e-5);
            }
        });
    }
}
