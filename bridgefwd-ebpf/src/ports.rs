//! The source port of a new flow: found, and taken.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Direction, FlowState, IndexEntry, Tuple};
use bridgefwd_common::decide::{established, nat, tcp};

use crate::maps::{FLOWS, SETTINGS};
use crate::scratch::{self, Scratch};
use crate::{flows, index, mapping, pairs, sockets};

/// Source ports are searched in blocks, so that the verifier checks one block once.
const PORTS_PER_BLOCK: u32 = 1024;
/// Enough blocks for all of the 65,537 attempts that there can be.
const PORT_BLOCKS: u32 = 65;
/// How long a server without a free port is not searched again. A full search takes about a
/// millisecond, and whoever has used up all ports must not have one for each of its packets.
const EXHAUSTED_NS: u64 = 10_000_000;

/// Finds a source port whose reply tuple nobody has, and takes it.
#[inline(always)]
pub fn claim_tuple(skb: *mut __sk_buff, slot: u32) -> bool {
    let (Some(opening), Some(flow)) = (scratch::current(), FLOWS.get_ptr(slot)) else {
        return false;
    };
    // SAFETY: the slot is in our hands alone.
    let generation = unsafe { (*flow).generation }.wrapping_add(1);
    // 0 stands for "no flow".
    opening.generation = if generation == 0 { 1 } else { generation };
    let attempts = opening.ports.attempts();
    let is_search = attempts > 1;
    if is_search && is_exhausted(0) != 0 {
        return false;
    }
    for block in 0..PORT_BLOCKS {
        let first = block * PORTS_PER_BLOCK;
        if first >= attempts {
            break;
        }
        let mut found = search_ports(skb, slot, first);
        if found != TAKEN && found != NOTHING {
            flows::release((found >> 32) as u32, found as u32);
            found = search_ports(skb, slot, first);
        }
        if found == TAKEN {
            return true;
        }
    }
    if is_search {
        is_exhausted(1);
    }
    false
}

/// Was a port for the server of the flow in `SCRATCH` searched in vain a moment ago? Where `note` is not
/// 0 it was, just now. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_exhausted(note: u32) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let class = opening.ports.class();
    let mut server = nat::translated(opening.leaving, opening.source, class);
    if opening.mapping == mapping::NEW {
        // Its port must be nobody's, whatever the server.
        (server.dst, server.dst_port) = (server.src, [0; 2]);
    }
    let now = flows::now_ns();
    if note != 0 {
        opening.exhausted = server;
        opening.exhausted_until_ns = now + EXHAUSTED_NS;
    }
    u32::from(now < opening.exhausted_until_ns && opening.exhausted == server)
}

/// Answer of [`search_ports`] and [`try_port`]: the tuple is ours now.
const TAKEN: u64 = u64::MAX;
/// Neither taken nor to be had. Anything else is the slot (upper half) and the generation of a flow
/// that is over and has the port; no flow's generation is 0.
const NOTHING: u64 = 0;

/// Tries a block of source ports for the flow being made, from the `first` attempt on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_ports(skb: *mut __sk_buff, slot: u32, first: u32) -> u64 {
    for attempt in 0..PORTS_PER_BLOCK {
        let found = try_port(skb, slot, first.wrapping_add(attempt));
        if found != NOTHING {
            return found;
        }
    }
    NOTHING
}

/// Tries the `attempt`th source port for the flow being made.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn try_port(skb: *mut __sk_buff, slot: u32, attempt: u32) -> u64 {
    let (Some(opening), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else {
        return NOTHING;
    };
    let Some(port) = opening.ports.candidate(attempt) else { return NOTHING };
    opening.translated = nat::translated(opening.leaving, opening.source, port);
    let reply = opening.translated.reversed();
    // Looked for before it is claimed: a look-up takes no lock.
    let Some(blocking) = flows::find(&reply) else {
        let taken = !sockets::host_has(&TcContext::new(skb), &reply) && take(opening, slot, &reply);
        return if taken { TAKEN } else { NOTHING };
    };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*blocking.flow };
    // Who has no choice takes the port of a flow that was cut, too.
    let cut = opening.mapping == mapping::HELD
        && pairs::rule(flow.pair).generation != flow.pair_generation;
    let recyclable = cut || tcp::is_recyclable(FlowState::from_byte(flow.state));
    if recyclable || established::is_over(flow.state, flow.last_seen, flows::now(), settings) {
        u64::from(blocking.slot) << 32 | u64::from(flow.generation)
    } else {
        NOTHING
    }
}

/// Takes the tuple that `SCRATCH` has as `translated`, if its source is not another's outer endpoint.
#[inline(always)]
fn take(opening: &Scratch, slot: u32, reply: &Tuple) -> bool {
    let translates = opening.source != opening.original.src;
    if translates && opening.mapping != mapping::HELD && mapping::outer_is_free() == 0 {
        return false;
    }
    if opening.mapping == mapping::NEW && mapping::claim_outer() == 0 {
        return false;
    }
    let entry = IndexEntry::new(slot, Direction::Reply, opening.generation);
    let taken = index::claim(reply, entry);
    if !taken && opening.mapping == mapping::NEW {
        mapping::give_back_outer();
    }
    taken
}
