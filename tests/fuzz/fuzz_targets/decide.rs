//! `bridgefwd_checks::decide`, by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bridgefwd_checks::decide::run(bytes));
