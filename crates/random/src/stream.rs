//! The sequence of random numbers of one name.

use crate::philox;
use rand_core::TryRng;
use std::convert::Infallible;

/// The purpose of a draw. Streams of different purposes never share a counter, so adding a draw to
/// one changes no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Initial weights; index: the parameter.
    Init,
    /// The order of samples in an epoch.
    Shuffle,
    /// The position of a training crop and whether it is mirrored; index: the sample.
    Crop,
    /// The PCA colour shift of a training image; index: the sample.
    Color,
    /// The units that dropout drops; the epoch word is the step, the index the layer (see
    /// `kernels::dropout`).
    Dropout,
    /// Generated images; index: the image.
    Generate,
    /// The replacement of an unreadable sample; index: the sample.
    Replace,
    /// Tests and benchmarks.
    Test,
    /// The rectangle of a random resized crop; index: the sample.
    Resized,
    /// The colour jitter of a training image; index: the sample.
    Jitter,
    /// Whether a training image is flipped upside down; index: the sample.
    VerticalFlip,
    /// The rotation of a training image; index: the sample.
    Rotate,
    /// The operations of RandAugment or TrivialAugment; index: the sample.
    AutoAugment,
    /// Whether a training image becomes grey; index: the sample.
    Grayscale,
    /// The erased rectangle of a training image; index: the sample.
    Erase,
    /// Random bytes in an erased rectangle; index: the sample.
    EraseNoise,
    /// How the images of a batch are mixed; index: the batch's position in its epoch.
    Mix,
    /// The sample at a position of an epoch, if classes are sampled equally often; index: the
    /// position.
    Balanced,
    /// The value of a parameter in a sweep; epoch: the trial, index: a digest of the parameter's
    /// name.
    Sweep,
    /// Draws of programs that use these crates, which give each of their own purposes a number. No
    /// crate of this workspace draws with it.
    User(u16),
}

impl Purpose {
    /// The counter word that identifies the purpose.
    #[inline]
    pub const fn code(self) -> u32 {
        match self {
            Purpose::Init => 1,
            Purpose::Shuffle => 2,
            Purpose::Crop => 3,
            Purpose::Color => 4,
            Purpose::Dropout => 5,
            Purpose::Generate => 6,
            Purpose::Replace => 7,
            Purpose::Test => 8,
            Purpose::Resized => 9,
            Purpose::Jitter => 10,
            Purpose::VerticalFlip => 11,
            Purpose::Rotate => 12,
            Purpose::AutoAugment => 13,
            Purpose::Grayscale => 14,
            Purpose::Erase => 15,
            Purpose::EraseNoise => 16,
            Purpose::Mix => 17,
            Purpose::Balanced => 18,
            Purpose::Sweep => 32,
            Purpose::User(number) => 1 << 16 | number as u32,
        }
    }
}

/// The random numbers named by (seed, purpose, epoch, index).
///
/// Philox counter words: block number, index, epoch, purpose. A stream holds 2^34 words.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream of `index` (a sample or parameter) in `epoch` (or step).
    pub fn new(seed: u64, purpose: Purpose, epoch: u32, index: u32) -> Self {
        Stream {
            key: philox::key(seed),
            counter: [0, index, epoch, purpose.code()],
            words: [0; 4],
            used: 4,
        }
    }

    /// The next 32 random bits.
    #[inline]
    #[allow(clippy::should_implement_trait)] // an endless stream needs no `Option`
    pub fn next(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox::block(self.key, self.counter);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// A number in [0, 1), a multiple of 2^-24.
    #[inline]
    pub fn unit(&mut self) -> f32 {
        philox::unit(self.next())
    }

    /// A number in [low, high).
    #[inline]
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// An integer in 0..n, with a bias of at most n / 2^32.
    ///
    /// # Panics
    /// If `n` is zero.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "no integer is below zero");
        ((u64::from(self.next()) * u64::from(n)) >> 32) as u32
    }

    /// True or false with equal probability.
    #[inline]
    pub fn coin(&mut self) -> bool {
        self.next() >> 31 == 1
    }

    /// A draw from N(0, 1): Box and Muller's cosine form, computed in f64 so that the last bit of
    /// f32 is stable.
    #[inline]
    pub fn normal(&mut self) -> f32 {
        // 1 - u is in (0, 1], so the logarithm is finite; the tail ends at 5.77 standard
        // deviations.
        let radius = (-2.0 * (1.0 - f64::from(self.unit())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.unit());
        (radius * angle.cos()) as f32
    }
}

/// The generator interface of [`rand`]: its distributions, shuffles and choices work on any stream.
/// These are named draws, too: the same name gives the same values. But their algorithms may change
/// with the version of `rand`, so everything that decides a run's results uses the methods above.
///
/// [`rand`]: https://docs.rs/rand
impl TryRng for Stream {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next())
    }

    /// Two words, the lower half first.
    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.next());
        Ok(u64::from(self.next()) << 32 | low)
    }

    /// Words in little-endian order. Unused bytes of the last word are dropped.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for word in bytes.chunks_mut(4) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::seq::SliceRandom;
    use rand::{Rng, RngExt};
    use rand_distr::{Distribution, Exp1, StandardNormal};

    fn stream() -> Stream {
        Stream::new(1, Purpose::Test, 0, 0)
    }

    #[test]
    fn names_do_not_collide() {
        let base = stream().next();
        assert_ne!(base, Stream::new(2, Purpose::Test, 0, 0).next());
        assert_ne!(base, Stream::new(1, Purpose::Crop, 0, 0).next());
        assert_ne!(base, Stream::new(1, Purpose::Test, 1, 0).next());
        assert_ne!(base, Stream::new(1, Purpose::Test, 0, 1).next());
        let user = |number| Stream::new(1, Purpose::User(number), 0, 0).next();
        assert_ne!(base, user(Purpose::Test.code() as u16));
        assert_ne!(user(0), user(1));
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let n = 200_000;
        let mut draws = stream();
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for _ in 0..n {
            let x = f64::from(draws.normal());
            sum += x;
            squares += x * x;
        }
        // Standard errors: 1 / sqrt(n) = 0.0022 for the mean, sqrt(2 / n) = 0.0032 for the
        // variance; four of each.
        assert!((sum / f64::from(n)).abs() < 0.009);
        assert!((squares / f64::from(n) - 1.0).abs() < 0.013);
    }

    #[test]
    fn words_of_all_sizes_are_the_same_bits() {
        let words: Vec<u32> = {
            let mut draws = stream();
            (0..6).map(|_| draws.next()).collect()
        };
        let mut draws = stream();
        assert_eq!(draws.next_u32(), words[0]);
        assert_eq!(draws.next_u64(), u64::from(words[1]) | u64::from(words[2]) << 32);
        let mut bytes = [0; 6];
        draws.fill_bytes(&mut bytes);
        let expected = [words[3].to_le_bytes(), words[4].to_le_bytes()].concat();
        assert_eq!(bytes, expected[..6]);
        assert_eq!(draws.next(), words[5]);
    }

    /// Distributions of `rand` and `rand_distr` on a stream have the expected moments, and depend
    /// on the stream's name only.
    #[test]
    fn distributions_and_shuffles_work_on_named_draws() {
        let n = 100_000;
        let mean = |draw: &mut dyn FnMut(&mut Stream) -> f64| {
            let mut draws = stream();
            (0..n).map(|_| draw(&mut draws)).sum::<f64>() / f64::from(n)
        };
        // Five standard errors: deviations 1, 1 and 1 / sqrt(12), over sqrt(n).
        assert!(mean(&mut |draws| StandardNormal.sample(draws)).abs() < 0.016);
        assert!((mean(&mut |draws| Exp1.sample(draws)) - 1.0).abs() < 0.016);
        assert!((mean(&mut |draws| draws.random::<f64>()) - 0.5).abs() < 0.005);
        assert!((mean(&mut |draws| f64::from(draws.random_range(0..7u8))) - 3.0).abs() < 0.032);
        let shuffled = |epoch| {
            let mut order: Vec<u32> = (0..50).collect();
            order.shuffle(&mut Stream::new(1, Purpose::Test, epoch, 0));
            order
        };
        assert_eq!(shuffled(0), shuffled(0));
        assert_ne!(shuffled(0), shuffled(1));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn below_is_even() {
        let mut draws = stream();
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[draws.below(7) as usize] += 1);
        // Binomial standard deviation 92.6; five of them.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 463), "{counts:?}");
    }
}
