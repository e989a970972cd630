//! `bridgefwd_checks::translate`, by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bridgefwd_checks::translate::run(bytes));
