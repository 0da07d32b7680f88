//! Samples in ordinary runs, everything in long ones.

/// Whether the long tests run: `ALEXNET_LONG` is set, as `cargo xtask test --long` does.
pub fn is_long() -> bool {
    std::env::var_os("ALEXNET_LONG").is_some()
}

/// How many random cases a property is tested with: `sample` in ordinary runs, `all` in long ones.
pub fn cases(sample: u32, all: u32) -> u32 {
    if is_long() { all } else { sample }
}
