//! Observations put together: one packet or two, in which order, and whose.

use bridgefwd_common::Reason;
use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder};

use super::super::packet::tests::segment;
use super::super::packet::{ICMP, TCP};
use super::*;

const WEB: [u8; 4] = [172, 18, 0, 2];
const DB: [u8; 4] = [172, 19, 0, 2];
const GATEWAY: [u8; 4] = [172, 19, 0, 1];
// Places of the stations.
const WEB_ETH: usize = 0;
const WEB_PORT: usize = 1;
const FRONT: usize = 2;
const BACK: usize = 3;
const DB_PORT: usize = 4;
const DB_ETH: usize = 5;
/// Inode number of the host's network namespace.
const HOST: u64 = 1;

fn stations() -> Vec<Station> {
    let station = |kind, interface: &str, ifindex, inside: Option<&str>| Station {
        kind,
        interface: interface.into(),
        ifindex,
        inside: inside.map(|name| (format!("/run/netns/{name}").into(), name.to_owned())),
    };
    vec![
        station(Kind::Container, "eth0", 2, Some("web")),
        station(Kind::Port, "veth-web", 12, None),
        station(Kind::Bridge, "front", 10, None),
        station(Kind::Bridge, "back", 11, None),
        station(Kind::Port, "veth-db", 13, None),
        station(Kind::Container, "eth0", 2, Some("db")),
    ]
}

fn follower() -> Follower {
    let wanted = Wanted { from: WEB.into(), to: DB.into(), protocol: None, port: None };
    Follower::new(wanted, stations(), Duration::from_secs(4), (HOST, Vec::new()))
}

fn seen(station: usize, out: bool, time_ns: u64, frame: &[u8]) -> Seen {
    let packet = Packet::of_frame(frame).unwrap();
    Seen { station, out, time_ns, packet, frame: Vec::new() }
}

/// The SYN of a client before and behind the translation.
fn syn() -> [Vec<u8>; 2] {
    [segment(WEB, 4000, DB, 80, 64), segment(GATEWAY, 5000, DB, 80, 63)]
}

fn ping(src: [u8; 4], dst: [u8; 4], id: u16, reply: bool) -> Vec<u8> {
    let header = IcmpEchoHeader { id, seq: 1 };
    let kind = if reply { Icmpv4Type::EchoReply(header) } else { Icmpv4Type::EchoRequest(header) };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(src, dst, 64)
        .icmpv4(kind)
        .write(&mut frame, b"hello")
        .unwrap();
    frame
}

fn places(journey: &Journey) -> Vec<(usize, bool)> {
    journey.seen.iter().map(|seen| (seen.station, seen.out)).collect()
}

#[test]
fn one_packet_whatever_the_order_in_which_stations_are_read() {
    let (now, [before, after]) = (Instant::now(), syn());
    let all = [
        seen(WEB_ETH, true, 100, &before),
        seen(WEB_PORT, false, 105, &before),
        // A bridge that hands a packet up keeps the time of its port: then the station decides.
        seen(FRONT, false, 105, &before),
        seen(BACK, true, 110, &after),
        seen(DB_PORT, true, 111, &after),
        seen(DB_ETH, false, 112, &after),
    ];
    let expected: Vec<_> = all.iter().map(|seen| (seen.station, seen.out)).collect();
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]] {
        let mut follower = follower();
        for index in order {
            follower.seen(all[index].clone(), now);
        }
        assert!(follower.done(now).is_empty(), "something may still be heard of it");
        let done = follower.done(now + SETTLED);
        let [journey] = &done[..] else { panic!("{order:?}: {done:#?}") };
        assert_eq!(places(journey), expected, "{order:?}");
        assert_eq!(journey.way, Way::There);
        assert!(follower.is_idle());
    }
}

#[test]
fn what_is_sent_again_is_another_packet() {
    let (now, [before, _]) = (Instant::now(), syn());
    let mut follower = follower();
    for time in [100, 1_000_000_100] {
        follower.seen(seen(WEB_ETH, true, time, &before), now);
        follower.seen(seen(WEB_PORT, false, time + 5, &before), now);
    }
    assert!(follower.done(now + SETTLED).is_empty(), "neither has an end");
    let done = follower.done(now + Duration::from_secs(4));
    assert_eq!(done.iter().map(places).collect::<Vec<_>>(), [[(0, true), (1, false)]; 2]);
}

#[test]
fn what_the_program_puts_back_is_no_other_packet() {
    let (now, [before, after]) = (Instant::now(), syn());
    let drop = |reason: &str, netns| KernelDrop {
        time_ns: 109,
        reason: reason.into(),
        function: None,
        ifindex: 11,
        netns,
        packet: Packet::of_frame(&before).unwrap(),
    };
    let copied = |dropped: KernelDrop, ended: Option<Reason>| {
        let mut follower = follower();
        let places = [(WEB_ETH, true), (WEB_PORT, false), (WEB_PORT, false), (FRONT, false)];
        for ((station, out), time) in places.into_iter().zip([100, 105, 107, 107]) {
            follower.seen(seen(station, out, time, &before), now);
        }
        let packet = dropped.packet.clone();
        follower.dropped(dropped, now);
        if let Some(reason) = ended {
            follower.ended(Ended { time_ns: 106, reason, ifindex: 12, packet }, now);
        }
        follower.seen(seen(BACK, true, 900_000, &after), now);
        follower.seen(seen(DB_ETH, false, 900_002, &after), now);
        // What was said counts as news of it.
        assert!(follower.done(now + SETTLED).is_empty());
        let done = follower.done(now + 2 * SETTLED);
        let [journey] = &done[..] else { panic!("{done:#?}") };
        assert!(journey.is_copied && journey.refusal().is_none());
        journey.loss(HOST).is_none()
    };
    // Docker's rules drop the copy before it gets as far as egress.
    for reason in ["TC_EGRESS", "NETFILTER_DROP", "IP_RPFILTER"] {
        assert!(copied(drop(reason, HOST), None), "{reason}");
    }
    // The packet itself: in its container, for want of its neighbour, or as the kernel's own.
    assert!(!copied(drop("NETFILTER_DROP", HOST + 1), None));
    assert!(!copied(drop("NEIGH_FAILED", HOST), None));
    assert!(!copied(drop("NETFILTER_DROP", HOST), Some(Reason::NotListed)));
}

#[test]
fn answers_are_known_by_what_the_packet_became() {
    let now = Instant::now();
    let mut follower = follower();
    follower.seen(seen(WEB_PORT, false, 100, &ping(WEB, DB, 7, false)), now);
    follower.seen(seen(DB_ETH, false, 110, &ping(GATEWAY, DB, 9, false)), now);
    follower.seen(seen(DB_ETH, true, 120, &ping(DB, GATEWAY, 9, true)), now);
    // Somebody else's.
    follower.seen(seen(DB_ETH, true, 130, &ping(DB, GATEWAY, 8, true)), now);
    let mut done = follower.done(now + SETTLED);
    done.extend(follower.done(now + Duration::from_secs(4)));
    assert_eq!(done.iter().map(|it| it.way).collect::<Vec<_>>(), [Way::There, Way::Back]);
    assert!(follower.is_idle());
}

#[test]
fn flows_that_were_there_before_are_known() {
    let now = Instant::now();
    let mut follower = follower();
    let tuple = |frame: &[u8]| Packet::of_frame(frame).unwrap().tuple;
    let [before, after] = syn();
    follower.alias(TCP, tuple(&before), tuple(&after));
    follower.alias(ICMP, tuple(&ping([9; 4], DB, 1, false)), tuple(&ping([8; 4], DB, 1, false)));
    follower.seen(seen(DB_ETH, true, 100, &segment(DB, 80, GATEWAY, 5000, 64)), now);
    follower.seen(seen(DB_ETH, true, 100, &ping(DB, [8; 4], 1, true)), now);
    let done = follower.done(now + Duration::from_secs(4));
    let [journey] = &done[..] else { panic!("{done:#?}") };
    assert_eq!(journey.way, Way::Back);
}

#[test]
fn only_what_is_asked_for() {
    let (now, [before, _]) = (Instant::now(), syn());
    let packets = |protocol, port| {
        let wanted = Wanted { from: WEB.into(), to: DB.into(), protocol, port };
        let patience = Duration::from_secs(4);
        let mut follower = Follower::new(wanted, stations(), patience, (HOST, Vec::new()));
        follower.seen(seen(WEB_PORT, false, 100, &before), now);
        follower.rest().len()
    };
    assert_eq!(
        [packets(None, None), packets(Some(TCP), Some(80)), packets(None, Some(4000))],
        [1; 3]
    );
    assert_eq!([packets(Some(ICMP), None), packets(None, Some(443))], [0; 2]);
}

#[test]
fn a_packet_of_which_the_kernel_alone_knows_is_one_too() {
    let (now, [before, _]) = (Instant::now(), syn());
    let mut follower = follower();
    let packet = Packet::of_frame(&before).unwrap();
    let drop = KernelDrop {
        time_ns: 100,
        reason: "NETFILTER_DROP".into(),
        function: None,
        ifindex: 2,
        netns: 4,
        packet,
    };
    follower.dropped(drop, now);
    assert!(follower.done(now + SETTLED).is_empty());
    let later = now + ORPHANED + SETTLED;
    let mut done = follower.done(later);
    done.extend(follower.done(later + SETTLED));
    let [journey] = &done[..] else { panic!("{done:#?}") };
    assert!(journey.seen.is_empty() && journey.loss(HOST).is_some());
}

#[test]
fn what_is_under_way_at_the_end_is_told_as_such() {
    let (now, [before, _]) = (Instant::now(), syn());
    let mut follower = follower();
    follower.seen(seen(WEB_ETH, true, 100, &before), now);
    let cut = follower.rest();
    assert!(cut[0].is_cut);
    follower.seen(seen(WEB_ETH, true, 100, &before), now);
    let lost = follower.done(now + Duration::from_secs(4));
    assert!(!lost[0].is_cut);
    assert!(follower.is_idle());
}
