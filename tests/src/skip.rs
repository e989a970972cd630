//! Tests that cannot run here say so, by name and with the reason.

use std::path::Path;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};

use crate::bpf;
use crate::namespaces::{BPFFS, unique_name};
use crate::program::Buffer;

/// May this test run? Prints why where it may not.
///
/// Only what a machine can lack is a reason to skip. CI has root, so there a lack of it is a
/// failure of the set-up and not a skip.
pub fn has_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must run this layer as root");
    skipped("needs root: network namespaces and BPF");
    false
}

/// Is this program here? Prints where it may be missing that it is.
///
/// `cargo xtask setup` installs what the tests call, so in CI a lack of it is a failure.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have {name}");
    skipped(&format!("needs {name}, which is not installed"));
    false
}

/// Prints that the calling test is skipped, and why.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    println!("SKIPPED: {}: {reason}", thread.name().unwrap_or("a test"));
}

/// Returns from the calling test where it cannot run here.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::skip::has_root() {
            return;
        }
    };
}

/// Returns from the calling test where a program is not installed.
#[macro_export]
macro_rules! needs_programs {
    ($($name:literal),+ $(,)?) => {
        $(if !$crate::skip::has_program($name) {
            return;
        })+
    };
}

/// Can a test run say by which interface a packet came in? Prints that the calling test is skipped where it
/// cannot: kernels of old refuse a context with that.
#[must_use]
pub fn can_say_what_came_in() -> bool {
    let pin = Path::new(BPFFS).join(unique_name("probe"));
    bpf::pin(&bpf::empty_classifier(), &pin);
    let program = SchedClassifier::from_pin(&pin);
    std::fs::remove_file(&pin).expect("unpinned");
    let context = Buffer { came_by: 1, ..Buffer::at(1) }.context(64);
    let options =
        TestRunOptions { data_in: Some(&[0; 64]), ctx_in: Some(&context), ..TestRunOptions::new() };
    if program.expect("the program").test_run(options).is_ok() {
        return true;
    }
    skipped("this kernel's test runs cannot say by which interface a packet came in");
    false
}

/// Returns from the calling test where a test run cannot say by which interface a packet came in.
#[macro_export]
macro_rules! needs_what_came_in {
    () => {
        if !$crate::skip::can_say_what_came_in() {
            return;
        }
    };
}
