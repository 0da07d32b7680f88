//! Philox4x32-10: 128 bits of counter and 64 bits of key in, 128 random bits out.
//!
//! Ten rounds of two 32x32 -> 64 bit products. Stateless, so CPU and GPU kernels compute the same
//! bits.

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four random words at `counter` with `key`.
#[inline(always)]
pub fn block(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The blocks at `N` consecutive counters: `words[w][n]` is word `w` of [`block`] at the counter
/// whose first word is `first + n` and whose others are `rest`. Vectorized if the caller is.
#[inline(always)]
pub fn blocks<const N: usize>(mut key: [u32; 2], first: u32, rest: [u32; 3]) -> [[u32; N]; 4] {
    let mut c0: [u32; N] = [0; N];
    (0..N).for_each(|n| c0[n] = first.wrapping_add(n as u32));
    let [mut c1, mut c2, mut c3] = [[rest[0]; N], [rest[1]; N], [rest[2]; N]];
    for _ in 0..10 {
        for n in 0..N {
            let a = u64::from(MULTIPLIER[0]) * u64::from(c0[n]);
            let b = u64::from(MULTIPLIER[1]) * u64::from(c2[n]);
            c0[n] = (b >> 32) as u32 ^ c1[n] ^ key[0];
            c1[n] = b as u32;
            c2[n] = (a >> 32) as u32 ^ c3[n] ^ key[1];
            c3[n] = a as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [c0, c1, c2, c3]
}

/// The two key words of a 64-bit seed, low word first.
#[inline]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The top 24 bits of a random word as a number in [0, 1): all multiples of 2^-24, equally likely.
#[inline(always)]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123's `kat_vectors` for philox4x32-10.
    #[test]
    fn known_answers() {
        let pi = ([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        let ones = ([u32::MAX; 2], [u32::MAX; 4]);
        assert_eq!(block([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(block(ones.0, ones.1), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(block(pi.0, pi.1), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn consecutive_blocks_are_blocks() {
        let rest = [7, 8, 9];
        let words = blocks::<16>([1, 2], u32::MAX - 3, rest);
        for n in 0..16 {
            let counter = [(u32::MAX - 3).wrapping_add(n as u32), rest[0], rest[1], rest[2]];
            assert_eq!(words.map(|row| row[n]), block([1, 2], counter));
        }
    }

    #[test]
    fn unit_is_below_one() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u32::MAX) < 1.0);
    }
}
