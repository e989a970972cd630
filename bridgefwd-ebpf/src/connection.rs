//! TCP connections: segments judged by their sequence numbers.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Direction, Flow, FlowState};
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::decide::tcp_window::{self, NO_SCALE};
use bridgefwd_common::packet::transport::Transport;

use crate::flows::Found;
use crate::maps::FLOWS;
use crate::read::Packet;
use crate::scratch::{self, Scratch};
use crate::verdict::Way;
use crate::{cold, verify};

/// Length of a TCP header without options.
const FIXED_LEN: u32 = 20;
/// How many options are looked at: as many as fit.
const MAX_OPTIONS: u32 = 40;

/// Is this a segment that opens, resets or makes no sense? Such are judged off the hot path.
#[inline(always)]
pub fn is_rare(packet: &Packet, found: &Found) -> bool {
    // SAFETY: array elements never move or go.
    let state = FlowState::from_byte(unsafe { (*found.flow).state });
    matches!(packet.segment.transport, Transport::Tcp)
        && !tcp_window::is_plain(packet.segment.tcp_flags, state)
}

/// Judges the segment in `SCRATCH`, which belongs to a flow that is in `state`.
///
/// # Errors
/// The reason why it is refused.
#[inline(always)]
pub fn judge(
    ctx: &TcContext,
    packet: &Packet,
    found: &Found,
    state: FlowState,
) -> Result<Known, Reason> {
    if tcp_window::is_plain(packet.segment.tcp_flags, state) {
        judge_plain(packet, found, state)
    } else {
        rare(ctx, found, state)
    }
}

/// The same of one that is not [rare](is_rare).
///
/// # Errors
/// As of [`judge`].
#[inline(always)]
pub fn judge_plain(packet: &Packet, found: &Found, state: FlowState) -> Result<Known, Reason> {
    let segment = established::tcp_segment(&packet.ip, &packet.segment, NO_SCALE);
    // SAFETY: array elements never move or go. Two CPUs may write a side at once; of its plain words
    // the last writer wins.
    let [original, reply] = unsafe { &mut (*found.flow).tcp };
    let (mine, theirs) = match found.direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let judgement = tcp_window::judge_plain(&segment, found.direction, state, mine, theirs);
    established::after_segment(judgement)
}

/// Forwards the segment in `SCRATCH`, which [is rare](is_rare).
#[inline(always)]
pub fn forward_rare(ctx: &TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    scratch.original = scratch.packet.segment.tuple;
    cold::forward(ctx, scratch, cold::BY_US)
}

// Answers of `judge_rare_segment`, beside the number of the state that the flow is in afterwards.
const PASSES: u32 = 0x100;
const OVER: u32 = 0x101;
const REFUSED: u32 = 0x102;

#[inline(always)]
fn rare(ctx: &TcContext, found: &Found, state: FlowState) -> Result<Known, Reason> {
    match judge_rare_segment(ctx.skb.skb, found.slot, found.direction as u32, state as u32) {
        PASSES => Ok(Known::Passes),
        OVER => Ok(Known::Over),
        REFUSED => Err(scratch::current().map_or(Reason::TcpOutOfWindow, |found| found.refused)),
        state => Ok(Known::Continues(FlowState::from_byte(state as u8))),
    }
}

/// Judges a segment that opens, resets or makes no sense. Global to the verifier, and out of the hot
/// path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_rare_segment(
    skb: *mut __sk_buff,
    slot: u32,
    direction: u32,
    state: u32,
) -> u32 {
    let (Some(scratch), Some(flow)) = (scratch::current(), FLOWS.get_ptr_mut(slot)) else {
        return REFUSED;
    };
    if verify::checksum_holds(skb) == 0 {
        scratch.refused = Reason::BadChecksum;
        return REFUSED;
    }
    let scale = window_scale(&TcContext::new(skb), scratch);
    let packet = &scratch.packet;
    let segment = established::tcp_segment(&packet.ip, &packet.segment, scale);
    // SAFETY: as in `judge_plain`.
    let [original, reply] = unsafe { &mut (*flow).tcp };
    let (direction, mine, theirs) = if direction == Direction::Original as u32 {
        (Direction::Original, original, reply)
    } else {
        (Direction::Reply, reply, original)
    };
    let state = FlowState::from_byte(state as u8);
    let judgement = tcp_window::judge_rare(&segment, direction, state, mine, theirs);
    match established::after_segment(judgement) {
        Ok(Known::Continues(state)) => state as u32,
        Ok(Known::Over) => OVER,
        Ok(_) => PASSES,
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
}

/// Begins to follow the connection that the segment in `SCRATCH` opens.
#[inline(always)]
pub fn begin(ctx: &TcContext, scratch: &Scratch, flow: &mut Flow) {
    let packet = &scratch.packet;
    let scale = window_scale(ctx, scratch);
    let segment = established::tcp_segment(&packet.ip, &packet.segment, scale);
    let [original, reply] = &mut flow.tcp;
    tcp_window::begin(&segment, original, reply);
}

/// The shift of the segment's window scale option (RFC 7323, section 2.2), if it has one.
#[inline(always)]
fn window_scale(ctx: &TcContext, scratch: &Scratch) -> u8 {
    find_window_scale(
        ctx.skb.skb,
        scratch.packet.transport_at() as u32,
        u32::from(scratch.packet.segment.header_len),
    ) as u8
}

/// The same, of the header at `header` that is `len` bytes long. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_window_scale(skb: *mut __sk_buff, header: u32, len: u32) -> u32 {
    let mut at = FIXED_LEN;
    for _ in 0..MAX_OPTIONS {
        if at >= len {
            break;
        }
        at = next_tcp_option(skb, header, at);
        if at >= FOUND {
            return at - FOUND;
        }
    }
    u32::from(NO_SCALE)
}

/// Added to a shift that was found; beyond any place of an option.
const FOUND: u32 = 1 << 16;

/// Where the option behind the one at `at` begins, or the shift in it. Global to the verifier: checked
/// once, not once a turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn next_tcp_option(skb: *mut __sk_buff, header: u32, at: u32) -> u32 {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    /// Behind any option.
    const NONE: u32 = 0xff;

    let ctx = TcContext::new(skb);
    let place = ((header & 0xfff) + (at & 0x3f)) as usize;
    match ctx.load::<u8>(place) {
        Ok(END) | Err(_) => NONE,
        Ok(NO_OPERATION) => at + 1,
        Ok(kind) => match (kind, ctx.load::<[u8; 2]>(place + 1)) {
            (WINDOW_SCALE, Ok([3, shift])) => FOUND + u32::from(shift),
            (_, Ok([len, _])) if len >= 2 => at + u32::from(len),
            _ => NONE,
        },
    }
}
