//! A loader allocates nothing after its first round. Alone in this file, because allocations of all
//! threads are counted.

use alexnet_data::{
    Changes, ClassSampling, Loader, LoaderPlan, ReadBuffer, Result, Rotation, Shapes, Source,
};
use augment::{ColorFormula, ColorShift, Erasing, Interpolation, Mixing, Policy};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

const WORKERS: usize = 3;

/// Makes the workers wait for each other at their first image, so that each has read one before the
/// first round is over, whatever the machine does.
struct Together {
    shapes: Shapes,
    begun: AtomicUsize,
    all: Barrier,
}

impl Source for Together {
    fn classes(&self) -> &[String] {
        self.shapes.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.shapes.size()
    }

    fn len(&self) -> usize {
        self.shapes.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.shapes.label(index)
    }

    fn name(&self, index: usize) -> String {
        self.shapes.name(index)
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        if self.begun.fetch_add(1, Ordering::Relaxed) < WORKERS {
            self.all.wait();
        }
        self.shapes.read(index, buffer)
    }
}

#[test]
fn a_loader_allocates_nothing_after_the_first_round() {
    let training = LoaderPlan::training(4, (14, 14), 7);
    let ten_views = LoaderPlan::ten_views(20, (14, 14));
    let nearest = Interpolation::Nearest;
    let changes = Changes {
        vertical_flip: 0.5,
        rotation: Some(Rotation { degrees: 20.0, interpolation: nearest }),
        policy: Some((Policy::RandAugment { ops: 2, magnitude: 9, bins: 31 }, nearest)),
        grayscale: 0.5,
        erasing: Some(Erasing::default()),
        ..Changes::default()
    };
    let mixing = Mixing { mixup: Some(0.2), cutmix: Some(1.0) };
    let sampling = ClassSampling::Balanced;
    let varied = LoaderPlan { changes, mixing, sampling, ..training }.part((0, 2));
    // The shallow rings are emptied; the deep one is filled to the brim before each batch.
    let plans = [(training, 4, false), (training, 40, true), (ten_views, 4, false)];
    for (plan, depth, brim) in plans.into_iter().chain([(varied, 4, false)]) {
        let shapes = Shapes::train(Shapes::SEED, 16, 90);
        let (begun, all) = (AtomicUsize::new(0), Barrier::new(WORKERS));
        let source = Arc::new(Together { shapes, begun, all });
        let mut loader =
            Loader::with_mean(source, plan, Some([90; 16 * 16 * 3].into()), WORKERS, depth);
        loader.set_color(Some(ColorShift {
            formula: ColorFormula::Source,
            noise: 0.1,
            variances: [9.0; 3],
            components: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        }));
        let mut deliver = |count: usize| {
            for _ in 0..count {
                while brim && loader.ready() < depth {
                    std::thread::yield_now();
                }
                if loader.next_batch().unwrap().is_none() {
                    loader.start_at(0, 0);
                }
            }
        };
        // Each worker has filled a batch, and each place of the ring has been filled.
        deliver(WORKERS.max(2 * depth));
        assert_eq!(testkit::allocations_during(|| deliver(200)), 0, "{plan:?}, depth {depth}");
    }
}
