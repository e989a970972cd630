//! Packets of known flows: what continues, what is over, what is refused, and where it leaves.

use proptest::prelude::*;

use super::*;
use crate::Verdict;
use crate::contract::{Address, Family, PairKey, PairPolicy, PairState, Tuple, moment};
use crate::packet::ip::Fragment;
use crate::packet::transport::{PROTOCOL_TCP, PROTOCOL_UDP, TcpFlags};

const FROM: u32 = 5;
const TO: u32 = 6;
const NOW: u32 = moment(1_000 * NS_PER_S);

fn tuple(protocol: u8) -> Tuple {
    Tuple {
        src: Address::v4([172, 18, 0, 2]),
        dst: Address::v4([172, 19, 0, 2]),
        src_port: [0x90, 1],
        dst_port: [0, 80],
        protocol,
        ..Tuple::default()
    }
}

fn flow(state: FlowState) -> Flow {
    let protocol = if (state as u8) < FlowState::Icmp as u8 { PROTOCOL_UDP } else { PROTOCOL_TCP };
    let original = tuple(protocol);
    Flow {
        generation: 1,
        pair: 0,
        pair_generation: 7,
        state: state as u8,
        from: FROM,
        to: TO,
        created: NOW,
        last_seen: NOW,
        ..Flow::default()
    }
    .between(&original, &Tuple { src: Address::v4([172, 19, 0, 1]), src_port: [4, 1], ..original })
}

fn rule(edit: impl FnOnce(&mut PairRule)) -> PairRule {
    let mut rule = PairRule {
        policy: PairPolicy { state: PairState::Allowed as u8, ..PairPolicy::default() },
        generation: 7,
        key: PairKey { from: FROM, to: TO },
        _zero: 0,
    };
    edit(&mut rule);
    rule
}

fn settings() -> Settings {
    Settings {
        abi: 0,
        unlisted: 0,
        timeouts_s: Settings::DEFAULT_TIMEOUTS_S,
        max_flows: 1,
        local_port_first: 32_768,
        local_port_last: 60_999,
        pair_generation: 7,
        last_pool: 0,
        max_flows_per_source: 1,
        smallest_route_mtu: 0,
    }
}

fn segment(flow: &Flow, direction: Direction, flags: u8) -> Segment {
    let transport = if flow.protocol == PROTOCOL_UDP { Transport::Udp } else { Transport::Tcp };
    Segment {
        tuple: flow.arriving(direction),
        transport,
        tcp_flags: TcpFlags(flags),
        header_len: 20,
        ..Segment::default()
    }
}

#[track_caller]
fn check(
    state: FlowState,
    direction: Direction,
    flags: u8,
    rule: &PairRule,
    end: u32,
    want: Result<Known, Reason>,
) {
    let flow = flow(state);
    let segment = segment(&flow, direction, flags);
    assert_eq!(recognise(&segment, &flow, direction, rule, end, NOW + 1, &settings()), want);
}

const ACK: u8 = TcpFlags::ACK;
const ESTABLISHED: FlowState = FlowState::TcpEstablished;

#[test]
fn packets_continue_only_by_the_end_of_their_direction() {
    let allowed = rule(|_| ());
    let go_on = Ok(Known::Segment(ESTABLISHED));
    check(ESTABLISHED, Direction::Original, ACK, &allowed, FROM, go_on);
    check(ESTABLISHED, Direction::Reply, ACK, &allowed, TO, go_on);
    check(ESTABLISHED, Direction::Original, ACK, &allowed, TO, Err(Reason::WrongEnd));
    check(ESTABLISHED, Direction::Reply, ACK, &allowed, FROM, Err(Reason::WrongEnd));
}

#[test]
fn a_denied_pair_stops_both_directions_unless_it_drains() {
    let denied = rule(|r| r.policy.state = PairState::Denied as u8);
    check(ESTABLISHED, Direction::Original, ACK, &denied, FROM, Err(Reason::PairDenied));
    check(ESTABLISHED, Direction::Reply, ACK, &denied, TO, Err(Reason::PairDenied));
    let draining = rule(|r| {
        r.policy.state = PairState::Denied as u8;
        r.policy.flags = PairPolicy::DRAINING;
    });
    check(ESTABLISHED, Direction::Reply, ACK, &draining, TO, Ok(Known::Segment(ESTABLISHED)));
}

#[test]
fn after_a_change_of_nat_only_what_can_begin_anew_does() {
    let changed = rule(|r| r.generation = 8);
    check(ESTABLISHED, Direction::Original, ACK, &changed, FROM, Err(Reason::FlowCut));
    check(ESTABLISHED, Direction::Original, TcpFlags::SYN, &changed, FROM, Ok(Known::Over));
    check(FlowState::UdpTwoWay, Direction::Original, 0, &changed, FROM, Ok(Known::Over));
    check(FlowState::UdpTwoWay, Direction::Reply, 0, &changed, TO, Err(Reason::FlowCut));
}

#[test]
fn an_answer_makes_udp_two_way() {
    let allowed = rule(|_| ());
    let two_way = Ok(Known::Continues(FlowState::UdpTwoWay));
    check(FlowState::UdpOneWay, Direction::Reply, 0, &allowed, TO, two_way);
    let one_way = Ok(Known::Continues(FlowState::UdpOneWay));
    check(FlowState::UdpOneWay, Direction::Original, 0, &allowed, FROM, one_way);
}

#[test]
fn timeouts_are_by_state() {
    let settings = settings();
    for state in FlowState::ALL {
        let timeout = u64::from(settings.timeouts_s[state as usize]) * NS_PER_S;
        // The last packet may have come at the end of its moment, the next one at the beginning.
        let first = 1_000 * NS_PER_S;
        let last = (u64::from(moment(first)) + 1) << MOMENT_SHIFT;
        let over = |ns| is_over(state as u8, moment(first), moment(ns), &settings);
        assert!(over(first + timeout + 35_000_000), "{state:?}");
        assert!(timeout == 0 || !over(last + timeout - 1), "{state:?}");
        // A clock read on another CPU, or a coarse one, may be a little behind.
        assert!(timeout == 0 || !over(first - 20_000_000), "{state:?}");
        // Moments begin anew.
        let wrapped = |now| is_over(state as u8, u32::MAX, now, &settings);
        assert!(timeout == 0 || !wrapped(0), "{state:?}");
        assert!(wrapped(1 << 20), "{state:?}");
    }
}

fn ip(ttl: u8, dont_fragment: bool) -> Ip {
    Ip {
        src: Address::UNSPECIFIED,
        dst: Address::UNSPECIFIED,
        family: Family::V4,
        ttl,
        tos: 0,
        protocol: PROTOCOL_TCP,
        dont_fragment,
        fragment: Fragment::None,
        fragment_offset: 0,
        more_fragments: false,
        header_len: 20,
        id: [0; 4],
        payload_len: 20,
        flow_info: 0,
    }
}

fn via(ifindex: u32) -> Route {
    Route::Via { ifindex, next_hop: Address::v4([9; 4]), neighbour: Some([2; 6]) }
}

#[test]
fn what_the_kernel_has_to_answer_is_translated_for_it_or_goes_as_it_is() {
    let flow = flow(ESTABLISHED);
    let routes = [Route::TooBig, Route::No(Reason::Unreachable), Route::No(Reason::NotForwarded)];
    for (direction, end) in [(Direction::Original, TO), (Direction::Reply, FROM)] {
        for route in routes {
            let outcome = plan(&ip(9, true), &flow, direction, route);
            assert_eq!(outcome, Err(Reason::ThroughKernel));
        }
        for ttl in 0..2 {
            let outcome = plan(&ip(ttl, true), &flow, direction, via(end));
            assert_eq!(outcome, Err(Reason::ThroughKernel));
        }
        let elsewhere = plan(&ip(9, true), &flow, direction, via(99));
        assert_eq!(elsewhere, Err(Reason::RouteChanged));
    }
}

proptest! {
    /// A plan leaves by the flow's other end, with its translation, never with TTL 0; and what has no
    /// plan is never passed on as if it were no packet of a flow.
    #[test]
    fn plans_are_complete(ttl: u8, dont_fragment: bool, reply: bool, ifindex in 4_u32..8) {
        let flow = flow(ESTABLISHED);
        let direction = if reply { Direction::Reply } else { Direction::Original };
        match plan(&ip(ttl, dont_fragment), &flow, direction, via(ifindex)) {
            Ok(plan) => {
                prop_assert_eq!(plan.out_end, ifindex);
                prop_assert_eq!(plan.ttl, ttl - 1);
                prop_assert!(plan.ttl > 0);
                prop_assert_eq!(plan.leaving, flow.leaving(direction));
                prop_assert_eq!(plan.reason.verdict(), Verdict::Redirect);
            }
            Err(Reason::ThroughKernel) => {}
            Err(reason) => prop_assert_eq!(reason.verdict(), Verdict::Drop),
        }
    }
}
