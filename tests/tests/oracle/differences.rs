//! Where the two routers may differ, and why; and where they still do.

use crate::modes::Mode;

/// What is left out of every comparison.
pub const ALLOWED: &[(&str, &str)] = &[
    (
        "chosen_ports",
        "a port or ICMP identifier that is not the client's own is the router's free choice: it is \
         named by first appearance",
    ),
    (
        "range_ports",
        "bridgefwd takes no port of the range that the host takes its own from; whether such a port \
         of a client is kept is not compared",
    ),
    (
        "padding",
        "bytes after the IPv4 packet carry nothing; the kernel trims them, Ethernet adds them",
    ),
    (
        "fragment_boundaries",
        "the kernel reassembles and cuts anew; the host puts the same datagram together from either",
    ),
    ("router_ip_id", "the identification of the router's own ICMP is the router's to choose"),
    ("router_flow_label", "the flow label of the router's own ICMPv6 is the router's to choose"),
    (
        "fragment_ids6",
        "the identification of pieces: the kernel reassembles and cuts anew, under one of its own",
    ),
    (
        "neighbour_discovery",
        "what the router says of itself as a neighbour, and its reports, come when they come",
    ),
    ("igmp", "the router's own multicast reports come when they come"),
    ("times", "what the router writes into a timestamp, option or answer, is the time"),
    (
        "checksums",
        "transport checksums are verified instead of compared: they follow from the rest, and a \
         wrong one shows as BAD",
    ),
];

/// What bridgefwd does not do yet: the name of a case, in which `*` stands for anything, and the
/// reason.
pub const NOT_YET: &[(&str, &str)] = &[
    ("*/option no-operation", OPTIONS),
    ("*/option router alert", OPTIONS),
    ("*/option record route*", OPTIONS),
    ("*/option timestamp", OPTIONS),
    ("*/option that is unknown", OPTIONS),
    ("uplink/site/* too big by *", TOO_BIG_BACK),
    ("tags/priority*", TAGS),
    ("tags/drop eligible*", TAGS),
    ("uplink/tags/priority*", TAGS),
    ("uplink/tags/drop eligible*", TAGS),
    ("*/first/too big without df", NO_FRAGMENTING),
    ("*/long there/too big without df", NO_FRAGMENTING),
    ("*/long back/ttl 0", LAST_HOP_BACK),
    ("*/long back/ttl 1", LAST_HOP_BACK),
    ("*/bad transport checksum", "the kernel verifies transport checksums; the host will do it"),
    ("*tcp/a reset outside the window*", NO_WINDOW),
    ("*tcp/a reset of the client outside the window", NO_WINDOW),
    ("*tcp/a reset that acknowledges nothing sent", NO_WINDOW),
    ("*tcp/data outside the window", NO_WINDOW),
    ("*tcp/an ACK of what was not sent", NO_WINDOW),
    ("*tcp/the SYN again with another number", NO_WINDOW),
    ("*tcp/a SYN of the server inside", NO_WINDOW),
    ("*tcp/a SYN-ACK of the client inside", NO_WINDOW),
    ("*tcp/data before the handshake is done", NO_WINDOW),
    ("*tcp/inside with no flag", ODD_FLAGS),
    ("*tcp/inside with SYN and FIN", ODD_FLAGS),
    ("*tcp/inside with SYN and RST", ODD_FLAGS),
    ("*tcp/inside with all flags", ODD_FLAGS),
    ("*protocols/SCTP of another tag", NO_SCTP),
    ("*protocols/SCTP, data for nothing", NO_SCTP),
    ("*protocols/SCTP with a bad sum", NO_SCTP),
    ("icmp/timestamp request", QUERIES),
    ("icmp/address mask request", QUERIES),
    ("query/*, asked and answered", QUERIES),
    ("query/*, again and again", QUERIES),
    ("query/*, an echo reply to it", QUERIES),
    ("query/*, with TTL 1", QUERIES),
    ("query/*, of the other client, too", QUERIES),
    ("uplink/query/*, asked and answered", QUERIES),
    ("uplink/query/*, again and again", QUERIES),
    ("uplink/query/*, an echo reply to it", QUERIES),
    ("uplink/query/*, with TTL 1", QUERIES),
    ("uplink/query/*, of the other client, too", QUERIES),
    ("icmp/an echo with a code", "an echo has code 0; the kernel forwards any"),
    ("fragments/* last first", OUT_OF_ORDER),
    ("uplink/fragments/* last first", OUT_OF_ORDER),
    ("fragments/of two clients with one identification", MIXED),
    ("uplink/fragments/of two clients with one identification", MIXED),
    ("fragments/* overlapping", NO_REASSEMBLY),
    ("uplink/fragments/* overlapping", NO_REASSEMBLY),
    ("fragments/* with a hole", NO_REASSEMBLY),
    ("uplink/fragments/* with a hole", NO_REASSEMBLY),
];

/// What bridgefwd means to do otherwise than the kernel, because it is better: as above.
pub const BETTER: &[(&str, &str)] = &[
    (
        "*icmp error/by the wrong bridge",
        "an error about a flow is believed only by the end that its packets go to; the kernel takes \
         it from any bridge",
    ),
    ("*protocols/UDP-Lite*", "the kernel takes right checksums of UDP-Lite for wrong ones"),
    ("protocols/DCCP", DCCP),
    ("uplink/protocols/DCCP", DCCP),
    ("nat66/protocols/DCCP", DCCP),
    ("nat66/uplink/protocols/DCCP", DCCP),
];

const OPTIONS: &str = "packets with IPv4 options are left to the kernel, which does not translate";
const NO_FRAGMENTING: &str =
    "what would have to be fragmented and translated is dropped as too_big_translated";
const LAST_HOP_BACK: &str = "a reply with its TTL used up is dropped without time exceeded";
const TOO_BIG_BACK: &str =
    "a reply that is too big for the client's bridge is dropped without fragmentation needed";
const TAGS: &str = "frames with a tag are left to the kernel, which does not translate";
const NO_SCTP: &str = "SCTP is forwarded by address alone: its state is not followed";
const MIXED: &str = "both leave with the same source address and identification; the kernel \
    reassembles before it translates, so its pieces never mix";
const NO_WINDOW: &str = "sequence numbers are not tracked: the receiver judges them";
const ODD_FLAGS: &str = "impossible flags inside a connection are left to the receiver";
const QUERIES: &str = "of the ICMP queries only echo is translated";
const OUT_OF_ORDER: &str = "fragments before the first one of their datagram are dropped";
const NO_REASSEMBLY: &str = "fragments are translated one by one: what does not fit together is the \
    receiver's to throw away";

const DCCP: &str = "the kernel translates the address and leaves the checksum as it was";

/// The same, where bridges call netfilter.
pub const BETTER_BRIDGED: &[(&str, &str)] = &[
    ("hostile/in a flow for the MAC of everybody", BRIDGED_NAT),
    ("hostile/a reply for the MAC of everybody", BRIDGED_NAT),
    ("hostile/a reply for the MAC of nobody", BRIDGED_NAT),
    ("nat66/hostile/in a flow for the MAC of everybody", BRIDGED_NAT),
    ("nat66/hostile/a reply for the MAC of nobody", BRIDGED_NAT),
];

const BRIDGED_NAT: &str = "a frame between two ports of a bridge is no business of a router; the \
    kernel's bridge netfilter translates it where it looks like one of a flow";

/// The reason for which a case may differ.
#[must_use]
pub fn mark(name: &str, mode: Mode) -> Option<&'static str> {
    let bridged = if mode.bridge_nf { BETTER_BRIDGED } else { &[] };
    let mut marks = NOT_YET.iter().chain(BETTER).chain(bridged);
    marks.find(|(pattern, _)| matches(pattern, name)).map(|(_, reason)| *reason)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            after.is_empty()
                || (0..=rest.len())
                    .any(|place| rest.is_char_boundary(place) && matches(after, &rest[place..]))
        }),
    }
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("udp/*/ttl 1", "udp/long there/ttl 1"));
    assert!(matches("icmp error/*", "icmp error/x"));
    assert!(!matches("udp/*/ttl 1", "udp/first/ttl 12"));
    assert!(!matches("udp", "udp/first"));
}

#[test]
fn every_mark_is_of_a_case() {
    let cases: Vec<_> = [false, true].into_iter().flat_map(crate::cases::all).collect();
    for (pattern, _) in NOT_YET.iter().chain(BETTER).chain(BETTER_BRIDGED) {
        assert!(cases.iter().any(|case| matches(pattern, &case.name)), "no case: {pattern}");
    }
}
