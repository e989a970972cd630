//! Tests of [`super`], on messages as the library writes them.

use netlink_packet_core::NetlinkHeader;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMetric, RouteNextHop};

use super::*;

fn message(family: AddressFamily, flags: u16, attributes: &[RouteAttribute]) -> Vec<u8> {
    let mut route = RouteMessage::default();
    route.header.address_family = family;
    route.attributes = attributes.to_vec();
    bytes(RouteNetlinkMessage::NewRoute(route), flags)
}

fn bytes(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn metrics(mtu: u32) -> RouteAttribute {
    RouteAttribute::Metrics(vec![RouteMetric::Hoplimit(9), RouteMetric::Mtu(mtu)])
}

fn hop(ifindex: u32) -> RouteNextHop {
    let mut hop = RouteNextHop::default();
    hop.interface_index = ifindex;
    hop
}

#[test]
fn the_smallest_of_each_interface_and_family() {
    let mut mtus = RouteMtus::default();
    let v4 = AddressFamily::Inet;
    mtus.add(&message(v4, 0, &[RouteAttribute::Oif(7), RouteAttribute::Priority(1)]));
    mtus.add(&message(v4, 0, &[RouteAttribute::Metrics(vec![RouteMetric::Hoplimit(9)])]));
    assert!(mtus.is_empty());
    for mtu in [1_400, 1_300, 1_350] {
        mtus.add(&message(v4, 0, &[RouteAttribute::Oif(7), metrics(mtu)]));
    }
    let several = RouteAttribute::MultiPath(vec![hop(8), hop(9)]);
    mtus.add(&message(AddressFamily::Inet6, 0, &[metrics(1_280), several]));
    assert_eq!(mtus.smallest(Family::V4, 7), Some(1_300));
    assert_eq!(mtus.smallest(Family::V6, 7), None);
    assert_eq!((mtus.smallest(Family::V4, 8), mtus.smallest(Family::V6, 8)), (None, Some(1_280)));
    assert_eq!(mtus.smallest(Family::V6, 9), Some(1_280));
}

#[test]
fn merged_the_smaller_one_stays() {
    let of = |mtus: &[(u32, u32)]| RouteMtus {
        v4: mtus.iter().copied().collect(),
        v6: mtus.iter().copied().collect(),
    };
    let mut mtus = of(&[(7, 1_400), (8, 1_300)]);
    mtus.merge(&of(&[(7, 1_350), (8, 1_350), (9, 1_200)]));
    assert_eq!(mtus, of(&[(7, 1_350), (8, 1_300), (9, 1_200)]));
}

#[test]
fn a_way_that_is_not_shown_may_be_any() {
    let mut mtus = RouteMtus::default();
    mtus.add(&message(AddressFamily::Inet, 0, &[RouteAttribute::NhId(5), metrics(1_400)]));
    mtus.add(&message(AddressFamily::Inet, 0, &[RouteAttribute::Oif(7), metrics(1_450)]));
    assert_eq!(mtus.smallest(Family::V4, 7), Some(1_400));
    assert_eq!(mtus.smallest(Family::V4, 8), Some(1_400));
}

#[test]
fn what_was_found_out_on_a_route_is_none() {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.flags = RouteFlags::Cloned;
    route.attributes = vec![RouteAttribute::Oif(7), metrics(600)];
    let mut mtus = RouteMtus::default();
    mtus.add(&bytes(RouteNetlinkMessage::NewRoute(route), 0));
    assert!(mtus.is_empty());
}

#[test]
fn only_news_of_an_mtu_matter() {
    let v4 = AddressFamily::Inet;
    let plain = [RouteAttribute::Oif(7)];
    let with = [RouteAttribute::Oif(7), metrics(1_400)];
    for any in [false, true] {
        assert!(!matters(&message(v4, 0, &plain), any));
        assert!(matters(&message(v4, 0, &with), any));
        assert_eq!(matters(&message(v4, NLM_F_REPLACE, &plain), any), any);
    }
    let mut gone = RouteMessage::default();
    gone.attributes = with.to_vec();
    assert!(matters(&bytes(RouteNetlinkMessage::DelRoute(gone), 0), false));
}

#[test]
fn what_is_cut_off_says_nothing() {
    let whole = message(AddressFamily::Inet, 0, &[RouteAttribute::Oif(7), metrics(1_400)]);
    for length in 0..whole.len() {
        let mut mtus = RouteMtus::default();
        mtus.add(&whole[..length]);
        assert!(mtus.is_empty(), "{length} bytes");
    }
    assert_eq!(attributes(&[0; 8]).count(), 0);
    assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
}

#[test]
fn the_kernel_can_be_asked() {
    RouteMtus::read().unwrap();
}
