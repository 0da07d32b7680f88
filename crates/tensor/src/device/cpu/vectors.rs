//! The vector instructions that kernels may use: all of the processor's, unless a test limits them.

use std::sync::OnceLock;

/// Vectors, from the narrowest to the widest.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// Those of the base instruction set.
    Portable,
    /// 256 bits, with fused multiply-add.
    Avx2,
    /// 512 bits.
    Avx512,
}

impl Vectors {
    /// The environment variable that limits them. For tests, which compare the bits of one width
    /// with those of another; it is read once.
    pub const VARIABLE: &'static str = "ALEXNET_VECTORS";

    /// The widest that kernels may use, where the processor has them.
    ///
    /// # Panics
    /// If the variable holds anything but `portable`, `avx2` or `avx512`.
    pub fn limit() -> Vectors {
        static LIMIT: OnceLock<Vectors> = OnceLock::new();
        *LIMIT.get_or_init(|| match std::env::var_os(Vectors::VARIABLE) {
            None => Vectors::Avx512,
            Some(name) => name.to_str().and_then(Vectors::named).unwrap_or_else(|| {
                panic!("{}={name:?}: portable, avx2 or avx512", Vectors::VARIABLE)
            }),
        })
    }

    /// Its name in the variable.
    pub fn name(self) -> &'static str {
        match self {
            Vectors::Portable => "portable",
            Vectors::Avx2 => "avx2",
            Vectors::Avx512 => "avx512",
        }
    }

    fn named(name: &str) -> Option<Vectors> {
        Vectors::ALL.into_iter().find(|vectors| vectors.name() == name)
    }

    /// All of them, the narrowest first.
    pub const ALL: [Vectors; 3] = [Vectors::Portable, Vectors::Avx2, Vectors::Avx512];

    /// Whether this processor has them.
    pub fn are_here(self) -> bool {
        match self {
            Vectors::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for vectors in Vectors::ALL {
            assert_eq!(Vectors::named(vectors.name()), Some(vectors));
        }
        assert_eq!(Vectors::named("sse"), None);
        assert!(Vectors::Portable.are_here());
    }
}
