//! A data source of your own: `cargo run --example own_data`
//!
//! A `Source` has labelled images of one size and reads any of them at any time, from any thread.
//! Statistics, loaders, training and evaluation then work with it.

use alexnet::data::{Error, Result};
use alexnet::prelude::*;
use std::sync::Arc;

/// Images of horizontal or vertical stripes, computed when they are read.
struct Stripes {
    classes: Vec<String>,
    len: usize,
}

/// This source's own error.
#[derive(Debug)]
struct Unplugged;

impl std::fmt::Display for Unplugged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the camera was unplugged")
    }
}

impl std::error::Error for Unplugged {}

const SIDE: usize = 16;

impl Source for Stripes {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (SIDE, SIDE)
    }

    fn len(&self) -> usize {
        self.len
    }

    fn label(&self, index: usize) -> u32 {
        (index % 2) as u32
    }

    fn name(&self, index: usize) -> String {
        format!("stripes {index}")
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        if index == 77 {
            return Err(Error::of_source(self.name(index), Unplugged));
        }
        // The draws have a name: the image is the same whenever it is read.
        let mut draws = Stream::new(1, Purpose::User(0), 0, index as u32);
        let (period, phase) = (3 + draws.below(4), draws.below(6));
        buffer.image.reshape(SIDE, SIDE);
        for (at, pixel) in buffer.image.pixels.chunks_exact_mut(3).enumerate() {
            let along = if self.label(index) == 0 { at / SIDE } else { at % SIDE } as u32;
            pixel.fill(if (along + phase) % period < 2 { 220 } else { 40 });
        }
        Ok(&buffer.image.pixels)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let classes = ["horizontal", "vertical"].map(String::from).to_vec();
    let stripes: Arc<dyn Source> = Arc::new(Stripes { classes, len: 200 });

    let statistics = Statistics::of(&*stripes)?;
    println!("mean color {:.0?} of {} images", statistics.color, statistics.images);

    let plan = LoaderPlan::training(50, (12, 12), 7); // batches of 50, crops, seed
    let mut loader = Loader::builder(stripes, plan).workers(2).build()?;
    for batch in loader.epoch() {
        let batch = batch?;
        let vertical = batch.labels.iter().filter(|&&label| label == 1).count();
        println!("batch {}: {vertical} of {} are vertical", batch.position, batch.images);
    }
    // An unreadable image is replaced by another one, and its error can be shown.
    for error in loader.bad().values() {
        println!("replaced: {error}");
        let source = std::error::Error::source(error).expect("the source's own error");
        assert!(source.is::<Unplugged>());
    }
    Ok(())
}
