//! One image: a background, random strokes, and a shape.

use super::Outline;
use random::{Purpose, Stream};

/// Cells of the background's texture along a side.
const CELLS: usize = 6;
/// The number of strokes.
const STROKES: usize = 4;

type Rgb = [f32; 3];

/// The content of an image. The unit of length is half its side: x and y are from -1 to 1.
pub(super) struct Scene {
    /// The background's colours at the corners of the cells.
    texture: [[Rgb; CELLS + 1]; CELLS + 1],
    strokes: [Stroke; STROKES],
    shape: Figure,
    /// The amplitude of the noise.
    noise: f32,
    noise_stream: Stream,
}

/// A short stroke with round ends.
struct Stroke {
    from: (f32, f32),
    along: (f32, f32),
    half_width: f32,
    color: Rgb,
}

/// The shape that determines the class.
struct Figure {
    outline: Outline,
    centre: (f32, f32),
    radius: f32,
    /// Cosine and sine of the rotation.
    rotation: (f32, f32),
    color: Rgb,
}

impl Scene {
    /// Draws image `index` of the data with seed `seed`.
    pub(super) fn draw(seed: u64, index: u32, outline: Outline) -> Scene {
        let mut stream = Stream::new(seed, Purpose::Generate, 0, index);
        let base = color(&mut stream, 15.0, 150.0);
        let rough = stream.between(5.0, 35.0);
        let slope = direction(&mut stream);
        let steep = stream.between(0.0, 45.0);
        let mut texture = [[base; CELLS + 1]; CELLS + 1];
        for (y, row) in texture.iter_mut().enumerate() {
            for (x, corner) in row.iter_mut().enumerate() {
                let place = |cell: usize| 2.0 * cell as f32 / CELLS as f32 - 1.0;
                let shade = steep * (slope.0 * place(x) + slope.1 * place(y));
                let blotch = stream.between(-rough, rough);
                for channel in corner {
                    *channel += shade + blotch + 0.5 * stream.between(-rough, rough);
                }
            }
        }
        let strokes = std::array::from_fn(|_| Stroke::draw(&mut stream));
        let shape = Figure::draw(&mut stream, outline, base);
        let noise = stream.between(4.0, 30.0);
        let noise_stream = Stream::new(seed, Purpose::Generate, 1, index);
        Scene { texture, strokes, shape, noise, noise_stream }
    }

    /// Paints `side` x `side` pixels; `row` is memory for a row of colours.
    pub(super) fn paint(mut self, side: usize, row: &mut Vec<f32>, pixels: &mut [u8]) {
        row.resize(side * 3, 0.0);
        let row = row.as_chunks_mut::<3>().0;
        let pixel = 2.0 / side as f32; // a pixel's width
        for (line, to) in pixels.chunks_exact_mut(side * 3).enumerate() {
            let y = (line as f32 + 0.5) * pixel - 1.0;
            self.background(y, row);
            for stroke in &self.strokes {
                let (low, high) = stroke.columns();
                cover(row, pixel, low, high, stroke.color, |x| stroke.distance(x, y));
            }
            let shape = &self.shape;
            let (left, right) = (shape.centre.0 - shape.radius, shape.centre.0 + shape.radius);
            if (y - shape.centre.1).abs() < shape.radius + pixel {
                cover(row, pixel, left, right, shape.color, |x| shape.distance(x, y));
            }
            for (to, color) in to.as_chunks_mut::<3>().0.iter_mut().zip(&*row) {
                let bytes = self.noise_stream.next().to_le_bytes();
                for ((to, &channel), byte) in to.iter_mut().zip(color).zip(bytes) {
                    let noise = self.noise * (f32::from(byte) * (2.0 / 255.0) - 1.0);
                    *to = (channel + noise + 0.5).clamp(0.0, 255.0) as u8;
                }
            }
        }
    }

    /// The row of the background at `y`, interpolated bilinearly between the corners of the cells.
    fn background(&self, y: f32, row: &mut [Rgb]) {
        let (cell, down) = cell_of(y);
        let blend = |a: Rgb, b: Rgb, share: f32| -> Rgb {
            std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share)
        };
        let corners: [Rgb; CELLS + 1] =
            std::array::from_fn(|x| blend(self.texture[cell][x], self.texture[cell + 1][x], down));
        let width = row.len() as f32;
        for (column, to) in row.iter_mut().enumerate() {
            let (cell, across) = cell_of((column as f32 + 0.5) * 2.0 / width - 1.0);
            *to = blend(corners[cell], corners[cell + 1], across);
        }
    }
}

/// The texture's cell at a coordinate from -1 to 1, and the offset in it.
#[inline]
fn cell_of(coordinate: f32) -> (usize, f32) {
    let scaled = (coordinate + 1.0) * (CELLS as f32 / 2.0);
    let cell = (scaled as usize).min(CELLS - 1);
    (cell, scaled - cell as f32)
}

/// Paints `color` over the pixels of a row from `left` to `right`, weighted by their coverage
/// according to `distance`.
#[inline]
fn cover(
    row: &mut [Rgb],
    pixel: f32,
    left: f32,
    right: f32,
    color: Rgb,
    distance: impl Fn(f32) -> f32,
) {
    let column = |x: f32| ((x + 1.0) / pixel) as usize; // `as` saturates at zero
    let first = column(left - pixel);
    let end = (column(right + pixel) + 1).min(row.len());
    for (at, to) in row.iter_mut().enumerate().take(end).skip(first) {
        let outside = distance((at as f32 + 0.5) * pixel - 1.0);
        let share = (0.5 - outside / pixel).clamp(0.0, 1.0);
        if share > 0.0 {
            for (channel, wanted) in to.iter_mut().zip(color) {
                *channel += (wanted - *channel) * share;
            }
        }
    }
}

impl Stroke {
    fn draw(stream: &mut Stream) -> Stroke {
        let from = (stream.between(-1.0, 1.0), stream.between(-1.0, 1.0));
        let heading = direction(stream);
        let length = stream.between(0.0, 0.5);
        Stroke {
            from,
            along: (heading.0 * length, heading.1 * length),
            half_width: stream.between(0.02, 0.07),
            color: color(stream, 15.0, 240.0),
        }
    }

    fn columns(&self) -> (f32, f32) {
        let (a, b) = (self.from.0, self.from.0 + self.along.0);
        (a.min(b) - self.half_width, a.max(b) + self.half_width)
    }

    fn distance(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - self.from.0, y - self.from.1);
        let (along, down) = self.along;
        let reached = (x * along + y * down) / (along * along + down * down + 1e-6);
        let nearest = reached.clamp(0.0, 1.0);
        let (x, y) = (x - nearest * along, y - nearest * down);
        (x * x + y * y).sqrt() - self.half_width
    }
}

impl Figure {
    fn draw(stream: &mut Stream, outline: Outline, background: Rgb) -> Figure {
        let radius = stream.between(0.55, 0.85);
        let reach = 1.0 - radius; // keeps the shape inside the image
        Figure {
            outline,
            radius,
            centre: (stream.between(-reach, reach), stream.between(-reach, reach)),
            rotation: direction(stream),
            color: color_lighter_than(stream, background),
        }
    }

    fn distance(&self, x: f32, y: f32) -> f32 {
        let (x, y) = ((x - self.centre.0) / self.radius, (y - self.centre.1) / self.radius);
        let (cos, sin) = self.rotation;
        self.outline.distance(x * cos + y * sin, y * cos - x * sin) * self.radius
    }
}

/// A colour with uniform channels between two grey levels.
fn color(stream: &mut Stream, darkest: f32, lightest: f32) -> Rgb {
    std::array::from_fn(|_| stream.between(darkest, lightest))
}

/// A colour whose mean is at least 55 grey levels above that of another.
fn color_lighter_than(stream: &mut Stream, other: Rgb) -> Rgb {
    loop {
        let drawn = color(stream, 60.0, 255.0);
        let lighter: f32 = drawn.iter().zip(other).map(|(a, b)| a - b).sum();
        if lighter > 3.0 * 55.0 {
            return drawn;
        }
    }
}

/// A uniformly distributed unit vector, by rejection sampling in the disc. It avoids the sine,
/// which is not rounded alike on all platforms.
fn direction(stream: &mut Stream) -> (f32, f32) {
    loop {
        let (x, y) = (stream.between(-1.0, 1.0), stream.between(-1.0, 1.0));
        let square = x * x + y * y;
        if square > 0.01 && square <= 1.0 {
            let length = square.sqrt();
            return (x / length, y / length);
        }
    }
}
