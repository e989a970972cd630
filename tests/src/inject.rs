//! Sending frames exactly as written.

use socket2::Socket;

use crate::link_layer;
use crate::namespaces::Namespace;

/// A raw socket on one interface.
pub struct Injector {
    socket: Socket,
}

impl Injector {
    /// Opens it on `interface` of `ns`.
    #[must_use]
    pub fn new(ns: &Namespace, interface: &str) -> Self {
        Self { socket: link_layer::open(ns, interface) }
    }

    /// Sends one frame, from the Ethernet header on.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.socket.send(frame).expect("frame sent"), frame.len());
    }
}
