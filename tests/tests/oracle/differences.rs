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
    ("*/long there/bad transport checksum", SUMS),
    ("*/long back/bad transport checksum", SUMS),
    ("*/tcp/long there/shorter than the frame", SUMS),
    ("*/tcp/long back/shorter than the frame", SUMS),
    ("*/echo/long there/shorter than the frame", SUMS),
    ("*/echo/long back/shorter than the frame", SUMS),
    (
        "*tcp/a SYN-ACK of the client inside",
        "it changes nothing, and goes on: the server answers a SYN as it should",
    ),
    ("*protocols/SCTP of another tag", NO_SCTP),
    ("*protocols/SCTP, data for nothing", NO_SCTP),
    ("*protocols/SCTP with a bad sum", NO_SCTP),
    ("tags/priority within priority*", TWO_TAGS),
    ("uplink/tags/priority within priority*", TWO_TAGS),
    ("nat66/*tags/priority within priority*", TWO_TAGS),
    ("v6/*icmp error/with 7 bytes of the quoted transport", SHORT_QUOTE),
    ("v6/*icmp error/with 4 bytes of the quoted transport", SHORT_QUOTE),
    (
        "*/pieces/another hop limit in the second",
        "each piece has its own hop limit; the kernel gives all of them that of the first",
    ),
    (
        "*/pieces/larger than the way out",
        "packet too big quotes the piece that was too big; the kernel's the whole datagram",
    ),
];

/// What bridgefwd means to do otherwise than the kernel, because it is better: as above.
pub const BETTER: &[(&str, &str)] = &[
    (
        "*icmp error/by the wrong bridge",
        "an error about a flow is believed only by the end that its packets go to; the kernel takes \
         it from any bridge",
    ),
    ("tcp/data outside the window", ANSWERS),
    ("uplink/tcp/data outside the window", ANSWERS),
    ("nat66/*tcp/data outside the window", ANSWERS),
    ("tcp/a SYN of the server inside", ANSWERS),
    ("uplink/tcp/a SYN of the server inside", ANSWERS),
    ("nat66/*tcp/a SYN of the server inside", ANSWERS),
    ("tcp/data before the handshake is done", ANSWERS),
    ("uplink/tcp/data before the handshake is done", ANSWERS),
    ("nat66/*tcp/data before the handshake is done", ANSWERS),
    ("*protocols/UDP-Lite*", "the kernel takes right checksums of UDP-Lite for wrong ones"),
    ("protocols/DCCP", DCCP),
    ("uplink/protocols/DCCP", DCCP),
    ("nat66/protocols/DCCP", DCCP),
    ("nat66/uplink/protocols/DCCP", DCCP),
];

const SUMS: &str =
    "within a flow transport checksums are kept, right or wrong: the receiver verifies";
const TWO_TAGS: &str = "of two tags one within the other the inner one hides the packet";
const NO_SCTP: &str = "SCTP is forwarded by address alone: its state is not followed";
const SHORT_QUOTE: &str = "a quote must have eight bytes of the transport header (RFC 792)";
const ANSWERS: &str = "the kernel's own stack gets a reply that its tracking refuses, and answers it \
    with a reset that nobody asked for";

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
