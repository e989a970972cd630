//! What the kernel itself drops: a program of its own, at the tracepoint where the kernel lets go of
//! packets, while somebody traces. It shares nothing with the programs that packets go through.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "an artefact of the entry point's macro")]

mod object;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel, generated};
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use aya_ebpf::programs::RawTracePointContext;
use bridgefwd_common::contract::{
    Address, DROP_HEADERS, DROP_RING_BYTES, DropLayout, DropRecord, MAX_DROP_ADDRESSES,
};

#[map]
static DROPS: RingBuf = RingBuf::with_byte_size(DROP_RING_BYTES, 0);
#[map]
static DROP_LAYOUT: Array<DropLayout> = Array::with_max_entries(1, 0);
#[map]
static DROP_ADDRESSES: HashMap<Address, u32> = HashMap::with_max_entries(MAX_DROP_ADDRESSES, 0);

/// Tells of a packet that the kernel drops, where it is from or to somebody who is asked for. A kernel
/// that gives no reason (before Linux 5.17) has no third argument, and refuses to attach this.
#[raw_tracepoint]
pub fn bridgefwd_drops(ctx: RawTracePointContext) -> i32 {
    let packet = Packet { skb: ctx.arg::<u64>(0) };
    let _ = packet.tell(ctx.arg::<u64>(1), ctx.arg::<u64>(2) as u32);
    0
}

struct Packet {
    skb: u64,
}

impl Packet {
    #[inline(always)]
    fn tell(&self, location: u64, reason: u32) -> Option<()> {
        let layout = DROP_LAYOUT.get(0)?;
        let head = read::<u64>(self.skb, layout.head)?;
        let ip = head.wrapping_add(u64::from(read::<u16>(self.skb, layout.network_header)?));
        let wanted = match read::<u8>(ip, 0)? >> 4 {
            4 => asked(Address::v4(read(ip, 12)?)) || asked(Address::v4(read(ip, 16)?)),
            6 => {
                asked(Address::from_words(read(ip, 8)?))
                    || asked(Address::from_words(read(ip, 24)?))
            }
            _ => false,
        };
        if !wanted {
            return None;
        }
        let (ifindex, netns) = self.place(layout).unwrap_or_default();
        let mut entry = DROPS.reserve::<DropRecord>(0)?;
        let record = entry.as_mut_ptr();
        // SAFETY: the ring's own memory, as long as a record, until it is submitted.
        let read = unsafe {
            (*record).time_ns = bpf_ktime_get_ns();
            (*record).location = location;
            (*record).reason = reason;
            (*record).ifindex = ifindex;
            (*record).netns = netns;
            (*record)._reserved = 0;
            let to = (&raw mut (*record).headers).cast();
            generated::bpf_probe_read_kernel(to, DROP_HEADERS as u32, ip as *const _)
        };
        if read == 0 {
            entry.submit(0)
        } else {
            entry.discard(0)
        }
        Some(())
    }

    /// ifindex and namespace of the interface that it is at. Where a socket has it that pointer is
    /// something else, and cannot be followed.
    #[inline(always)]
    fn place(&self, layout: &DropLayout) -> Option<(u32, u32)> {
        let dev = read::<u64>(self.skb, layout.dev)?;
        let net = read::<u64>(dev, layout.net)?;
        Some((read(dev, layout.ifindex)?, read(net, layout.inum)?))
    }
}

/// Is somebody interested in packets of this address?
#[inline(always)]
fn asked(address: Address) -> bool {
    // SAFETY: an entry is only ever added, before this program runs.
    unsafe { DROP_ADDRESSES.get(address) }.is_some()
}

/// The kernel's memory, so far behind an address; `None` where there is none.
#[inline(always)]
fn read<T>(address: u64, behind: u32) -> Option<T> {
    let address = address.wrapping_add(u64::from(behind)) as *const T;
    // SAFETY: the helper checks the address, and fills in all of what it returns.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}
