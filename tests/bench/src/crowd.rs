//! A crowd of flows: so many that are alive at the same time, each opened by a datagram of its own.

use std::net::{Ipv4Addr, SocketAddrV4};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::traffic::udp;

/// The client's ports for each port of the server: every flow keeps its own.
const PORTS: u32 = 16_384;
/// The client's first one.
const FIRST_PORT: u16 = 1024;
/// How often what was lost on the way is sent again.
const ATTEMPTS: u32 = 50;
/// Datagrams between two looks whether the kernel keeps up.
const BURST: u32 = 256;
/// The server's first port. Nobody reads what arrives there, but if nobody had it each datagram would
/// be answered by an error.
const DISCARD: u16 = 20_000;

/// Between whom.
pub struct Ends<'a> {
    /// The client's namespace, with `eth0`.
    pub client: &'a Namespace,
    /// An address of the client's network.
    pub from: Ipv4Addr,
    /// The client's MAC, and the router's.
    pub macs: [[u8; 6]; 2],
    /// The server's namespace.
    pub server: &'a Namespace,
    /// Its address.
    pub to: Ipv4Addr,
}

/// Opens flows until so many are alive.
#[track_caller]
pub fn open(bridgefwd: &Bridgefwd, ends: &Ends<'_>, flows: u32) {
    let at = |number: u32| SocketAddrV4::new(ends.to, DISCARD + number as u16);
    let _sinks: Vec<_> =
        (0..flows.div_ceil(PORTS)).map(|number| udp(ends.server, at(number))).collect();
    let injector = Injector::new(ends.client, "eth0");
    let [from_mac, to_mac] = ends.macs;
    let from = SocketAddrV4::new(ends.from, FIRST_PORT);
    let mut frame = Packet::udp(from, at(0)).macs(from_mac, to_mac).build();
    // UDP over IPv4 goes without a checksum: none to correct for each flow.
    frame[40..42].fill(0);
    let live = || bridgefwd.json(&["status"])["flows"]["live"].as_u64().expect("a number");
    for _ in 0..ATTEMPTS {
        for flow in 0..flows {
            write(&mut frame, flow);
            injector.send(&frame);
            if flow % BURST == 0 {
                std::thread::yield_now();
            }
        }
        if live() >= flows.into() {
            return;
        }
    }
    panic!("{} flows alive, not {flows}: {}", live(), bridgefwd.ok(&["stats"]));
}

/// Makes the frame that of one flow.
fn write(frame: &mut [u8], flow: u32) {
    frame[34..36].copy_from_slice(&(FIRST_PORT + (flow % PORTS) as u16).to_be_bytes());
    frame[36..38].copy_from_slice(&(DISCARD + (flow / PORTS) as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bridgefwd_tests::view::View;

    use super::*;

    #[test]
    fn each_flow_has_ports_of_its_own() {
        let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, last), port);
        let mut frame = Packet::udp(at(3, 1), at(99, 1)).build();
        for (flow, [from, to]) in
            [(0, [1024, 20_000]), (16_383, [17_407, 20_000]), (999_999, [1599, 20_061])]
        {
            write(&mut frame, flow);
            let view = View::of(&frame).unwrap();
            assert_eq!((view.src, view.dst), (at(3, from), at(99, to)));
        }
    }
}
