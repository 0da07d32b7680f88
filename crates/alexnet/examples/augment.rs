//! Data augmentation alone: `cargo run --example augment --features image,rand`
//!
//! Without files, threads or a device: crops, colours and resizing of an image in memory.

use alexnet::augment::{Jitter, adjust, ten_crop};
use alexnet::image::{Rgb, RgbImage};
use alexnet::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn main() {
    // An image of the crate `image`, which could be read from a file: red grows to the right, green
    // downwards.
    let photo = RgbImage::from_fn(320, 240, |x, y| Rgb([(x * 4 / 5) as u8, y as u8, 128]));
    let photo = Image::from(photo);

    // The shorter side is resized to 64 pixels, and the centre square is cut out.
    let mut square = Image::default();
    Resizer::default().square(&photo, 64, &mut square);

    // The random crop of sample 41 in epoch 3 depends on these numbers only, not on earlier draws.
    let (seed, epoch, sample) = (7, 3, 41);
    let view = View::draw(seed, epoch, sample, (64, 64), (56, 56));
    println!("crop at row {}, column {}, mirrored: {}", view.top, view.left, view.mirror);
    let mut crop = square.crop(view, (56, 56));
    assert_eq!(view, View::draw(seed, epoch, sample, (64, 64), (56, 56)));

    // The color shift of the paper, then torchvision's jitter.
    println!("first pixel {:?}", crop.pixel(0, 0));
    ColorShift::IMAGENET.apply(&mut crop.pixels, seed, epoch, sample);
    println!("after the color shift {:?}", crop.pixel(0, 0));
    let jitter = Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    adjust(&mut crop.pixels, &jitter.draw(seed, epoch, sample));
    println!("after the jitter {:?}", crop.pixel(0, 0));

    // Views from a generator of the crate `rand`.
    let mut rng = SmallRng::seed_from_u64(7);
    let views: Vec<View> = (0..4).map(|_| View::sample(&mut rng, (64, 64), (56, 56))).collect();
    let inside = views.iter().all(|view| view.top <= 8 && view.left <= 8);
    println!("{} views by a generator, inside the image: {inside}", views.len());

    // The ten views of the paper's test, and back to the crate `image`.
    let tests =
        ten_crop((64, 64), (56, 56)).map(|view| RgbImage::from(square.crop(view, (56, 56))));
    println!("{} views of {:?} pixels", tests.len(), tests[0].dimensions());
}
