//! Criterion: how fast batches come, from generated shapes and from JPEG files.

use criterion::{Criterion, Throughput};
use data::{Folder, Loader, LoaderPlan, Shapes, Source};
use std::sync::Arc;

const ROWS: usize = 128;

fn batches(criterion: &mut Criterion, name: &str, source: Arc<dyn Source>, crop: usize) {
    let mut group = criterion.benchmark_group("loader");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(name, |bencher| {
        let plan = LoaderPlan::training(ROWS, (crop, crop), 0);
        let mut loader = Loader::new(Arc::clone(&source), plan, 0, 0);
        bencher.iter(|| drop(loader.next_batch().expect("images that can be read")));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    batches(&mut criterion, "shapes-72", Arc::new(Shapes::train(Shapes::SEED, 72, 4096)), 64);
    // A folder of one's own images: ALEXNET_BENCH_IMAGES=DIR, with a folder a class.
    if let Some(dir) = std::env::var_os("ALEXNET_BENCH_IMAGES") {
        let folder = Folder::open(dir, 256).expect("a folder of images");
        batches(&mut criterion, "folder-256", Arc::new(folder), 227);
    }
    criterion.final_summary();
}
