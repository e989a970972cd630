//! Good IPv4 headers are read, bad ones named.

use super::*;

fn header(edit: impl FnOnce(&mut Ipv4Hdr)) -> Ipv4Hdr {
    let mut header = Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: 40_u16.to_be_bytes(),
        id: [0; 2],
        frags: [0x40, 0],
        ttl: 64,
        proto: 6,
        check: [0; 2],
        src_addr: [172, 18, 0, 2],
        dst_addr: [172, 19, 0, 2],
    };
    edit(&mut header);
    header
}

#[track_caller]
fn check(edit: impl FnOnce(&mut Ipv4Hdr), available: u32, want: Result<u32, Reason>) {
    assert_eq!(read(&header(edit), available, false).map(|ip| ip.payload_len), want);
}

#[test]
fn lengths_must_fit() {
    check(|_| (), 40, Ok(20));
    check(|_| (), 46, Ok(20)); // Ethernet padding
    check(|_| (), 39, Err(Reason::MalformedIp));
    check(|h| h.tot_len = [0, 19], 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x44, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x65, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x4f, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x4a, 40, Ok(0));
    check(|h| h.tot_len = [0, 0], 40, Err(Reason::MalformedIp));
    let big = read(&header(|h| h.tot_len = [0, 0]), 100_000, true);
    assert_eq!(big.map(|ip| ip.payload_len), Ok(99_980));
}

#[test]
fn pieces_are_told_apart() {
    let piece = |frags| read(&header(|h| h.frags = frags), 1500, false).unwrap().fragment;
    assert_eq!(piece([0x40, 0]), Fragment::None);
    assert_eq!(piece([0x80, 0]), Fragment::None); // the reserved bit is no flag
    assert_eq!(piece([0x20, 0]), Fragment::First);
    for later in [[0, 1], [0x20, 1], [0x1f, 0xff]] {
        assert_eq!(piece(later), Fragment::Later);
    }
}
