//! Hairpins (RFC 4787, section 6): a packet from inside that addresses the outer endpoint of somebody
//! inside turns back to that one. It leaves with the outer endpoint of its own sender as source, so
//! that the two talk as any two hosts do of which each is behind a NAT.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Endpoint, PairKey, PairState};
use bridgefwd_common::decide::mapping;

use crate::maps::{MAPPED, MAPPINGS};
use crate::scratch::{self, Scratch};
use crate::{flows, pairs, sockets};

/// Answer of [`find_hairpin`]: the packet goes on.
pub const GOES_ON: u32 = 0;
/// It turns back.
pub const TURNS_BACK: u32 = 1;
/// It would, but must not.
pub const REFUSED: u32 = 2;

/// Finds out to whom the packet in `SCRATCH`, which has no flow, really goes: sets `target`,
/// `target_port` and `turns_back` there; where it turns back also `to`, where it is to be, and
/// `towards`. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_hairpin(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return GOES_ON };
    opening.turns_back = false;
    opening.target = opening.packet.ip.dst;
    opening.target_port = opening.packet.segment.tuple.dst_port;
    match find(&TcContext::new(skb), opening) {
        Ok(Some(())) => TURNS_BACK,
        Ok(None) => GOES_ON,
        Err(reason) => {
            opening.refused = reason;
            REFUSED
        }
    }
}

#[inline(always)]
fn find(ctx: &TcContext, opening: &mut Scratch) -> Result<Option<()>, Reason> {
    let (packet, from) = (&opening.packet, opening.from);
    if packet.flaw.is_some() || !mapping::can_turn_back(packet.segment.transport) {
        return Ok(None);
    }
    let (family, transport) = (packet.ip.family, packet.segment.transport);
    let tuple = &packet.segment.tuple;
    let outer = Endpoint::addressed(tuple);
    // SAFETY: an entry stays readable until this program ends.
    let Some(mapped) = (unsafe { MAPPED.get(outer) }) else { return Ok(None) };
    // SAFETY: as above.
    let Some(back) = (unsafe { MAPPINGS.get(mapped.inner(&outer)) }) else { return Ok(None) };
    if back.flows == 0 || !back.leads_to(&outer) {
        return Ok(None);
    }
    // The sender must have a mapping of the same kind towards that end, and the other one's must still
    // be in force. Rules are looked at one after the other, not as options, whose unset payload the
    // verifier would see being copied.
    let Some(own) = pairs::index(PairKey { from, to: mapped.to }) else { return Ok(None) };
    let own = pairs::rule(own);
    if !mapping::has_mapping(own.policy, family, transport)
        || !mapping::is_in_force(own.policy, own.generation, own.generation)
    {
        return Ok(None);
    }
    let Some(other) = pairs::index(PairKey { from: mapped.from, to: mapped.to }) else {
        return Ok(None);
    };
    let other = pairs::rule(other);
    if !mapping::is_in_force(other.policy, other.generation, mapped.generation)
        || sockets::host_serves(ctx, tuple)
    {
        return Ok(None);
    }
    // What is said of these two ends themselves counts all the same.
    if let Some(between) = pairs::index(PairKey { from, to: mapped.from })
        && pairs::rule(between).policy.state == PairState::Denied as u8
    {
        return Err(Reason::PairDenied);
    }
    opening.turns_back = true;
    opening.target = mapped.address;
    opening.target_port = mapped.port;
    opening.to = mapped.from;
    opening.towards = mapped.to;
    Ok(Some(()))
}

/// Does the packet with the tuple `original` in `SCRATCH` belong to a flow that turns back? Global to
/// the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn belongs_to_hairpin() -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let Some(found) = flows::find(&scratch.original) else { return 0 };
    // SAFETY: array elements never move or go.
    u32::from(unsafe { &*found.flow }.turns_back())
}
