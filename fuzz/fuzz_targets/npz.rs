#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weights::fuzzing::npz(bytes));
