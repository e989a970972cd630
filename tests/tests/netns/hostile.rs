//! One container that opens as many flows as it can: others do not notice.
//!
//! It has many ports, and the addresses of its subnet. Afterwards all is as it was.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bridgefwd_tests::for_both;
use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::site::{By, Family, Plan, Site};
use bridgefwd_tests::sockets::{tcp_listen, tcp_pair, udp_ask, udp_bind, uninterrupted};
use bridgefwd_tests::topology::Host;
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::view::{at, fill_checksums};
use bridgefwd_tests::wait::{PATIENCE, poll, until};

use crate::churn::number_or;

for_both!(others_do_not_notice);

/// How many flows it attempts; `BRIDGEFWD_TEST_HOSTILE_FLOWS` says another number: 1000000 is the
/// promise. The kernel's own limit is `net.netfilter.nf_conntrack_max`, of all namespaces together.
const FLOWS: u32 = 150_000;
/// Where they go: nobody reads there, and nobody answers.
const SINKS: std::ops::Range<u16> = 5_000..5_020;

/// Flows of one container, one packet each: its subnet's addresses, every port.
struct Flood {
    injector: Injector,
    frame: Vec<u8>,
    // What is sent there is not answered.
    _sinks: Vec<UdpSocket>,
}

impl Flood {
    fn new(site: &Site, from: &Host) -> Self {
        let b = site.b();
        let router = site.router.bridge("br-a").mac;
        let packet = Packet::udp(from.at(1024), b.at(SINKS.start)).macs(from.mac, router);
        Self {
            injector: Injector::new(&from.ns, "eth0"),
            frame: packet.payload(b"more").build(),
            _sinks: SINKS.map(|port| udp_bind(&b.ns, b.at(port).into())).collect(),
        }
    }

    /// Sends the first packet of the flow of that number.
    fn send(&mut self, number: u32) {
        let packet = &mut self.frame[14..];
        let port = 1024 + (number % 60_000) as u16;
        let address = Ipv4Addr::new(10, 1, 0, 100 + (number / 7 % 100) as u8);
        let sink = SINKS.start + (number / 60_000) as u16 % SINKS.len() as u16;
        packet[12..16].copy_from_slice(&address.octets());
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet[22..24].copy_from_slice(&sink.to_be_bytes());
        fill_checksums(packet);
        self.injector.send(&self.frame);
    }
}

fn others_do_not_notice(by: By) {
    let site = Site::new(by);
    let (hostile, a2, b) = (site.a(), site.a2(), site.b());
    let listener = tcp_listen(&b.ns, b.at(80).into());
    let server = udp_bind(&b.ns, b.at(53).into());
    let (mut near, mut far, _) = tcp_pair(&a2.ns, None, &listener);
    let client = udp_bind(&a2.ns, a2.at(30_000).into());
    let seen = udp_ask(&client, &server, b"before");
    let mut flood = Flood::new(&site, hostile);
    let count = number_or("BRIDGEFWD_TEST_HOSTILE_FLOWS", FLOWS);
    let done = AtomicBool::new(false);
    let mut rounds = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..count).for_each(|number| flood.send(number));
            done.store(true, Ordering::Release);
        });
        // And some rounds after its end, while all of its flows are still there.
        let mut after = 0;
        while after < 20 {
            after += u32::from(done.load(Ordering::Acquire));
            rounds += 1;
            // What there was goes on: each datagram arrives, and each answer.
            assert_eq!(udp_ask(&client, &server, b"still there?"), seen, "{}", site.reasons());
            say(&mut near, &mut far, "still there?");
            say(&mut far, &mut near, "still here");
            // And there is always room for more.
            let new = udp_bind(&a2.ns, SocketAddr::from(a2.at(0)));
            udp_ask(&new, &server, b"and me?");
            let (mut near, mut far, _) = tcp_pair(&a2.ns, None, &listener);
            say(&mut near, &mut far, "and me?");
        }
    });
    println!("{rounds} rounds of the other client beside {count} flows of the hostile one");
    let again = a2.ns.netstat("TcpExt", "TCPSynRetrans");
    assert_eq!(again, 0, "SYNs that had to be sent again; {}", site.reasons());
}

/// Packets that were dropped, by reason.
fn drops(site: &Site) -> Vec<(String, u64)> {
    let stats = site.bridgefwd().expect("bridgefwd forwards").json(&["stats"]);
    let reasons = stats["reasons"].as_object().expect("reasons");
    let drops = reasons.iter().filter(|(_, count)| count["verdict"] == "drop");
    let count = |value: &serde_json::Value| value["packets"].as_u64().expect("a number");
    drops
        .map(|(name, value)| (name.clone(), count(value)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn what_is_too_much_has_a_name_and_is_over_with_its_timer() {
    needs_root!();
    let args = ["--max-flows", "2048", "--timer", "udp_one_way=2"];
    let site = Site::planned(By::Bridgefwd, Plan { args: &args, ..Plan::default() });
    let (hostile, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let mut flood = Flood::new(&site, hostile);
    (0..10_000).for_each(|number| flood.send(number));
    // Frames are dealt with in order, so those that were refused have been counted before this.
    until("what was too much is counted", || !drops(&site).is_empty());
    println!("refused: {:?}", drops(&site));
    // Its own flows are over by their timer, and then it may have others.
    let client = udp_bind(&hostile.ns, hostile.at(30_000).into());
    server.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
    let heard = poll(PATIENCE, || {
        client.send_to(b"and now?", b.at(53)).expect("sent");
        uninterrupted(|| server.recv_from(&mut [0; 64])).ok()
    });
    assert!(heard.is_some(), "{}", site.reasons());
    server.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let live = || {
        let stats = site.bridgefwd().expect("bridgefwd forwards").json(&["stats"]);
        stats["flows"]["live"].as_u64().expect("a number")
    };
    until("its flows are over", || live() < 10);
    // A full table's worth of new ones, and none is refused.
    let refused: u64 = drops(&site).iter().map(|(_, count)| count).sum();
    let fresh = udp_bind(&hostile.ns, Family::V4.at(hostile, 30_001));
    udp_ask(&fresh, &server, b"as before");
    (0..500).for_each(|number| flood.send(number));
    udp_ask(&fresh, &server, b"as before");
    assert_eq!(drops(&site).iter().map(|(_, count)| count).sum::<u64>(), refused);
}

/// One port is free among those below 1024: the client that asks for it last gets it.
#[test]
fn the_last_free_port_is_given() {
    needs_root!();
    let site = Site::new(By::Bridgefwd);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let injector = Injector::new(&a.ns, "eth0");
    let router = site.router.bridge("br-a").mac;
    for port in (1..1024).filter(|port| *port != 777) {
        injector.send(&Packet::udp(a.at(port), at(b.address, 53)).macs(a.mac, router).build());
        // One after the other: the server has no room for all of them at once.
        uninterrupted(|| server.recv_from(&mut [0; 64]))
            .unwrap_or_else(|error| panic!("{port}: {error}"));
    }
    let client = udp_bind(&a2.ns, a2.at(5).into());
    assert_eq!(udp_ask(&client, &server, b"is there room?").port(), 777, "{}", site.reasons());
    // Then there is none, and it is said so.
    let late = udp_bind(&a2.ns, a2.at(6).into());
    late.send_to(b"and for me?", b.at(53)).expect("sent");
    until("it is refused by name", || site.counted("no_port_left") == Some(1));
}

/// Pieces whose others never come fill the room of whoever sends them, and nobody else's.
#[test]
fn pieces_that_stay_alone_are_in_nobodys_way() {
    const PIECES: u16 = 2000;
    needs_root!();
    let site = Site::new(By::Bridgefwd);
    let (hostile, a2, b) = (site.a(), site.a2(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let client = udp_bind(&a2.ns, a2.at(30_000).into());
    let own = udp_bind(&hostile.ns, hostile.at(30_000).into());
    // More than any cable takes at once: it goes in pieces, and so does the answer.
    let large = [7; 4000];
    let seen = udp_ask(&client, &server, &large);
    let injector = Injector::new(&hostile.ns, "eth0");
    let router = site.router.bridge("br-a").mac;
    for id in 1..=PIECES {
        let first = Packet::udp(hostile.at(1024), b.at(53)).macs(hostile.mac, router);
        let first = first.payload(&[1; 1000]).with(|it| (it.id, it.more_fragments) = (id, true));
        injector.send(&first.build());
        if id % 100 == 0 {
            assert_eq!(udp_ask(&client, &server, &large), seen, "{}", site.reasons());
        }
    }
    until("what was too much is counted", || {
        let count = |reason| site.counted(reason).expect("bridgefwd forwards");
        let held_of_others = (u64::from(PIECES) / 100 + 1) * 6;
        let refused = count("fragments_full");
        // All that wait and all that do not are all that there were.
        refused > 0 && refused + count("fragment_held") == u64::from(PIECES) + held_of_others
    });
    // Nor does it keep its own packets that are whole from going on.
    udp_ask(&own, &server, b"whole");
    assert_eq!(udp_ask(&client, &server, &large), seen, "{}", site.reasons());
}
