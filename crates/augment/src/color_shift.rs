//! The PCA colour shift of the paper's section 4.1.

use random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// A reading of section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColorFormula {
    /// As the 2012 source computes it: `x <- (x - mean + 0.1 sum_i p_i sqrt(lambda_i) n_i) / 1.1`
    /// with `n_i` from N(0, 1), where 0.1 is the strength. Along the first component of ImageNet,
    /// the shift has a standard deviation of 0.1 x 121.8 = 12.2 grey levels before the division,
    /// which keeps the scale the same in training and testing.
    Source,
    /// As printed: `x <- x + sum_i p_i alpha_i lambda_i`, `alpha_i` from N(0, 0.1).
    ///
    /// It multiplies by the eigenvalue, a variance, instead of its square root, so that its
    /// strength depends on the unit of the pixels. For pixels of 0 to 255, the shift would be 1483
    /// grey levels; it only makes sense for pixels of 0 to 1 (5.8 levels), which is assumed here.
    Paper,
}

/// A random colour added to all pixels of a training image, along the principal components of the
/// training set's colours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorShift {
    /// The formula.
    pub formula: ColorFormula,
    /// The strength: the standard deviation of each draw, 0.1 in the paper; zero disables the
    /// shift.
    pub noise: f32,
    /// Eigenvalues of the colour covariance, in squared grey levels (pixels of 0 to 255).
    pub variances: [f32; 3],
    /// Unit eigenvectors as rows (red, green, blue).
    pub components: [[f32; 3]; 3],
}

impl ColorShift {
    /// No shift.
    pub const NONE: [f32; 4] = [1.0, 0.0, 0.0, 0.0];

    /// The shift of strength 0.1 along the principal components of ImageNet's colours, which are
    /// those in the 2012 source.
    pub const IMAGENET: ColorShift = ColorShift {
        formula: ColorFormula::Source,
        noise: 0.1,
        variances: [14830.4, 1375.96, 388.911],
        components: [
            [-0.563510, -0.576184, -0.592003],
            [-0.712579, -0.023542, 0.701196],
            [0.417955, -0.816981, 0.397311],
        ],
    };

    /// The shift of a sample in an epoch: gain, red, green, blue; `x <- (x - mean) * gain + color`.
    pub fn draw(&self, seed: u64, epoch: u32, sample: u32) -> [f32; 4] {
        let mut stream = Stream::new(seed, Purpose::Color, epoch, sample);
        self.tint([stream.normal(), stream.normal(), stream.normal()])
    }

    /// Shifts the pixels of an image in place, by the draws of a sample in an epoch: RGB bytes,
    /// rounded, and limited to 0 to 255.
    ///
    /// The colour is added to each pixel. The division by 1.1 in [`ColorFormula::Source`] scales
    /// the network's input, not the image, and is left out.
    ///
    /// # Panics
    /// If `pixels` does not have three bytes per pixel.
    pub fn apply(&self, pixels: &mut [u8], seed: u64, epoch: u32, sample: u32) {
        let (whole, rest) = pixels.as_chunks_mut::<3>();
        assert!(rest.is_empty(), "{} bytes after the last pixel", rest.len());
        let [gain, color @ ..] = self.draw(seed, epoch, sample);
        for pixel in whole {
            for (byte, shift) in pixel.iter_mut().zip(color) {
                *byte = (f32::from(*byte) + shift / gain).round().clamp(0.0, 255.0) as u8;
            }
        }
    }

    /// The shift for three draws from N(0, 1).
    pub fn tint(&self, draws: [f32; 3]) -> [f32; 4] {
        let gain = match self.formula {
            ColorFormula::Source => 1.0 / (1.0 + self.noise),
            ColorFormula::Paper => 1.0,
        };
        let mut tint = [gain, 0.0, 0.0, 0.0];
        for ((draw, variance), component) in draws.iter().zip(self.variances).zip(self.components) {
            let length = match self.formula {
                ColorFormula::Source => variance.sqrt(),
                ColorFormula::Paper => variance / 255.0, // 255 * (variance / 255^2)
            };
            for (color, part) in tint[1..].iter_mut().zip(component) {
                *color += gain * self.noise * length * draw * part;
            }
        }
        tint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imagenet(formula: ColorFormula) -> ColorShift {
        ColorShift { formula, ..ColorShift::IMAGENET }
    }

    fn close(got: [f32; 4], want: [f32; 4]) {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-3), "{got:?} is not {want:?}");
    }

    /// By hand: 0.1 * 121.780 * p_1 / 1.1 for one standard deviation along the first component, and
    /// so on.
    #[test]
    fn the_source_shifts_by_standard_deviations_and_divides() {
        let shift = imagenet(ColorFormula::Source);
        close(shift.tint([1.0, 0.0, 0.0]), [0.90909, -6.2386, -6.3789, -6.5540]);
        close(shift.tint([0.0, 2.0, 0.0]), [0.90909, -4.8059, -0.1588, 4.7291]);
        close(shift.tint([0.0, 0.0, 0.0]), [0.90909, 0.0, 0.0, 0.0]);
    }

    /// By hand: 0.1 * 14830.4 / 255 * p_1, a length of 5.816 grey levels.
    #[test]
    fn the_paper_as_printed_shifts_by_variances_of_unit_pixels() {
        let shift = imagenet(ColorFormula::Paper);
        close(shift.tint([1.0, 0.0, 0.0]), [1.0, -3.2773, -3.3510, -3.4430]);
    }

    /// Both formulas add the drawn colour, in grey levels, to every pixel.
    #[test]
    fn bytes_are_shifted_rounded_and_limited() {
        for formula in [ColorFormula::Source, ColorFormula::Paper] {
            let shift = imagenet(formula);
            let [gain, color @ ..] = shift.draw(7, 3, 41);
            let color = color.map(|part| part / gain);
            let mut pixels = [100, 100, 100, 0, 255, 128];
            shift.apply(&mut pixels, 7, 3, 41);
            let wanted = [100.0, 100.0, 100.0, 0.0, 255.0, 128.0];
            for ((got, from), part) in pixels.into_iter().zip(wanted).zip(color.iter().cycle()) {
                let wanted: f32 = from + part;
                assert!((f32::from(got) - wanted.clamp(0.0, 255.0)).abs() <= 0.5, "{pixels:?}");
            }
            assert_ne!(pixels[..3], [100; 3]);
        }
    }

    #[test]
    fn no_noise_is_no_shift() {
        for formula in [ColorFormula::Source, ColorFormula::Paper] {
            let quiet = ColorShift { noise: 0.0, ..imagenet(formula) };
            close(quiet.draw(1, 2, 3), ColorShift::NONE);
        }
    }

    #[test]
    fn draws_are_distributed_along_the_components() {
        let shift = imagenet(ColorFormula::Source);
        let n = 20_000;
        let mut squares = 0.0f64;
        for sample in 0..n {
            let [_, r, g, b] = shift.draw(5, 0, sample).map(f64::from);
            squares += r * r + g * g + b * b;
        }
        // The trace of the covariance, times (0.1 / 1.1)^2; the sum varies by about 1.3 %.
        let expected = (14830.4 + 1375.96 + 388.911) * 0.01 / 1.21;
        assert!((squares / f64::from(n) / expected - 1.0).abs() < 0.05);
    }
}
