//! A running TCP connection: a byte goes to a server's echo, comes back, and the next one goes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::probe;
use super::topology::LabHost;

/// Time between an echo and the next byte: how finely an interruption can be timed.
const PACE: Duration = Duration::from_millis(1);

/// How long a read waits before the thread looks whether it shall stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One connection with a thread that keeps it busy. Dropped, it is closed.
pub struct Conversation {
    /// The client's own address.
    pub own: SocketAddr,
    stream: TcpStream,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    echoes: AtomicU64,
    last: Mutex<Instant>,
    broken: Mutex<Option<String>>,
}

impl Conversation {
    /// Connects and begins.
    ///
    /// # Errors
    /// No connection comes about.
    pub fn start(from: &LabHost, to: &LabHost, patience: Duration) -> io::Result<Self> {
        let stream = probe::echo_stream(from, to, patience)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            echoes: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
            broken: Mutex::new(None),
        });
        let (busy, seen) = (stream.try_clone()?, Arc::clone(&shared));
        let thread = thread::Builder::new().name("conversation".into()).spawn(move || {
            if let Err(error) = exchange(busy, &seen) {
                *lock(&seen.broken) = Some(error.to_string());
            }
        })?;
        Ok(Self { own: stream.local_addr()?, stream, shared, thread: Some(thread) })
    }

    /// How many bytes came back.
    #[must_use]
    pub fn echoes(&self) -> u64 {
        self.shared.echoes.load(Ordering::Acquire)
    }

    /// When the last one did.
    #[must_use]
    pub fn last(&self) -> Instant {
        *lock(&self.shared.last)
    }

    /// Why the connection is over, where it is.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        lock(&self.shared.broken).clone()
    }

    /// Sends no more, and leaves the connection open.
    pub fn rest(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was said there.
            let _ = thread.join();
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Wakes the thread's read at once; a connection that is over already cannot be shut down.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.rest();
    }
}

fn exchange(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut byte = [0];
    while !shared.stop.load(Ordering::Acquire) {
        stream.write_all(b".")?;
        loop {
            match stream.read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => break,
                Err(error) if probe::is_silence(&error) => {
                    if shared.stop.load(Ordering::Acquire) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        *lock(&shared.last) = Instant::now();
        shared.echoes.fetch_add(1, Ordering::AcqRel);
        thread::sleep(PACE);
    }
    Ok(())
}

/// A value that a panicking thread left is whole: each is written in one go.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
