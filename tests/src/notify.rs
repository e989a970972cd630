//! A service manager's end of sd_notify(3).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::wait::PATIENCE;

/// The socket.
#[derive(Debug)]
pub struct Notify(UnixDatagram);

impl Notify {
    /// Listens at a path.
    #[must_use]
    #[track_caller]
    pub fn listen(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("bound"))
    }

    /// Waits for a message with a line that begins with `start`, and returns all lines of it.
    #[track_caller]
    pub fn wait_for(&self, start: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.0.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [0; 4096];
            match self.0.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    if lines.iter().any(|line| line.starts_with(start)) {
                        return lines;
                    }
                    heard.extend(lines);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{start} was not heard ({error}), but {heard:?}"),
            }
        }
    }
}
