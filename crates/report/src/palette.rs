//! PNG files with a palette: figures with photographs in a fraction of the bytes.

use augment::Image;
use png::{BitDepth, ColorType, Compression};

/// The largest palette of a PNG file.
pub const MAX_COLORS: usize = 256;

/// Bits per channel of the histogram from which a palette is chosen.
const BITS: u32 = 5;
const BINS: usize = 1 << (3 * BITS);

/// A bin of the colour histogram.
#[derive(Clone, Copy, Default)]
struct Bin {
    pixels: u64,
    sums: [u64; 3],
}

/// The image as a PNG file of at most `colors` colours, 2 to 256, chosen by median cut (Heckbert
/// 1982).
///
/// # Panics
/// If `colors` is out of range.
pub fn to_png(image: &Image, colors: usize) -> Vec<u8> {
    assert!((2..=MAX_COLORS).contains(&colors), "a palette of {colors} colours");
    let mut bins = vec![Bin::default(); BINS];
    for pixel in image.pixels.as_chunks::<3>().0 {
        let bin = &mut bins[bin_of(*pixel)];
        bin.pixels += 1;
        bin.sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u64::from(value));
    }
    let used: Vec<usize> = (0..BINS).filter(|&bin| bins[bin].pixels > 0).collect();
    let boxes = cut(used, &bins, colors);
    let mut place = vec![0u8; BINS];
    let mut palette = Vec::with_capacity(3 * boxes.len());
    for (number, members) in boxes.iter().enumerate() {
        members.iter().for_each(|&bin| place[bin] = number as u8);
        let pixels: u64 = members.iter().map(|&bin| bins[bin].pixels).sum();
        let sum = |channel: usize| members.iter().map(|&bin| bins[bin].sums[channel]).sum::<u64>();
        palette.extend((0..3).map(|channel| ((sum(channel) + pixels / 2) / pixels.max(1)) as u8));
    }
    let indices = image.pixels.as_chunks::<3>().0.iter().map(|pixel| place[bin_of(*pixel)]);
    write(image, palette, &indices.collect::<Vec<u8>>())
}

fn bin_of(pixel: [u8; 3]) -> usize {
    pixel.iter().fold(0, |bin, &value| bin << BITS | usize::from(value >> (8 - BITS)))
}

fn level(bin: usize, channel: usize) -> usize {
    bin >> (BITS as usize * (2 - channel)) & ((1 << BITS) - 1)
}

/// Splits the bins into at most `count` boxes.
fn cut(all: Vec<usize>, bins: &[Bin], count: usize) -> Vec<Vec<usize>> {
    let mut boxes = vec![all];
    while boxes.len() < count {
        // Weight: the root of the number of pixels times the widest side.
        let weigh = |members: &Vec<usize>| {
            let pixels: u64 = members.iter().map(|&bin| bins[bin].pixels).sum();
            let (channel, width) = widest(members);
            ((pixels as f64).sqrt() * width as f64, channel)
        };
        let weights: Vec<(f64, usize)> = boxes.iter().map(weigh).collect();
        let heaviest = (0..boxes.len()).max_by(|&a, &b| weights[a].0.total_cmp(&weights[b].0));
        let heaviest = heaviest.expect("at least one box");
        let (weight, channel) = weights[heaviest];
        if weight == 0.0 {
            break; // every box is a single bin
        }
        let mut members = boxes.swap_remove(heaviest);
        members.sort_by_key(|&bin| (level(bin, channel), bin));
        let half = members.iter().map(|&bin| bins[bin].pixels).sum::<u64>() / 2;
        let mut before = 0;
        let middle = members.iter().position(|&bin| {
            before += bins[bin].pixels;
            before > half
        });
        let at = middle.unwrap_or(0).clamp(1, members.len() - 1);
        let rest = members.split_off(at);
        boxes.extend([members, rest]);
    }
    boxes
}

/// The channel in which a box is widest, and its width in levels.
fn widest(members: &[usize]) -> (usize, usize) {
    let width = |channel: usize| {
        let levels = members.iter().map(|&bin| level(bin, channel));
        levels.clone().max().unwrap_or(0) - levels.min().unwrap_or(0)
    };
    let widths = (0..3).map(|channel| (width(channel), 2 - channel));
    let (width, from_last) = widths.max().expect("three channels");
    (2 - from_last, width)
}

fn write(image: &Image, palette: Vec<u8>, indices: &[u8]) -> Vec<u8> {
    let bits = match palette.len() / 3 {
        0..=4 => 2,
        5..=16 => 4,
        _ => 8,
    };
    let depth = match bits {
        2 => BitDepth::Two,
        4 => BitDepth::Four,
        _ => BitDepth::Eight,
    };
    let mut packed = Vec::new();
    for row in indices.chunks(image.width.max(1)) {
        for group in row.chunks(8 / bits) {
            let byte = group
                .iter()
                .enumerate()
                .fold(0u8, |byte, (at, &index)| byte | index << (8 - bits * (at + 1)));
            packed.push(byte);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width as u32, image.height as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(depth);
    encoder.set_palette(palette);
    encoder.set_compression(Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().expect("sizes below 2^31");
    writer.write_image_data(&packed).expect("the number of bytes matches the size");
    writer.finish().expect("writing to a Vec does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn read_back(bytes: &[u8]) -> Image {
        let mut back = Image::default();
        data::decode::decode(bytes, &mut back).unwrap();
        back
    }

    #[test]
    fn few_colours_are_exact() {
        for colors in [2, 3, 9] {
            let color = |i: usize| [(i * 25) as u8, 255 - (i * 20) as u8, 7];
            let pixels = (0..35).flat_map(|i| color(i % colors)).collect();
            let image = Image { height: 5, width: 7, pixels };
            assert_eq!(read_back(&to_png(&image, 16)), image, "{colors}");
        }
    }

    #[test]
    fn many_colours_are_approximated_in_fewer_bytes() {
        // Noise does not compress: only fewer colours make the file smaller.
        let mut draws = SmallRng::seed_from_u64(1);
        let pixels = (0..64 * 64 * 3).map(|_| draws.random_range(60..188)).collect();
        let image = Image { height: 64, width: 64, pixels };
        let small = to_png(&image, 32);
        assert!(3 * small.len() < crate::picture::to_png(&image).len());
        let back = read_back(&small);
        let far = image.pixels.iter().zip(&back.pixels).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far.unwrap() < 90, "{far:?}");
    }
}
