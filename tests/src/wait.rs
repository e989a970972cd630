//! Waiting for a condition, with a deadline: never for a time.

use std::io;
use std::time::{Duration, Instant};

/// How long tests wait for what should happen at once. Generous: it is only ever used up by a
/// failure. With the feature `patient` it is for machines that are emulated.
pub const PATIENCE: Duration =
    Duration::from_secs(if cfg!(feature = "patient") { 150 } else { 10 });

const POLL: Duration = Duration::from_millis(2);

/// Polls `probe` until it gives a value, for at most `patience`.
pub fn poll<T>(patience: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Polls `holds` until it is true. Panics with `what` when [`PATIENCE`] is over.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(poll(PATIENCE, || holds().then_some(())).is_some(), "waited in vain: {what}");
}

/// Binds once the address is free. A socket that was closed can keep it a little longer: another
/// test that starts a program has a copy of every descriptor between `fork` and `exec`.
///
/// # Errors
///
/// Those of `bind`, and that the address stays in use.
pub fn bound<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut last = None;
    let attempt = poll(PATIENCE, || match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            last = Some(error);
            None
        }
        result => Some(result),
    });
    attempt.unwrap_or_else(|| Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
}
