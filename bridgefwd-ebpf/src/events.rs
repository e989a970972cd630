//! Tells the daemon what happens, while somebody listens: flows opened and freed, and refusals, which
//! are summed up here so that nobody can have us tell without end.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{
    Address, EVENT_HEADERS, EVENT_REFUSED, EVENT_TRACED, EventBudget, Flow, FlowRecord,
    PacketRecord, REFUSALS_TOLD_A_SECOND, REFUSALS_TOLD_EACH_NS, RefusalCount, RefusalKey, Role,
    SourceKey, TRACED_TOLD_A_SECOND,
};
use bridgefwd_common::{Reason, Verdict};

use crate::asm::atomic_add;
use crate::egress::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::flows::now_ns;
use crate::maps::{EVENT_BUDGET, EVENT_CONTROL, EVENTS, FLOWS, INTERFACES, REFUSALS};
use crate::read::IP;

/// Tells that a packet ended, where it was refused, or is traced. Not for packets that are redirected.
#[inline(always)]
pub fn ended(ctx: &TcContext, reason: Reason) {
    // Nobody asks about these, and on a busy bridge they are most of what passes.
    if matches!(reason, Reason::NotForRouter | Reason::NotManaged | Reason::NotIp) {
        return;
    }
    tell_ended(ctx.skb.skb, reason as u32, u32::from(matches!(reason.verdict(), Verdict::Drop)));
}

/// Global to the verifier: kernels before 6.3 would follow each way to it, and each way on from there, anew.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_ended(skb: *mut __sk_buff, reason: u32, refused: u32) -> u32 {
    tell(skb, reason, refused != 0);
    1
}

/// The same of a packet of a flow that the first program refused, which all of them drop. In its own body: its
/// stack has no room for one more call.
#[inline(always)]
pub fn refused(ctx: &TcContext, reason: Reason) {
    tell(ctx.skb.skb, reason as u32, true);
}

#[inline(always)]
fn tell(skb: *mut __sk_buff, reason: u32, refused: bool) {
    let Some(control) = EVENT_CONTROL.get(0) else { return };
    if control.trace_until_ns != 0 {
        tell_traced(skb, reason);
    }
    if control.until_ns != 0 && refused {
        tell_refused(skb, reason);
    }
}

/// Tells of the flow in `slot`, of which nobody else can let go at the moment, where the daemon listens.
/// Global to the verifier, with all that it asks: whoever lets go of flows has no stack to spare.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_flow(slot: u32, kind: u32) -> u32 {
    let (Some(control), Some(flow)) = (EVENT_CONTROL.get(0), FLOWS.get_ptr(slot)) else { return 0 };
    if control.until_ns == 0 {
        return 0;
    }
    let now = now_ns();
    if now > control.until_ns {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<FlowRecord>(0) else {
        count_untold(|budget| &mut budget.flows_untold);
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the ring's own memory, as long as a record, until it is submitted; array elements never
    // move or go. Word by word: a copy of that length would become a call.
    unsafe {
        (*record).kind = kind;
        (*record).slot = slot;
        (*record).time_ns = now;
        let (from, to) = (flow.cast::<u64>(), (&raw mut (*record).flow).cast::<u64>());
        for word in 0..size_of::<Flow>() / size_of::<u64>() {
            to.add(word).write_volatile(from.add(word).read_volatile());
        }
    }
    entry.submit(0);
    1
}

/// Counts a packet that was refused, and tells so where that is due. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_refused(skb: *mut __sk_buff, reason: u32) -> u32 {
    let Some(control) = EVENT_CONTROL.get(0) else { return 0 };
    let now = now_ns();
    if now > control.until_ns {
        return 0;
    }
    let key = RefusalKey { reason, source: source(skb) };
    let fresh = RefusalCount { since_ns: now, ..RefusalCount::default() };
    let count = match REFUSALS.get_ptr_mut(key) {
        Some(count) => count,
        None => {
            let _ = REFUSALS.insert(key, fresh, 0);
            let Some(count) = REFUSALS.get_ptr_mut(key) else { return 0 };
            count
        }
    };
    // SAFETY: an entry is memory of the map until this program ends, even where it is forgotten
    // meanwhile; the numbers are added to atomically.
    let count = unsafe {
        atomic_add(&raw mut (*count).packets, 1);
        atomic_add(&raw mut (*count).bytes, u64::from((*skb).len));
        let told = (&raw const (*count).told_ns).read_volatile();
        if told != 0 && now.wrapping_sub(told) < REFUSALS_TOLD_EACH_NS {
            return 0;
        }
        if !within_budget(now, false) {
            return 0;
        }
        (&raw mut (*count).told_ns).write_volatile(now);
        &*count
    };
    let Some(mut entry) = EVENTS.reserve::<PacketRecord>(0) else {
        count_untold(|budget| &mut budget.refusals_untold);
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: as in `tell_flow`.
    unsafe {
        begin(record, skb, now, reason);
        (*record).kind = EVENT_REFUSED;
        (*record).source = key.source;
        (*record).count = *count;
    }
    entry.submit(0);
    1
}

/// Tells of a packet that is traced, if it is. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_traced(skb: *mut __sk_buff, reason: u32) -> u32 {
    let Some(control) = EVENT_CONTROL.get(0) else { return 0 };
    let now = now_ns();
    if now > control.trace_until_ns {
        return 0;
    }
    let wanted = |address: &Address| *address == control.trace || *address == control.trace_other;
    if !wanted(&address(skb, false)) && !wanted(&address(skb, true)) {
        return 0;
    }
    if !within_budget(now, true) {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<PacketRecord>(0) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: as in `tell_flow`.
    unsafe {
        begin(record, skb, now, reason);
        (*record).kind = EVENT_TRACED;
        (*record).source = SourceKey::default();
        (*record).count = RefusalCount::default();
    }
    entry.submit(0);
    1
}

/// Fills in what every record of a packet has.
///
/// # Safety
/// `record` must be the ring's memory of a whole record, and `skb` the program's context.
#[inline(always)]
unsafe fn begin(record: *mut PacketRecord, skb: *mut __sk_buff, now: u64, reason: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        (*record).reason = reason;
        (*record).time_ns = now;
        (*record).ifindex = (*skb).ifindex;
        (*record).len = (*skb).len;
        let headers = (&raw mut (*record).headers).cast::<u64>();
        for word in 0..EVENT_HEADERS / size_of::<u64>() {
            headers.add(word).write_volatile(0);
        }
        (*record).captured = load_headers(skb, (&raw mut (*record).headers).cast());
    }
}

/// Loads how the packet begins: as much as there is, in the lengths that headers have.
///
/// # Safety
/// `to` must have room for [`EVENT_HEADERS`].
#[inline(always)]
unsafe fn load_headers(skb: *mut __sk_buff, to: *mut u8) -> u32 {
    /// IPv6 with a TCP segment that opens, with another one, with UDP, IPv4 with TCP, with UDP, alone,
    /// Ethernet alone.
    const LENGTHS: [u32; 8] = [EVENT_HEADERS as u32, 94, 74, 62, 54, 42, 34, 14];
    for len in LENGTHS {
        // SAFETY: the caller's promise; the helper fails where the packet is shorter.
        if unsafe { bpf_skb_load_bytes(skb.cast(), 0, to.cast(), len) } == 0 {
            return len;
        }
    }
    0
}

/// Who sent the packet: the bridge port that it came by, else its address.
#[inline(always)]
fn source(skb: *mut __sk_buff) -> SourceKey {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let interface = unsafe { INTERFACES.get(ifindex) };
    if interface.is_some_and(|interface| interface.role == Role::Port as u8) {
        SourceKey::new(Address::UNSPECIFIED, ifindex)
    } else {
        SourceKey::new(address(skb, false), 0)
    }
}

/// Its source address, or its destination; `::` where it has none.
#[inline(always)]
fn address(skb: *mut __sk_buff, destination: bool) -> Address {
    // SAFETY: as in `source`.
    let protocol = unsafe { (*skb).protocol };
    let ctx = TcContext::new(skb);
    let of_v4 = |at: usize| ctx.load::<[u8; 4]>(IP + at).map(Address::v4);
    let of_v6 = |at: usize| ctx.load::<[u32; 4]>(IP + at).map(Address::from_words);
    let found = match (protocol, destination) {
        (ETHERTYPE_IPV4, false) => of_v4(12),
        (ETHERTYPE_IPV4, true) => of_v4(16),
        (ETHERTYPE_IPV6, false) => of_v6(8),
        (ETHERTYPE_IPV6, true) => of_v6(24),
        _ => return Address::UNSPECIFIED,
    };
    found.unwrap_or(Address::UNSPECIFIED)
}

/// May one more be told in this second?
#[inline(always)]
fn within_budget(now: u64, traced: bool) -> bool {
    let Some(budget) = EVENT_BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's element of a preallocated array.
    let budget = unsafe { &mut *budget };
    let second = now >> 30;
    if budget.second != second {
        budget.second = second;
        budget.refusals = 0;
        budget.traced = 0;
    }
    if traced {
        budget.traced = budget.traced.wrapping_add(1);
        return budget.traced <= TRACED_TOLD_A_SECOND;
    }
    budget.refusals = budget.refusals.wrapping_add(1);
    if budget.refusals > REFUSALS_TOLD_A_SECOND {
        budget.refusals_untold = budget.refusals_untold.wrapping_add(1);
        return false;
    }
    true
}

#[inline(always)]
fn count_untold(which: impl FnOnce(&mut EventBudget) -> &mut u64) {
    if let Some(budget) = EVENT_BUDGET.get_ptr_mut(0) {
        // SAFETY: this CPU's element of a preallocated array.
        let count = which(unsafe { &mut *budget });
        *count = count.wrapping_add(1);
    }
}

const _: () = assert!(size_of::<Flow>().is_multiple_of(size_of::<u64>()));
const _: () = assert!(EVENT_HEADERS.is_multiple_of(size_of::<u64>()));
