//! Where the two routers may differ, and why; and where they still do.

/// What is left out of every comparison.
pub const ALLOWED: &[(&str, &str)] = &[
    (
        "chosen_ports",
        "a port or ICMP identifier that is not the client's own is the router's free choice: it is \
         named by first appearance",
    ),
    ("padding", "bytes after the IPv4 packet carry nothing; the kernel trims them, Ethernet adds them"),
    (
        "fragment_boundaries",
        "the kernel reassembles and cuts anew; the host puts the same datagram together from either",
    ),
    ("router_ip_id", "the identification of the router's own ICMP errors is the router's to choose"),
    (
        "checksums",
        "transport checksums are verified instead of compared: they follow from the rest, and a \
         wrong one shows as BAD",
    ),
];

/// What bridgefwd does not do yet, or does better: the name of a case, in which `*` stands for
/// anything, and the reason.
pub const NOT_YET: &[(&str, &str)] = &[];

/// The reason for which a case may differ.
#[must_use]
pub fn mark(name: &str) -> Option<&'static str> {
    NOT_YET.iter().find(|(pattern, _)| matches(pattern, name)).map(|(_, reason)| *reason)
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
    let cases = crate::cases::all();
    for (pattern, _) in NOT_YET {
        assert!(cases.iter().any(|case| matches(pattern, &case.name)), "no case: {pattern}");
    }
}
