//! Criterion: every part of the paper's training step at its real shapes, batch 32.
//!
//! One after another, out of order: a part may find other numbers in its slots than a step would
//! leave there, but never zeros.

use alexnet_benches::SplitStep;
use criterion::{BenchmarkId, Criterion, Throughput};

fn ops(criterion: &mut Criterion) {
    let spec = models::find("alexnet").expect("a built-in model");
    let mut rows = SplitStep::plan(&spec, &train::recipes::paper(), 32, 0);
    let parts = rows.parts().to_vec();
    (0..parts.len()).for_each(|part| rows.run(part));
    let mut group = criterion.benchmark_group("alexnet-32");
    for (idx, part) in parts.iter().enumerate() {
        group.throughput(if part.flops > 0.0 {
            Throughput::Elements(part.flops as u64)
        } else {
            Throughput::Bytes(part.bytes as u64)
        });
        group.bench_function(BenchmarkId::new(&part.name, part.pass.name()), |bencher| {
            bencher.iter(|| rows.run(idx));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    ops(&mut criterion);
    criterion.final_summary();
}
