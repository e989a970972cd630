//! Every decision, on any flow, rule and packet: what a plan may say, and what a refusal means.

use bridgefwd_common::contract::{
    Address, Direction, Family, Flow, FlowState, Interface, InterfaceAddress, MAX_ADDRESSES,
    MAX_POOL, NatMode, PairPolicy, PairRule, PairState, Pool, Settings, TIMEOUTS, Tuple, Unlisted,
};
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::decide::nat::{self, PortChoice};
use bridgefwd_common::decide::{Route, policy, tcp};
use bridgefwd_common::packet::ip::{Fragment, Ip};
use bridgefwd_common::packet::transport::{Segment, TcpFlags, Transport};
use bridgefwd_common::{Reason, Verdict};
use bytemuck::Zeroable as _;

use crate::bytes::Bytes;

/// Takes bytes of choices: a packet, a flow that it may belong to, a pair and a route.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let family = bytes.pick([Family::V4, Family::V6]);
    let settings = settings(&mut bytes);
    let (ip, segment) = packet(&mut bytes, family);
    let rule = rule(&mut bytes);
    known(&mut bytes, &settings, &ip, &segment, &rule);
    opening(&mut bytes, &settings, &ip, &segment, &rule);
}

/// One of a few addresses, so that some are the same.
fn address(bytes: &mut Bytes<'_>, family: Family) -> Address {
    let last = bytes.byte();
    match (family, last & 0xf0) {
        (Family::V4, 0xf0) => Address::v4(bytes.array()),
        (Family::V4, _) => Address::v4([10, 0, last >> 4, last & 15]),
        (Family::V6, _) => {
            let mut octets = [0; 16];
            (octets[0], octets[7], octets[15]) = (0xfd, last >> 4, last & 15);
            if last & 0xf0 == 0xf0 {
                octets = bytes.array();
                // No address of an IPv6 packet stands for one of IPv4: see `ipv6::read`.
                octets[10] &= 0x7f;
            }
            Address::v6(octets)
        }
    }
}

fn tuple(bytes: &mut Bytes<'_>, family: Family, protocol: u8) -> Tuple {
    Tuple {
        src: address(bytes, family),
        dst: address(bytes, family),
        src_port: bytes.array(),
        dst_port: bytes.array(),
        protocol,
        ..Tuple::default()
    }
}

fn packet(bytes: &mut Bytes<'_>, family: Family) -> (Ip, Segment) {
    let (transport, protocol) = bytes.pick([
        (Transport::Tcp, 6),
        (Transport::Udp, 17),
        (Transport::UdpLike, 136),
        (Transport::Query, 1),
        (Transport::QueryV6, 58),
        (Transport::Sctp, 132),
        (Transport::Other, 47),
        (Transport::Fragment, 17),
    ]);
    let tuple = tuple(bytes, family, protocol);
    let ip = Ip {
        src: tuple.src,
        dst: tuple.dst,
        family,
        ttl: bytes.byte(),
        tos: 0,
        protocol,
        dont_fragment: bytes.flag(),
        fragment: Fragment::None,
        fragment_offset: 0,
        more_fragments: false,
        header_len: 20,
        id: [0; 4],
        payload_len: 100,
        flow_info: 0,
    };
    let tcp_flags = TcpFlags(if transport == Transport::Tcp { bytes.byte() } else { 0 });
    let is_query_reply = matches!(transport, Transport::Query | Transport::QueryV6) && bytes.flag();
    let segment = Segment {
        tuple,
        transport,
        tcp_flags,
        header_len: 8,
        is_query_reply,
        ..Segment::default()
    };
    (ip, segment)
}

fn settings(bytes: &mut Bytes<'_>) -> Settings {
    let mut timeouts_s = [0; TIMEOUTS];
    timeouts_s.iter_mut().for_each(|timeout| *timeout = u32::from(bytes.byte()));
    Settings {
        abi: 0,
        unlisted: bytes.u32() % 3,
        timeouts_s,
        max_flows: 16,
        local_port_first: bytes.u16(),
        local_port_last: bytes.u16(),
        pair_generation: 0,
        last_pool: 0,
        max_flows_per_source: 4,
        smallest_route_mtu: 0,
    }
}

fn rule(bytes: &mut Bytes<'_>) -> PairRule {
    let policy = PairPolicy {
        state: bytes.byte() % 4,
        nat: bytes.byte() % 4,
        nat_v6: bytes.byte() % 4,
        flags: bytes.byte(),
        pool: 1,
    };
    PairRule { policy, generation: 1 + u32::from(bytes.byte() % 3), ..PairRule::default() }
}

fn route(bytes: &mut Bytes<'_>, family: Family) -> Route {
    match bytes.byte() % 4 {
        0 => Route::TooBig,
        1 => Route::No(bytes.pick([
            Reason::NotForwarded,
            Reason::Unreachable,
            Reason::ForwardingDisabled,
        ])),
        _ => Route::Via {
            ifindex: u32::from(bytes.byte() % 4),
            next_hop: address(bytes, family),
            neighbour: bytes.flag().then_some([2, 0, 0, 0, 0, 9]),
        },
    }
}

fn known(bytes: &mut Bytes<'_>, settings: &Settings, ip: &Ip, segment: &Segment, rule: &PairRule) {
    let direction = bytes.pick([Direction::Original, Direction::Reply]);
    let arriving = segment.tuple;
    // The packet has found the flow, so it arrives as the flow says; the rest is anything.
    let other = tuple(bytes, ip.family, ip.protocol);
    let (original, translated) = match direction {
        Direction::Original => {
            (arriving, Tuple { src: other.src, src_port: other.src_port, ..arriving })
        }
        Direction::Reply => {
            let translated = arriving.reversed();
            (Tuple { src: other.src, src_port: other.src_port, ..translated }, translated)
        }
    };
    let flow = Flow {
        generation: 1,
        pair_generation: 1 + u32::from(bytes.byte() % 3),
        state: bytes.byte() % 12,
        from: u32::from(bytes.byte() % 4),
        to: u32::from(bytes.byte() % 4),
        last_seen: bytes.u64() as u32 >> 8,
        ..Flow::default()
    }
    .between(&original, &translated);
    let end = u32::from(bytes.byte() % 4);
    let now = bytes.u64() as u32 >> 8;
    let state = FlowState::from_byte(flow.state);
    let arrives_by = if direction == Direction::Original { flow.from } else { flow.to };
    match established::recognise(segment, &flow, direction, rule, end, now, settings) {
        Ok(Known::Continues(next) | Known::Segment(next)) => {
            assert_eq!(arrives_by, end);
            // A conversation of the host's own is of no pair.
            if flow.from != Flow::FROM_HOST {
                assert_eq!(rule.generation, flow.pair_generation);
                assert!(rule.policy.forwards_existing());
            }
            assert!(!established::is_over(flow.state, flow.last_seen, now, settings));
            assert!(state == FlowState::Free || next != FlowState::Free);
        }
        Ok(Known::Passes) => panic!("only a judged segment passes"),
        Ok(Known::Over) => {
            let ended = established::is_over(flow.state, flow.last_seen, now, settings);
            let anew = direction == Direction::Original
                && rule.generation != flow.pair_generation
                && (segment.transport != Transport::Tcp || segment.tcp_flags.opens());
            assert!(ended || anew, "{segment:?} ended {flow:?}");
            assert!(ended || segment.transport != Transport::Fragment);
        }
        // Never left to the kernel, which would send it on untranslated.
        Err(reason) => assert_eq!(reason.verdict(), Verdict::Drop, "{reason:?}"),
    }
    let route = route(bytes, ip.family);
    match established::plan(ip, &flow, direction, route) {
        Ok(plan) => {
            assert!(plan.ttl >= 1 && plan.ttl == ip.ttl - 1);
            assert_eq!(plan.reason.verdict(), Verdict::Redirect);
            assert_eq!(plan.leaving, flow.leaving(direction));
            let out_end = if direction == Direction::Original { flow.to } else { flow.from };
            assert_eq!(plan.out_end, out_end);
            assert!(matches!(route, Route::Via { ifindex, .. } if ifindex == out_end));
            if direction == Direction::Original && original.src != translated.src {
                assert_ne!(plan.leaving.src, original.src, "an inner address leaks");
            }
            if direction == Direction::Reply {
                assert_eq!(plan.leaving.src, arriving.src, "an answer comes from whom was asked");
            }
        }
        Err(reason) => {
            let turned_back = matches!(reason, Reason::TtlExpiredReply | Reason::TooBigTranslated);
            let allowed = matches!(reason, Reason::ThroughKernel | Reason::RouteChanged)
                || turned_back && flow.turns_back();
            assert!(allowed, "{reason:?}");
        }
    }
}

fn opening(
    bytes: &mut Bytes<'_>,
    settings: &Settings,
    ip: &Ip,
    segment: &Segment,
    rule: &PairRule,
) {
    let unlisted = Unlisted::from_word(settings.unlisted);
    let permitted = policy::permit(rule.policy, unlisted);
    let allowed = PairState::from_byte(rule.policy.state) == PairState::Allowed;
    assert_eq!(permitted.is_ok(), allowed);
    if unlisted == Unlisted::Deny {
        assert!(permitted.err().is_none_or(|reason| reason.verdict() == Verdict::Drop));
    }
    if let Ok(state) = policy::opening_state(segment, unlisted) {
        assert_ne!(state, FlowState::Free);
        assert!(!segment.is_query_reply && segment.transport != Transport::Fragment);
        assert!(!tcp::is_recyclable(state));
    }
    match policy::next_ttl(ip.ttl) {
        Ok(ttl) => assert!(ttl >= 1 && ttl == ip.ttl - 1),
        Err(reason) => assert!(ip.ttl <= 1 && reason == Reason::TtlExpired),
    }
    source(bytes, ip, rule);
    ports(bytes, settings, segment);
}

fn source(bytes: &mut Bytes<'_>, ip: &Ip, rule: &PairRule) {
    let mut target = Interface::zeroed();
    target.address_count = u32::from(bytes.byte()) % (MAX_ADDRESSES as u32 + 1);
    target.address_count_v6 = u32::from(bytes.byte()) % (MAX_ADDRESSES as u32 + 1);
    let own = |bytes: &mut Bytes<'_>, family| InterfaceAddress {
        address: address(bytes, family),
        prefix_len: bytes.byte() % 33,
        flags: bytes.byte() & InterfaceAddress::DEPRECATED,
        _zero: [0; 2],
    };
    target.addresses = std::array::from_fn(|_| own(bytes, Family::V4));
    target.addresses_v6 = std::array::from_fn(|_| own(bytes, Family::V6));
    let mut pool = Pool {
        count: u32::from(bytes.byte()) % (MAX_POOL as u32 + 1),
        count_v6: u32::from(bytes.byte()) % (MAX_POOL as u32 + 1),
        ..Pool::default()
    };
    pool.addresses = std::array::from_fn(|_| address(bytes, Family::V4));
    pool.addresses_v6 = std::array::from_fn(|_| address(bytes, Family::V6));
    let pool = bytes.flag().then_some(&pool);
    let mode = rule.policy.nat_of(ip.family);
    let next_hop = address(bytes, ip.family);
    let chosen = nat::source_address(mode, pool, &ip.src, &target, &next_hop, &ip.dst);
    let is_v4 = ip.family == Family::V4;
    match (mode, chosen) {
        (NatMode::None, chosen) => assert_eq!(chosen, Ok(ip.src)),
        (_, Err(reason)) => {
            assert_eq!(reason, Reason::NoNatAddress);
            let count = match (mode, pool) {
                (NatMode::Masquerade, _) if is_v4 => target.address_count,
                (NatMode::Masquerade, _) => target.address_count_v6,
                (_, Some(pool)) if is_v4 => pool.count,
                (_, Some(pool)) => pool.count_v6,
                (_, None) => 0,
            };
            assert_eq!(count, 0, "there was an address");
        }
        (NatMode::Masquerade, Ok(source)) => {
            let (all, count) = match is_v4 {
                true => (&target.addresses, target.address_count),
                false => (&target.addresses_v6, target.address_count_v6),
            };
            let own = &all[..count as usize];
            assert!(own.iter().any(|entry| entry.address == source), "{source:?}");
        }
        (NatMode::Address, Ok(source)) => {
            let pool = pool.expect("an address of no pool");
            let (all, count) = match is_v4 {
                true => (&pool.addresses, pool.count),
                false => (&pool.addresses_v6, pool.count_v6),
            };
            assert!(all[..count as usize].contains(&source), "{source:?}");
        }
    }
}

fn ports(bytes: &mut Bytes<'_>, settings: &Settings, segment: &Segment) {
    let inner = u16::from_be_bytes(segment.tuple.src_port);
    let translates = bytes.flag();
    let choice = PortChoice::new(segment.transport, inner, translates, settings, bytes.u32());
    let attempts = choice.attempts();
    assert!(attempts <= 65_537);
    assert!(translates || attempts == 1);
    if attempts == 1 {
        assert_eq!(choice.candidate(0), Some(inner), "a port that stays");
    }
    // The first, the last, and a few between.
    let tried = [0, 1, 2, attempts / 2, attempts - 1].into_iter().chain([bytes.u32() % attempts]);
    let ported = matches!(segment.transport, Transport::Tcp | Transport::Udp | Transport::UdpLike);
    for port in tried.filter_map(|attempt| choice.candidate(attempt)) {
        assert!(!translates || !ported || inner == 0 || port != 0, "port 0");
        assert!(!translates || !ported || (port < 1024) == (inner < 1024), "{inner} to {port}");
    }
    assert_eq!(choice.candidate(attempts), None);
}
