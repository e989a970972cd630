//! `bridgefwd_checks::parse`, by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bridgefwd_checks::parse::run(bytes));
