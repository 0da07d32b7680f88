//! Calls that would train or predict wrongly are refused, each with a message that names the remedy.

mod fixtures;

use alexnet_train::device_network::whole;
use alexnet_train::executor::Executor;
use alexnet_train::folder::RunFolder;
use alexnet_train::optimizer::UpdateRule;
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Input, Mean, Optimizer, Recipe};
use alexnet_train::run::{Job, Session};
use alexnet_train::schedule::ScheduleState;
use alexnet_train::start::Start;
use alexnet_train::step::SingleDevice;
use alexnet_train::{Error, checkpoint, recipes};
use data::{Batch, IGNORED, Shapes, Statistics};
use evaluate::{Silent, Stop};
use fixtures::{Learn, every_row, scaled};
use layers::{Clock, Network, Phase, TrainableNetwork};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tensor::{DType, Device, Planner, Shape, Target};

const IMAGES: usize = 6;
const SIDE: usize = 20;
const CLASSES: usize = 4;
const TARGET: Target = Target::Cpu { threads: 1 };

fn recipe() -> Recipe {
    let input = Input::new(Mean::Color, 1.0 / 64.0);
    scaled(Recipe { batch: IMAGES, rate: 0.01, input, ..recipes::paper() })
}

fn batch() -> Batch {
    let labels: Vec<u32> = (0..IMAGES as u32).map(|image| image % CLASSES as u32).collect();
    let pixels = (0..IMAGES * SIDE * SIDE * 3).map(|i| (i * i % 251) as u8).collect();
    fixtures::batch(pixels, [0; 3], [1.0, 0.0, 0.0, 0.0], labels)
}

fn plan() -> SingleDevicePlan {
    let input = (Mean::Color, [SIDE; 2]);
    SingleDevicePlan::new(&every_row(SIDE, CLASSES), IMAGES, input, TARGET).unwrap()
}

fn step() -> SingleDevice {
    let start = fixtures::fresh_with(&recipe(), 3, vec![128.0; 3]);
    plan().open(Device::cpu(1), &start).unwrap()
}

fn parameters(step: &SingleDevice) -> Vec<f32> {
    step.device().download(step.network().parameters.values).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, impl ToString>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

/// A fresh step has the rates of the recipe's first epoch.
#[test]
fn a_step_without_rates() {
    let (mut without, mut with) = (step(), step());
    let recipe = recipe();
    let setting = recipe.setting_of_epoch(&ScheduleState::default(), 1);
    with.set_rates(&recipe, &setting).unwrap();
    let before = parameters(&without);
    for step in [&mut without, &mut with] {
        step.learn(&batch(), 1).unwrap();
    }
    assert_ne!(parameters(&without), before);
    assert_eq!(parameters(&without), parameters(&with));
}

/// A checkpoint does not say which rates follow, so they must be set.
#[test]
fn a_step_after_a_checkpoint_without_rates() {
    let run = fixtures::Scratch::new("rates");
    let images = Arc::new(Shapes::train(Shapes::SEED, SIDE, IMAGES as u32));
    let statistics = Statistics::of(&*images).unwrap();
    let spec = every_row(SIDE, 10);
    let mut job = Job::new(spec, recipe(), images.clone(), images, statistics);
    job.recipe.epochs = 1;
    let mut folder = RunFolder::create(&run.0).unwrap();
    let (mut observer, stop) = (Silent, Stop::new());
    let session = Session::new(&job, &mut folder, &mut observer, &stop);
    let open = |start: &Start| job.plan(TARGET).unwrap().open_boxed(Device::cpu(1), start);
    session.start(open).unwrap();

    let checkpoint = checkpoint::find_newest(&run.0, &mut |_| ()).unwrap().map(Arc::new);
    let start = job.start(checkpoint).unwrap();
    let mut step = job.plan(TARGET).unwrap().open(Device::cpu(1), &start).unwrap();
    let before = parameters(&step);
    refused(step.learn(&batch(), 2), &["learning rates are not set", "set_rates"]);
    assert_eq!(parameters(&step), before);
    let setting = job.recipe.setting_of_epoch(&ScheduleState::default(), 1);
    step.set_rates(&job.recipe, &setting).unwrap();
    step.learn(&batch(), 2).unwrap();
    assert_ne!(parameters(&step), before);
}

#[test]
fn batch_norm_without_the_clock() {
    let (mut planner, mut device) = (Planner::new(), Device::cpu(1));
    let spec = layers::Spec::image("net", 6, 6, 3).batch_norm().linear("fc1", 2);
    let network = TrainableNetwork::plan(&spec, 2, &mut planner, TARGET).unwrap();
    device.reserve(planner.total()).unwrap();
    let parts = ["batch_norm", "Network::set_clock"];
    refused(network.forward(&mut device, Phase::Train), &parts);
    network.forward(&mut device, Phase::Test).unwrap(); // reads running statistics
    network.set_clock(&mut device, Clock::new(0, 1, 2)).unwrap();
    network.forward(&mut device, Phase::Train).unwrap();
}

/// The masks would be the same in every step.
#[test]
fn dropout_without_the_clock() {
    let (mut planner, mut device) = (Planner::new(), Device::cpu(1));
    let spec = layers::Spec::image("net", 6, 6, 3).dropout(0.5).linear("fc1", 2);
    let network = Network::plan(&spec, 2, &mut planner, TARGET).unwrap();
    device.reserve(planner.total()).unwrap();
    refused(network.forward(&mut device, Phase::Train), &["dropout", "Network::set_clock"]);
}

#[test]
fn inference_without_prepare() {
    let (mut planner, mut device) = (Planner::new(), Device::cpu(1));
    let network = Network::plan(&every_row(SIDE, CLASSES), 2, &mut planner, TARGET).unwrap();
    device.reserve(planner.total()).unwrap();
    let parts = ["packed weights", "Network::prepare", "Phase::Test"];
    refused(network.forward(&mut device, Phase::Infer), &parts);
    network.prepare(&mut device).unwrap();
    network.forward(&mut device, Phase::Infer).unwrap();
    // Weights that were packed before are not those of the parameters any more.
    let filters = vec![0.5; network.parameters.entries[0].len()];
    network.parameters.upload(&mut device, 0, &filters).unwrap();
    refused(network.forward(&mut device, Phase::Infer), &parts);
}

#[test]
fn a_short_batch() {
    let mut step = step();
    let whole = batch();
    let mut short = whole.clone();
    let rows = IMAGES - 2;
    short.labels.truncate(rows);
    short.views.truncate(rows);
    short.tints.truncate(rows);
    short.pixels = short.pixels[..rows * SIDE * SIDE * 3].to_vec().into();
    let parts = ["a batch of 4", "6 are planned", "data::IGNORED"];
    refused(step.learn(&short, 1), &parts);
    refused(step.test_on(&short), &parts);
    let without_pixels = Batch { pixels: short.pixels, ..whole.clone() };
    refused(step.learn(&without_pixels, 1), &["6 labels", "1200 bytes"]);
    let mut padded = whole;
    padded.labels[rows..].fill(IGNORED);
    assert_eq!(step.learn(&padded, 1).unwrap().images, rows as f64);
}

#[test]
fn an_optimizer_that_is_not_the_plans() {
    let adam = Recipe { optimizer: Optimizer::Adam, ..recipe() };
    let start = fixtures::fresh_with(&adam, 3, vec![128.0; 3]);
    let parts = ["planned for", "Adam", "UpdateRule::of(&recipe)"];
    let opened = plan().open(Device::cpu(1), &start);
    assert!(matches!(opened, Err(Error::Recipe(_))));
    refused(opened, &parts);
    let setting = adam.setting_of_epoch(&ScheduleState::default(), 1);
    refused(step().set_rates(&adam, &setting), &parts);
    let input = (Mean::Color, [SIDE; 2]);
    let rule = UpdateRule::of(&adam);
    let spec = every_row(SIDE, CLASSES);
    let plan = SingleDevicePlan::with_rule(&spec, IMAGES, input, TARGET, &rule).unwrap();
    let mut step = plan.open(Device::cpu(1), &start).unwrap();
    step.learn(&batch(), 1).unwrap();
    step.net_mut().start(&start, &whole).unwrap(); // may start again
}

/// The ranges of both planners' slots overlap.
#[test]
fn a_slot_of_another_planner() {
    let (mut planner, mut other, mut device) = (Planner::new(), Planner::new(), Device::cpu(1));
    let spec = layers::Spec::image("net", 6, 6, 3).linear("fc1", 2);
    let network = Network::plan(&spec, 2, &mut planner, TARGET).unwrap();
    device.reserve(planner.total()).unwrap();
    network.forward(&mut device, Phase::Test).unwrap();
    let slot = other.claim(DType::F32, Shape::from([2]));
    let panic = catch_unwind(AssertUnwindSafe(|| device.upload(slot, &[1.0f32; 2]))).unwrap_err();
    let message: Result<(), &String> = Err(panic.downcast_ref().unwrap());
    refused(message, &["a slot of another planner", "whose total was reserved"]);
}

#[test]
fn an_nchw_array_of_the_right_length() {
    let (mut planner, mut device) = (Planner::new(), Device::cpu(1));
    let spec = layers::Spec::image("net", 6, 5, 3).linear("fc1", 2);
    let network = Network::plan(&spec, 2, &mut planner, TARGET).unwrap();
    device.reserve(planner.total()).unwrap();
    let values = [1.0; 2 * 3 * 6 * 5];
    let parts = ["2 x 3 x 6 x 5", "2 x 6 x 5 x 3", "NCHW", "NHWC"];
    refused(network.set_input(&mut device, [2, 3, 6, 5], &values), &parts);
    refused(network.set_input(&mut device, [2, 6, 5, 3], &values[1..]), &["179 values"]);
    refused(network.set_input(&mut device, [1, 6, 5, 3], &values), &["1 x 6 x 5 x 3"]);
    network.set_input(&mut device, [2, 6, 5, 3], &values).unwrap();
    let parts = ["3 values for fc1.weight", "2 x 90"];
    refused(network.parameters.upload(&mut device, 0, &[1.0; 3]), &parts);
}

/// What a program moves to threads of its own, and the errors that come back.
#[test]
fn steps_plans_and_errors_may_cross_threads() {
    fn moves<T: Send>() {}
    fn shares<T: Send + Sync + 'static>() {}
    moves::<SingleDevice>();
    moves::<Device>();
    shares::<SingleDevicePlan>();
    shares::<TrainableNetwork>();
    shares::<layers::Spec>();
    shares::<Planner>();
    shares::<tensor::Error>();
    shares::<layers::SpecError>();
    shares::<Error>();
}
