//! Layers of a program's own: planned, saved, checked and run as the built-in ones.

#[path = "custom/mod.rs"]
mod own;

use alexnet_layers::custom::{self, CustomLayer, CustomParameter};
use alexnet_layers::init::Initializer;
use alexnet_layers::{
    Clock, GradientError, Gradients, LayerSlots, Phase, Role, Spec, TrainableNetwork,
    check_gradients, hybrid, towers, window,
};
use cuda_on_cpu::{Behaviour, Schedule, Sources, StandIn};
use own::{ChannelScale, Swish};
use random::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tensor::{Choice, Cpu, Device, Error, Planner, Shape, Target};

const MAPS: [usize; 4] = [3, 4, 5, 6];

fn net() -> Spec {
    Spec::image("own", 9, 9, 3)
        .conv("conv1", 6, window(3).pad(1))
        .custom(Swish { beta: 1.5 })
        .custom(ChannelScale {})
        .pool(window(3).stride(2))
        .linear("fc2", 8)
        .custom(Swish { beta: 1.0 })
        .linear("fc3", 4)
}

/// The message of an error that must occur.
#[track_caller]
fn message<T: std::fmt::Debug>(result: Result<T, impl ToString>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_row_is_described_with_its_parameters() {
    let rows = net().describe().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let expected = ["conv1", "swish1", "channel_scale1", "pool1", "fc2", "swish2", "fc3"];
    assert_eq!(names, expected);
    assert_eq!(rows[1].summary, "x / (1 + exp(-1.5 x))");
    assert_eq!((rows[1].parameters, rows[2].parameters), (0, 6));
    let shapes = net().parameter_shapes().unwrap();
    assert_eq!(shapes[2], ("channel_scale1.scale".to_string(), Shape::from([6])));
}

/// Kinds are registered for the whole process, so one test has all of it.
#[test]
fn a_network_is_written_and_read_back_where_its_kinds_are_registered() {
    let text = net().to_toml();
    assert!(text.contains("kind = \"swish\"") && text.contains("beta = 1.5"), "{text}");
    let unknown = message(Spec::from_toml(&text));
    for part in ["`swish`", "registered kinds: none", "layers::custom::register"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    custom::register::<ChannelScale>("channel_scale");
    let unknown = message(Spec::from_toml(&text));
    assert!(unknown.contains("registered kinds: `channel_scale`"), "{unknown}");
    custom::register::<Swish>("swish");
    custom::register::<Swish>("swish");
    let read = Spec::from_toml(&text).unwrap();
    assert_eq!(read, net());
    assert_eq!(read.to_toml(), text);
    let json = serde_json::to_string(&net()).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), net());
    let wrong = message(Spec::from_toml(&text.replace("beta = 1.5", "gamma = 1.5")));
    assert!(wrong.contains("the settings of the custom layer `swish`"), "{wrong}");
    let twice = std::panic::catch_unwind(|| custom::register::<ChannelScale>("swish"));
    assert!(twice.is_err(), "another type with the same kind");
}

#[test]
fn a_layer_that_does_not_fit_is_an_error_at_planning() {
    let spec = Spec::image("own", 4, 4, 3).linear("fc1", 5).custom(ChannelScale {});
    let refused = message(spec.linear("fc2", 2).describe());
    assert_eq!(refused, "own, row `channel_scale1`: its input is 1 x 5, which has no channels");
}

#[test]
fn gradients_are_those_of_differences_on_the_cpu() {
    for shape in [Shape::from(MAPS), Shape::from([2, 30])] {
        check_gradients(Swish { beta: 1.5 }, &mut Device::cpu(2), shape).unwrap();
    }
    check_gradients(ChannelScale {}, &mut Device::cpu(2), Shape::from(MAPS)).unwrap();
}

/// y = a x, with faults in its backward pass.
#[derive(Debug, Serialize, Deserialize)]
struct Faulty {
    input: f32,
    slope: f32,
    writes: bool,
}

impl CustomLayer for Faulty {
    fn kind(&self) -> &'static str {
        "faulty"
    }

    fn output(&self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }

    fn parameters(&self, _: Shape) -> Vec<CustomParameter> {
        let (shape, initial) = (Shape::from([1]), Initializer::Constant(2.0));
        vec![CustomParameter { role: Role::Slope, shape, fan_in: 1, initial }]
    }

    fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, _: Phase) {
        let [x, a, y] = cpu.floats([slots.x, slots.parameters[0], slots.y]);
        y.iter_mut().zip(&*x).for_each(|(y, x)| *y = a[0] * x);
    }

    fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients) {
        let (a, da) = (slots.parameters[0], gradients.parameters[0]);
        let [x, a, dy, da] = cpu.floats([slots.x, a, gradients.dy, da]);
        let sum: f32 = x.iter().zip(&*dy).map(|(x, dy)| x * dy).sum();
        da[0] = self.slope * sum;
        let factor = self.input * a[0];
        if let (Some(dx), true) = (gradients.dx, self.writes) {
            let [dy, dx] = cpu.floats([gradients.dy, dx]);
            dx.iter_mut().zip(&*dy).for_each(|(dx, dy)| *dx = factor * dy);
        }
    }
}

#[test]
fn wrong_and_unwritten_gradients_are_found() {
    let check = |input, slope, writes| {
        let layer = Faulty { input, slope, writes };
        check_gradients(layer, &mut Device::cpu(1), Shape::from([3, 7]))
    };
    check(1.0, 1.0, true).unwrap();
    let input = message(check(1.1, 1.0, true));
    assert!(input.contains(" of the gradient of the input: the backward pass computes"), "{input}");
    let slope = message(check(1.0, 0.9, true));
    assert!(
        slope.starts_with("element 0 of the gradient of faulty1.slope: the backward"),
        "{slope}"
    );
    let unwritten = message(check(1.0, 1.0, false));
    assert!(unwritten.contains("computes NaN"), "{unwritten}");
}

#[test]
fn towers_and_the_shared_units_of_hybrid_parallelism_refuse_it() {
    let grouped = Spec::image("own", 9, 9, 3)
        .conv("conv1", 6, window(3))
        .conv("conv2", 6, window(3).groups(2))
        .custom(Swish { beta: 1.0 })
        .linear("fc3", 4);
    let refused = message(towers::split(&grouped, 2));
    assert!(refused.contains("swish2") && refused.contains("custom layer"), "{refused}");
    let shares = hybrid::Shares { images: 2, shards: 2, rank: 0, world: 1 };
    let target = Target::Cpu { threads: 1 };
    let refused = message(hybrid::plan(&net(), shares, &mut Planner::new(), target));
    assert!(refused.contains("swish2") && refused.contains("data parallelism"), "{refused}");
    // Below the first linear row, a device has whole layers.
    hybrid::plan(&grouped, shares, &mut Planner::new(), target).unwrap();
}

/// The output, and the gradients of all parameters.
fn pass(device: &mut Device) -> [Vec<f32>; 2] {
    let mut planner = Planner::new();
    let network = TrainableNetwork::plan(&net(), 3, &mut planner, device.target()).unwrap();
    device.rehearse(|device| network.forward(device, Phase::Train)).unwrap();
    device.reserve(planner.total()).unwrap();
    let mut draws = Stream::new(5, Purpose::Test, 0, 0);
    let mut normals = |len: usize| (0..len).map(|_| draws.normal()).collect::<Vec<f32>>();
    let images = normals(network.input.len());
    network.set_input(device, [3, 9, 9, 3], &images).unwrap();
    for (idx, entry) in network.parameters.entries.iter().enumerate() {
        let values: Vec<f32> = normals(entry.len()).iter().map(|value| 0.3 * value).collect();
        network.parameters.upload(device, idx, &values).unwrap();
    }
    network.set_clock(device, Clock::new(0, 1, 3)).unwrap();
    network.forward(device, Phase::Train).unwrap();
    let output = device.download(network.output).unwrap();
    let upstream = normals(network.d_output.len());
    device.upload(network.d_output, &upstream).unwrap();
    network.backward(device).unwrap();
    let gradients = (0..network.parameters.entries.len())
        .flat_map(|idx| device.download::<f32>(network.gradient(idx)).unwrap());
    [output, gradients.collect()]
}

/// On a GPU, or on its stand-in with these kernels.
#[test]
fn the_cuda_half_computes_what_the_cpu_does() {
    let stand_in = match Device::open(Choice::Cuda(0), 0) {
        Ok(_) => None,
        Err(error) => {
            assert!(
                std::env::var_os("ALEXNET_REQUIRE_CUDA").is_none_or(|set| set != "1"),
                "{error}"
            );
            let mut sources = Sources::of_the_project().unwrap();
            let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/custom/custom.cu");
            sources.kernels.push(own);
            match sources.build() {
                Err(why) if why.contains("g++ did not start") => {
                    return eprintln!("SKIPPED on CUDA: {error}; and no stand-in: {why}");
                }
                built => Some(StandIn::open(&built.unwrap()).unwrap()),
            }
        }
    };
    let expected = pass(&mut Device::cpu(1));
    for schedule in Schedule::ALL {
        if let Some(stand_in) = &stand_in {
            stand_in.behave(Behaviour { schedule, ..Behaviour::default() });
        }
        let mut gpu = Device::open(Choice::Cuda(0), 0).unwrap();
        for (actual, expected) in pass(&mut gpu).iter().zip(&expected) {
            testkit::close(actual, expected, 1e-4);
        }
        check_gradients(Swish { beta: 1.5 }, &mut gpu, Shape::from(MAPS)).unwrap();
        check_gradients(ChannelScale {}, &mut gpu, Shape::from(MAPS)).unwrap();
        let layer = Faulty { input: 1.0, slope: 1.0, writes: true };
        let lacking = check_gradients(layer, &mut gpu, Shape::from([3, 7]));
        assert!(matches!(lacking, Err(GradientError::Device(Error::NoKernel { op: "faulty" }))));
    }
}

/// docs/libraries.md shows the example of the module's front page, which is a doc test.
#[test]
fn the_page_shows_code_that_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/libraries.md")).unwrap();
    let (_, section) = page.split_once("## Your own layer").unwrap();
    let (_, code) = section.split_once("```rust\n").unwrap();
    let shown: Vec<&str> = code.split_once("```").unwrap().0.lines().collect();
    let source = std::fs::read_to_string(root.join("src/custom.rs")).unwrap();
    let lines: Vec<&str> =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim_end).collect();
    let lines: Vec<&str> =
        lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let start = lines.iter().position(|line| *line == shown[0]).unwrap();
    assert_eq!(lines[start..start + shown.len()], shown);
}
