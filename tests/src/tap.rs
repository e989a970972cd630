//! A host's end of its cable in the hands of the test: frames are sent as written, and read without
//! a thread.

use std::mem::MaybeUninit;

use socket2::Socket;

use crate::link_layer;
use crate::namespaces::Namespace;

/// A raw socket on one interface that keeps what arrives until it is asked for it.
pub struct Tap {
    socket: Socket,
}

impl Tap {
    /// Opens it on `interface` of `ns`: what arrives after this returns is kept.
    #[must_use]
    pub fn new(ns: &Namespace, interface: &str) -> Self {
        let socket = link_layer::open(ns, interface);
        socket.set_nonblocking(true).expect("non-blocking");
        socket.set_recv_buffer_size(8 << 20).expect("buffer");
        Self { socket }
    }

    /// Sends one frame, from the Ethernet header on.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.socket.send(frame).expect("frame sent"), frame.len());
    }

    /// What has arrived since the last time, without waiting; not what the interface itself sent.
    #[must_use]
    pub fn drain(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 17];
        let mut frames = Vec::new();
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            if !link_layer::is_outgoing(&from) {
                // SAFETY: the kernel has written the first `length` bytes.
                let bytes = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() });
                frames.push(bytes.collect());
            }
        }
        frames
    }
}
