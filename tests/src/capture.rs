//! What really went over an interface.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::link_layer;
use crate::namespaces::Namespace;
use crate::view::View;
use crate::view6::View6;
use crate::wait::PATIENCE;

/// One captured frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Sent by the interface, rather than received.
    pub outgoing: bool,
    /// When it was read.
    pub at: Instant,
}

impl Frame {
    /// Its headers; `None` for what is not IPv4.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        View::of(&self.bytes)
    }

    /// Its headers; `None` for what is not IPv6.
    #[must_use]
    pub fn view6(&self) -> Option<View6> {
        View6::of(&self.bytes)
    }
}

/// A running capture: everything since it was started. Ends with this value.
pub struct Capture {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    frames: Mutex<Vec<Frame>>,
    grown: Condvar,
    stop: AtomicBool,
}

impl Capture {
    /// Starts to capture on `interface` of `ns`: what is sent after this returns is seen.
    #[must_use]
    pub fn start(ns: &Namespace, interface: &str) -> Self {
        let socket = link_layer::open(ns, interface);
        // A burst must not be lost while the reader waits for a CPU.
        socket.set_recv_buffer_size(8 << 20).expect("buffer");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![MaybeUninit::uninit(); 1 << 17];
            while !theirs.stop.load(Ordering::Acquire) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                // SAFETY: the kernel has written the first `length` bytes.
                let bytes = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() });
                let frame = Frame {
                    bytes: bytes.collect(),
                    outgoing: link_layer::is_outgoing(&from),
                    at: Instant::now(),
                };
                theirs.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                theirs.grown.notify_all();
            }
        });
        Self { shared, reader: Some(reader) }
    }

    /// Every frame so far.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.shared.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The IPv4 frames so far that `wanted` picks.
    #[must_use]
    pub fn picked(&self, wanted: impl Fn(&Frame, &View) -> bool) -> Vec<(Frame, View)> {
        pick(&self.frames(), &wanted)
    }

    /// Waits until `count` IPv4 frames are there that `wanted` picks, and returns them. Panics with
    /// what it saw instead when [`PATIENCE`] is over.
    #[track_caller]
    pub fn wait_for(
        &self,
        count: usize,
        wanted: impl Fn(&Frame, &View) -> bool,
    ) -> Vec<(Frame, View)> {
        self.poll_for(PATIENCE, count, &wanted).unwrap_or_else(|| {
            let seen: Vec<_> = self.frames().iter().map(describe).collect();
            panic!("waited in vain for {count} frames; seen:\n{}", seen.join("\n"))
        })
    }

    /// As [`Capture::wait_for`], for at most `patience`.
    pub fn poll_for(
        &self,
        patience: Duration,
        count: usize,
        wanted: &impl Fn(&Frame, &View) -> bool,
    ) -> Option<Vec<(Frame, View)>> {
        let deadline = Instant::now() + patience;
        let mut frames = self.shared.frames.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let picked = pick(&frames, wanted);
            if picked.len() >= count {
                return Some(picked);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let woken = self.shared.grown.wait_timeout(frames, left);
            frames = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn pick(frames: &[Frame], wanted: &impl Fn(&Frame, &View) -> bool) -> Vec<(Frame, View)> {
    frames
        .iter()
        .filter_map(|frame| {
            let view = frame.view()?;
            wanted(frame, &view).then(|| (frame.clone(), view))
        })
        .collect()
}

fn describe(frame: &Frame) -> String {
    let way = if frame.outgoing { "sent" } else { "received" };
    format!("{way} {} bytes: {:?}", frame.bytes.len(), frame.view())
}
