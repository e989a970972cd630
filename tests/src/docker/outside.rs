//! The world outside of the engine's host: one machine at the other end of its cable.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::namespaces::Namespace;
use crate::traffic::udp;

/// A machine outside, and the name server on it.
pub struct Outside {
    /// Its namespace.
    pub ns: Namespace,
    over: Arc<AtomicBool>,
    names: Option<JoinHandle<()>>,
}

impl Outside {
    /// The host's address on the cable, whose interface there is `eth0`.
    pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// The machine's address on the cable.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    /// Where it says that every name leads.
    pub const NAMED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    /// Plugs it into a host, as its way out.
    #[must_use]
    #[track_caller]
    pub fn new(host: &Namespace) -> Self {
        let ns = Namespace::new("outside");
        host.ip(&format!("link add eth0 type veth peer name eth0 netns {}\n", ns.name()));
        host.ip(&format!("addr add {}/24 dev eth0\nlink set eth0 up\n", Self::HOST));
        ns.ip(&format!(
            "addr add {}/24 dev eth0\naddr add {}/32 dev lo\nlink set eth0 up\n",
            Self::ADDRESS,
            Self::NAMED
        ));
        host.ip(&format!("route add default via {}\n", Self::ADDRESS));
        let over = Arc::new(AtomicBool::new(false));
        let socket = udp(&ns, std::net::SocketAddrV4::new(Self::ADDRESS, 53));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        let until_over = Arc::clone(&over);
        let names = std::thread::spawn(move || answer_names(&socket, &until_over));
        Self { ns, over, names: Some(names) }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(names) = self.names.take() {
            let _ = names.join();
        }
    }
}

/// Answers every question for an address with [`Outside::NAMED`], and others with nothing.
fn answer_names(socket: &UdpSocket, over: &AtomicBool) {
    let mut buffer = [0; 512];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let query = &buffer[..length];
        // The question ends with the root's empty label, type and class.
        let Some(end) = query[12..].iter().position(|byte| *byte == 0).map(|at| 12 + at + 5) else {
            continue;
        };
        let wants_address = query[end - 4..end - 2] == [0, 1];
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(wants_address), 0, 0, 0, 0]);
        answer.extend(&query[12..end]);
        if wants_address {
            // The name of the question, type A, class IN, 60 s, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(Outside::NAMED.octets());
        }
        let _ = socket.send_to(&answer, from);
    }
}
