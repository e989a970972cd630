//! How a command says no.

use bridgefwd_tests::bridgefwd::Output;

/// The exit statuses of the contract.
pub const COULD_NOT: i32 = 1;
/// The user asked wrongly.
pub const USAGE: i32 = 2;
/// No daemon.
pub const NO_DAEMON: i32 = 3;

/// Panics unless the command ended with `status`, said nothing on standard output, and named all
/// of `words` on standard error.
#[track_caller]
pub fn refused(output: &Output, status: i32, words: &[&str]) {
    assert_eq!(output.status, status, "{output:?}");
    assert_eq!(output.stdout, "", "errors go to standard error");
    assert!(!output.stderr.trim().is_empty(), "an error says what is wrong");
    for word in words {
        assert!(output.stderr.contains(word), "`{word}` is not named: {}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}
