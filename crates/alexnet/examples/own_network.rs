//! A network and a training loop of your own: `cargo run --example own_network`
//!
//! `train::run::Session` has a loop with logs, checkpoints and exact resume. Where another loop is
//! needed, a planned network can be trained batch by batch, as here.

use alexnet::prelude::*;
use alexnet::{evaluate, layers::Window};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Generated images of ten kinds of shape, 28 x 28 pixels, of which the network sees 24 x 24.
    let train: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 28, 2048));
    let test: Arc<dyn Source> = Arc::new(Shapes::test(Shapes::SEED, 28, 256));

    let three = |stride| -> Window { window(3).pad(1).stride(stride) };
    #[rustfmt::skip]
    let spec = Spec::image("own", 24, 24, 3)
        .conv("conv1", 16, three(1)).batch_norm().relu().pool(window(2).stride(2))
        .conv("conv2", 32, three(1)).batch_norm().relu().pool(window(2).stride(2))
        .conv("conv3", 32, three(1)).batch_norm().relu().pool(window(2).stride(2))
        .linear("fc4", 10);
    println!("{} parameters", spec.parameters()?);

    let recipe = Recipe {
        batch: 32,
        rate: 0.05,
        decay: 0.0005,
        augment: Augment { mirror: true, ..Augment::NONE },
        ..recipes::torchvision()
    };
    let job = Job::new(spec, recipe.clone(), train.clone(), test.clone(), Statistics::of(&*train)?);

    // The memory is laid out before anything is allocated. `Device::best` would take a GPU.
    let device = Device::cpu(0);
    let plan = job.plan(device.target())?;
    println!("{} KiB of memory", plan.memory().total >> 10);
    let mut network = plan.open(device, &job.start(None)?)?;

    let batches = LoaderPlan::training(recipe.batch, (24, 24), job.seed);
    let mut images = Loader::builder(train, batches).build()?;
    let mut held_out =
        Loader::builder(test, LoaderPlan::testing(recipe.batch, (24, 24))).build()?;
    let mut step = 0;
    for epoch in 1..=3 {
        // The rate of the recipe, divided by ten in the last epoch.
        network.set_rates(&recipe, &Setting::everywhere(if epoch == 3 { 0.1 } else { 1.0 }))?;
        let mut seen = Tally::default();
        for batch in images.epoch() {
            let batch = batch?;
            step += 1;
            seen.add(network.train_on(&batch, StepRequest::plain(step))?.tally);
        }
        held_out.start_at(0, 0);
        let tested = evaluate::evaluate(&mut network, &mut held_out, &Stop::new(), &mut Silent)?;
        let tested = tested.expect("no stop was requested").score();
        println!(
            "epoch {epoch}: training loss {:.3}, test error {:.1} %",
            seen.score().loss,
            100.0 * tested.top1_error
        );
    }
    Ok(())
}
