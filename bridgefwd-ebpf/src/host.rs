//! The host's own conversations at egress: one that has the tuple of a flow gives way, as the kernel's
//! NAT has it, so that answers can be told apart. It becomes a flow itself, from the host. So does one of
//! others that the kernel translates to an address of the host.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Direction, Flow, FlowState, NatMode, Settings};
use bridgefwd_common::decide::established;
use bridgefwd_common::decide::nat::PortChoice;
use bridgefwd_common::packet::transport::{Segment, Transport};

use crate::maps::SETTINGS;
use crate::scratch::{self, Scratch};
use crate::{cold, create, flows, rewrite};

/// It goes as it is.
const GOES: u32 = 0;
/// It belongs to a flow of the host's own, and has been translated.
const TRANSLATED: u32 = 1;
/// It has the tuple of somebody's flow, or is a query that nobody could tell from a flow's later.
const CLASHES: u32 = 2;

/// Looks at a packet of the host's own that leaves; `SCRATCH` has what was read of it. Global to the
/// verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn examine_own(skb: *mut __sk_buff) -> u32 {
    let (Some(scratch), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else {
        return GOES;
    };
    let ctx = TcContext::new(skb);
    scratch.from = Flow::FROM_HOST;
    scratch.original = scratch.packet.segment.tuple;
    match cold::continue_flow(&ctx, cold::BY_KERNEL) {
        Ok(true) if matches!(scratch.direction, Direction::Original) => {
            return if rewrite::to_leaving(&ctx).is_ok() { TRANSLATED } else { GOES };
        }
        Ok(_) => {}
        // Somebody's flow, from another end: not the host's.
        Err(_) => return GOES,
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    if scratch.original.query != 0 && unsafe { (*skb).ingress_ifindex } == 0 {
        return CLASHES;
    }
    let Some(found) = flows::find(&scratch.original.reversed()) else { return GOES };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let over = established::is_over(flow.state, flow.last_seen, flows::now(), settings);
    if over || !matches!(found.direction, Direction::Reply) || flow.from == Flow::FROM_HOST {
        return GOES;
    }
    CLASHES
}

/// May it be in somebody's way? Only what has ports, or asks.
#[inline(always)]
pub fn can_clash(segment: &Segment) -> bool {
    match segment.transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike => true,
        Transport::Query | Transport::QueryV6 => !segment.is_query_reply,
        Transport::Sctp | Transport::Other | Transport::Fragment => false,
    }
}

/// Has the packet in `SCRATCH` give way, if it has the tuple of a flow. What to return.
#[inline(always)]
pub fn give_way(ctx: &TcContext) -> i32 {
    if examine_own(ctx.skb.skb) == CLASHES
        && prepare_own() == 1
        && create::create(ctx).is_ok()
        && let Some(scratch) = scratch::current()
    {
        scratch.leaving = scratch.translated;
        let _ = rewrite::to_leaving(ctx);
    }
    TC_ACT_UNSPEC
}

/// Describes that flow in `SCRATCH`; 1 where it is done. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_own() -> u32 {
    let (Some(scratch), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else { return 0 };
    describe(scratch, settings);
    1
}

#[inline(always)]
fn describe(scratch: &mut Scratch, settings: &Settings) {
    let segment = &scratch.packet.segment;
    let port = u16::from_be_bytes(segment.tuple.src_port);
    // SAFETY: takes nothing, always answers.
    let random = unsafe { bpf_get_prandom_u32() };
    scratch.ports = PortChoice::new(segment.transport, port, true, settings, random);
    scratch.state = match segment.transport {
        Transport::Tcp if segment.tcp_flags.opens() => FlowState::TcpOpening,
        Transport::Tcp => FlowState::TcpEstablished,
        Transport::Query | Transport::QueryV6 => FlowState::Icmp,
        _ => FlowState::UdpOneWay,
    };
    scratch.source = segment.tuple.src;
    scratch.leaving = segment.tuple;
    scratch.towards = scratch.to;
    scratch.nat = NatMode::Masquerade as u8;
    scratch.flow_flags = 0;
    // Of no pair: no element of the arrays has that index.
    scratch.pair = u32::MAX;
    scratch.pair_generation = 0;
    scratch.port = 0;
    scratch.bytes = 0;
}
