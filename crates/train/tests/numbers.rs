//! Which numbers a step computes: the same bits with vectors of any width, and no denormal ones.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Input, Mean, Recipe};
use alexnet_train::recipes;
use alexnet_train::schedule::ScheduleState;
use alexnet_train::step::SingleDevice;
use data::Batch;
use fixtures::{Learn, every_row, scaled};
use layers::Spec;
use random::{Purpose, Stream};
use std::process::Command;
use std::time::{Duration, Instant};
use tensor::{Device, Slot, Target, Vectors};
use weights::{About, Values, Weights};

const IMAGES: usize = 6;

/// A network, and the side of its images.
struct Case {
    spec: Spec,
    side: usize,
    classes: usize,
}

fn cases() -> [(&'static str, Case); 2] {
    let little = Case { spec: every_row(20, 4), side: 20, classes: 4 };
    let cifar = Case { spec: models::cifar::nineteen_percent(10), side: 32, classes: 10 };
    [("every row", little), ("cifar-19pct", cifar)]
}

impl Case {
    fn recipe(&self) -> Recipe {
        let input = Input::new(Mean::Color, 1.0 / 64.0);
        scaled(Recipe { batch: IMAGES, rate: 0.01, input, ..recipes::paper() })
    }

    fn step(&self) -> SingleDevice {
        let (recipe, mean) = (self.recipe(), (Mean::Color, [self.side; 2]));
        let target = Target::Cpu { threads: 2 };
        let plan = SingleDevicePlan::new(&self.spec, IMAGES, mean, target).unwrap();
        let start = fixtures::fresh_with(&recipe, 3, vec![128.0; 3]);
        let mut step = plan.open(Device::cpu(2), &start).unwrap();
        let setting = recipe.setting_of_epoch(&ScheduleState::default(), 1);
        step.set_rates(&recipe, &setting).unwrap();
        step
    }

    fn batch(&self) -> Batch {
        let mut draws = Stream::new(5, Purpose::Test, 0, 0);
        let labels = (0..IMAGES).map(|image| (image % self.classes) as u32).collect();
        let pixels = (0..IMAGES * self.side * self.side * 3).map(|_| draws.below(256) as u8);
        fixtures::batch(pixels.collect(), [0; 3], [1.0, 0.0, 0.0, 0.0], labels)
    }

    /// Weights of ±`size`, and biases.
    fn weights(&self, step: &SingleDevice, size: f32) -> Weights {
        let entries = &step.network().parameters.entries;
        let parameters = entries.iter().map(|entry| {
            let signs = (0..entry.len()).map(|i| if i % 3 == 0 { -size } else { size });
            let shape = entry.shape.dims().to_vec();
            (entry.name.clone(), Values { shape, values: signs.collect() })
        });
        let classes = (0..self.classes).map(|class| class.to_string()).collect();
        let input = self.recipe().input;
        Weights {
            about: About {
                format: Weights::FORMAT,
                classes,
                class_names: Vec::new(),
                input,
                model: self.spec.clone(),
            },
            mean: Values { shape: vec![3], values: vec![128.0; 3] },
            parameters: parameters.collect(),
        }
    }
}

/// Parameters, gradients and velocities.
fn state(step: &SingleDevice) -> Vec<f32> {
    let network = step.network();
    let slots = [network.parameters.values, network.gradients, network.velocities];
    let floats = |slot: Slot| step.device().download::<f32>(slot).unwrap();
    slots.into_iter().flat_map(floats).collect()
}

/// A line for each network: losses and a digest of the state after three steps.
fn digests() -> String {
    let mut lines = String::new();
    for (name, case) in cases() {
        let (mut step, batch) = (case.step(), case.batch());
        let losses: Vec<f64> =
            (1..=3).map(|number| step.learn(&batch, number).unwrap().score().loss).collect();
        let bytes = state(&step).into_iter().flat_map(|x| x.to_bits().to_le_bytes());
        let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        lines += &format!("{name} {losses:?} {digest:016x}\n");
    }
    lines
}

/// Three steps of two networks, in a process for each width that the processor has.
#[test]
fn steps_have_the_same_bits_with_vectors_of_any_width() {
    const CHILD: &str = "TRAIN_TEST_DIGESTS";
    if std::env::var_os(CHILD).is_some() {
        return print!("\nvectors {}\n{}", Vectors::limit().name(), digests());
    }
    let mut first: Option<(Vectors, Vec<String>)> = None;
    for vectors in Vectors::ALL {
        if !vectors.are_here() {
            eprintln!("SKIPPED: this processor has no {}", vectors.name());
            continue;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "steps_have_the_same_bits_with_vectors_of_any_width";
        command.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
        let output = command.env(Vectors::VARIABLE, vectors.name()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let said = format!("vectors {}\n", vectors.name());
        let (_, printed) = printed.split_once(&said).expect("the width that was asked for");
        let lines: Vec<String> = printed.lines().take(2).map(str::to_string).collect();
        assert!(lines[1].starts_with("cifar-19pct ["), "{lines:?}");
        match &first {
            Some((other, expected)) => assert_eq!(&lines, expected, "{vectors:?}, {other:?}"),
            None => first = Some((vectors, lines)),
        }
    }
}

fn denormal(floats: &[f32]) -> Option<&f32> {
    floats.iter().find(|x| **x != 0.0 && x.abs() < f32::MIN_POSITIVE)
}

/// The least time of a few steps.
fn time(step: &mut SingleDevice, batch: &Batch) -> Duration {
    let steps = (2..6).map(|number| {
        let begin = Instant::now();
        step.learn(batch, number).unwrap();
        begin.elapsed()
    });
    steps.min().unwrap()
}

/// Parameters and inputs of 1e-40 are zero to a step, leave no denormal number anywhere, and take
/// no longer. On processors where such numbers cost nothing the time says nothing.
#[test]
fn denormal_numbers_neither_stay_nor_cost() {
    for (name, case) in cases() {
        let batch = case.batch();
        let mut ordinary = case.step();
        ordinary.learn(&batch, 1).unwrap();

        let mut tiny = case.step();
        let weights = case.weights(&tiny, 1e-40);
        fixtures::upload(&mut tiny, &weights);
        tiny.net_mut().set_input(&[1e-40; 3], 1e-42.into()).unwrap();
        let values = tiny.network().parameters.values;
        let values = tiny.device().download::<f32>(values).unwrap();
        assert!(values.iter().all(|x| *x == 0.0), "{name}");
        tiny.learn(&batch, 1).unwrap();
        let input = tiny.device().download::<f32>(tiny.network().input).unwrap();
        assert!(input.iter().all(|x| *x == 0.0), "{name}");
        assert_eq!(denormal(&state(&tiny)), None, "{name}");
        // Other processes may take the processor away, but not in every round.
        let mut least = [Duration::MAX; 2];
        for _ in 0..20 {
            for (step, least) in [&mut ordinary, &mut tiny].into_iter().zip(&mut least) {
                *least = time(step, &batch).min(*least);
            }
            if least[1] < 3 * least[0] {
                break;
            }
        }
        let ratio = least[1].as_secs_f64() / least[0].as_secs_f64();
        println!("{name}: tiny numbers take {ratio:.2} times as long as ordinary ones");
        assert!(least[1] < 3 * least[0], "{name}: ordinary and tiny numbers take {least:?}");
    }
}

/// Weights a little above the smallest numbers: products and gradients fall below them.
#[test]
fn what_falls_below_the_smallest_number_is_zero() {
    for (name, case) in cases() {
        let (mut step, batch) = (case.step(), case.batch());
        let weights = case.weights(&step, 3e-38);
        fixtures::upload(&mut step, &weights);
        for number in 1..4 {
            step.learn(&batch, number).unwrap();
            assert_eq!(denormal(&state(&step)), None, "{name}, step {number}");
        }
    }
}
