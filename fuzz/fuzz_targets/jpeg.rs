#![no_main]

#[path = "../../crates/data/tests/fuzzing/another.rs"]
mod another;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| data::fuzzing::jpeg(bytes, another::decode));
