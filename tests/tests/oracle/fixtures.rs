//! That frames to order are what they say: what the cases are made of.

use bridgefwd_tests::packets6::{Extension, HEADER, Packet6};
use bridgefwd_tests::view::ETHERNET;
use bridgefwd_tests::view6::{View6, assert_checksums6, at6, translated6};

#[test]
fn ipv6_frames_are_read_back_as_built() {
    let (a, b) = (at6("fd00:1::2".parse().unwrap(), 9), at6("fd00:2::2".parse().unwrap(), 53));
    let plain = Packet6::udp(a, b);
    let options = Extension::destination(&[0x1e, 2, 7, 7]);
    let packet = plain.clone().extension(Extension::hop_by_hop(&[5, 2, 0, 0])).extension(options);
    let packet = packet.extension(Extension::authentication(1, 2));
    let frame = packet.build();
    let view = View6::of(&frame).unwrap();
    assert_eq!((view.src, view.dst, view.protocol), (a, b, 17));
    assert_eq!((view.hop_limit, view.traffic_class, view.flow_label), (64, 0x28, 0x5_1234));
    assert_eq!((view.extensions, &view.payload[..]), (vec![0, 60, 51], &b"datagram"[..]));
    assert_checksums6(&frame);
    assert_checksums6(&translated6(&frame, b, a));
    // The pieces together are the whole.
    let large = plain.payload(&[9; 100]);
    let pieces = large.pieces(7, &[(0, 64), (64, 900)]);
    let bodies = pieces.iter().flat_map(|piece| piece[ETHERNET + HEADER + 8..].to_vec());
    assert_eq!(bodies.collect::<Vec<u8>>(), large.build()[ETHERNET + HEADER..]);
    assert_eq!(View6::of(&pieces[0]).unwrap().extensions, [44]);
    assert_eq!(View6::of(&pieces[1]).unwrap().protocol, 17);
}
