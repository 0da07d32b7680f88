//! A layer of your own, checked and trained: `cargo run --example own_layer`
//!
//! A type that implements `CustomLayer` becomes a row of a network. It is planned, saved, resumed
//! and described as the built-in layers are.

use alexnet::layers::custom::{self, CustomLayer};
use alexnet::layers::{Gradients, LayerSlots, check_gradients};
use alexnet::prelude::*;
use alexnet::tensor::Cpu;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// x / (1 + exp(-beta x)), Ramachandran et al. 2017.
#[derive(Debug, Serialize, Deserialize)]
struct Swish {
    beta: f32,
}

impl Swish {
    fn sigmoid(&self, x: f32) -> f32 {
        1.0 / (1.0 + (-self.beta * x).exp())
    }
}

impl CustomLayer for Swish {
    fn kind(&self) -> &'static str {
        "swish"
    }

    fn output(&self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }

    fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, _: Phase) {
        let [x, y] = cpu.floats([slots.x, slots.y]);
        y.iter_mut().zip(&*x).for_each(|(y, &x)| *y = x * self.sigmoid(x));
    }

    fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients) {
        let Some(dx) = gradients.dx else { return }; // nothing below it is trained
        let [x, dy, dx] = cpu.floats([slots.x, gradients.dy, dx]);
        for ((dx, &dy), &x) in dx.iter_mut().zip(&*dy).zip(&*x) {
            let s = self.sigmoid(x);
            *dx = dy * (s + self.beta * x * s * (1.0 - s));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The backward pass is compared with central differences before anything is trained.
    check_gradients(Swish { beta: 1.5 }, &mut Device::cpu(1), Shape::from([2, 5, 5, 3]))?;
    println!("gradients agree");

    #[rustfmt::skip]
    let spec = Spec::image("swish", 24, 24, 3)
        .conv("conv1", 16, window(5).pad(2)).custom(Swish { beta: 1.5 }).pool(window(4).stride(4))
        .linear("fc2", 10);

    // A file names the kind and its settings; a program that reads one registers the kind.
    custom::register::<Swish>("swish");
    assert_eq!(Spec::from_toml(&spec.to_toml())?, spec);

    let train: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 24, 1024));
    let test: Arc<dyn Source> = Arc::new(Shapes::test(Shapes::SEED, 24, 64));
    let recipe = Recipe { batch: 32, rate: 0.02, augment: Augment::NONE, ..recipes::modern() };
    let statistics = Statistics::of(&*train)?;
    let job = Job::new(spec, recipe.clone(), train.clone(), test, statistics);
    let device = Device::cpu(0);
    let mut network = job.plan(device.target())?.open(device, &job.start(None)?)?;
    let batches = LoaderPlan::training(recipe.batch, (24, 24), job.seed);
    let mut images = Loader::builder(train, batches).build()?;
    network.set_rates(&recipe, &Setting::everywhere(1.0))?;
    let mut step = 0;
    for epoch in 1..=3 {
        let mut seen = Tally::default();
        for batch in images.epoch() {
            let batch = batch?;
            step += 1;
            seen.add(network.train_on(&batch, StepRequest::plain(step))?.tally);
        }
        println!("epoch {epoch}: training loss {:.3}", seen.score().loss);
    }
    Ok(())
}
