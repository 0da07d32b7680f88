//! Criterion: whole steps of every built-in model, training and testing, batch 32.

use alexnet_benches::{Step, StepMode};
use criterion::{BenchmarkId, Criterion, Throughput};
use train::recipes;

fn steps(criterion: &mut Criterion) {
    const IMAGES: usize = 32;
    let mut group = criterion.benchmark_group("step-32");
    group.throughput(Throughput::Elements(IMAGES as u64));
    for model in models::all() {
        let spec = (model.spec)(model.classes);
        let recipe = recipes::find(recipes::default_for(model.name)).expect("its recipe");
        for (mode, name) in [(StepMode::Train, "train"), (StepMode::Infer, "infer")] {
            group.bench_function(BenchmarkId::new(model.name, name), |bencher| {
                let mut step = Step::plan(&spec, &recipe, mode, IMAGES, 0);
                bencher.iter(|| step.run());
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    steps(&mut criterion);
    criterion.final_summary();
}
