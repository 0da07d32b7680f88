//! One test body for every device.

use crate::bits_equal;
use std::sync::Once;
use tensor::{Choice, Device};

/// Runs `test` on the CPU with one thread and with three, and on a CUDA card if there is one. A
/// card that is missing is said on standard error; with `ALEXNET_REQUIRE_CUDA=1` in the environment
/// it is a failure.
///
/// # Panics
/// If a card is required and cannot be opened.
pub fn each_device(mut test: impl FnMut(&mut Device)) {
    static SAID: Once = Once::new();
    test(&mut Device::cpu(1));
    test(&mut Device::cpu(3));
    match Device::open(Choice::Cuda(0), 0) {
        Ok(mut card) => test(&mut card),
        Err(error) => {
            let required = std::env::var_os("ALEXNET_REQUIRE_CUDA").is_some_and(|set| set == "1");
            assert!(!required, "ALEXNET_REQUIRE_CUDA=1, but {error}");
            SAID.call_once(|| eprintln!("SKIPPED on CUDA: {error}"));
        }
    }
}

/// Asserts that `run(threads)` gives the same bits for 1, 2, 3 and 8 threads.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn same_bits_for_threads(run: impl Fn(usize) -> Vec<f32>) {
    let alone = run(1);
    for threads in [2, 3, 8] {
        bits_equal(&run(threads), &alone, &format!("{threads} threads against 1"));
    }
}
