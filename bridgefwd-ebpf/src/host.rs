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

/// Does a packet of the host's own that leaves, of no flow, have the tuple of somebody's, or is it a
/// query that nobody could tell from a flow's later? 1 if so. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn clashes(skb: *mut __sk_buff) -> u32 {
    let (Some(scratch), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else { return 0 };
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    if scratch.original.query != 0 && unsafe { (*skb).ingress_ifindex } == 0 {
        return 1;
    }
    let Some(found) = flows::find(&scratch.original.reversed()) else { return 0 };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let over = established::is_over(flow.state, flow.last_seen, flows::now(), settings);
    let others = matches!(found.direction, Direction::Reply) && flow.from != Flow::FROM_HOST;
    u32::from(others && !over)
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
    let Some(scratch) = scratch::current() else { return TC_ACT_UNSPEC };
    scratch.from = Flow::FROM_HOST;
    scratch.original = scratch.packet.segment.tuple;
    match cold::continue_flow(ctx, cold::BY_KERNEL) {
        // It belongs to a flow of the host's own.
        Ok(true) if matches!(scratch.direction, Direction::Original) => {
            let _ = rewrite::to_leaving(ctx);
        }
        Ok(_) => {
            if clashes(ctx.skb.skb) == 1 && prepare_own() == 1 && create::create(ctx).is_ok() {
                scratch.leaving = scratch.translated;
                let _ = rewrite::to_leaving(ctx);
            }
        }
        // Somebody's flow, from another end: not the host's.
        Err(_) => {}
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
