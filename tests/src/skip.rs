//! Tests that cannot run here say so, by name and with the reason.

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
