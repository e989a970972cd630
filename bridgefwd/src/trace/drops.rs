//! What the kernel drops, with its own word for why: read from a program at the tracepoint
//! `skb:kfree_skb`, which the kernel takes away when this process ends, however it does.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use aya::maps::{Array, HashMap, RingBuf};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader};
use bridgefwd_common::contract::{
    Address, DROPS_PROGRAM, DropLayout, DropRecord, MAP_DROP_ADDRESSES, MAP_DROP_LAYOUT, MAP_DROPS,
};

use super::packet::{ICMP, ICMP_V6, Packet};
use crate::datapath::DROPS_OBJECT;
use crate::datapath::wire::Wire;
use crate::host::btf::Btf;

/// A packet that the kernel dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelDrop {
    /// When: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// Why, in the kernel's word: `NETFILTER_DROP`.
    pub reason: String,
    /// The function of the kernel that dropped it; `None` where that cannot be told.
    pub function: Option<String>,
    /// The interface that it was at; 0 where that is not known.
    pub ifindex: u32,
    /// Inode number of its network namespace, likewise.
    pub netns: u64,
    /// What it was there.
    pub packet: Packet,
}

impl KernelDrop {
    /// Did a program or filter at traffic control ask for it?
    #[must_use]
    pub fn is_by_program(&self) -> bool {
        self.reason.starts_with("TC_")
    }

    /// Was it dropped as a packet that is routed: by a firewall's rule, or for its addresses?
    #[must_use]
    pub fn is_by_stack(&self) -> bool {
        self.reason == "NETFILTER_DROP" || self.reason.starts_with("IP_")
    }

    /// Is it an answer to a ping for which there is no socket of pings? Raw sockets, by which most ping, got
    /// it before.
    #[must_use]
    pub fn is_of_ping(&self) -> bool {
        self.reason == "NO_SOCKET" && matches!(self.packet.protocol, ICMP | ICMP_V6)
    }
}

/// The running program.
pub struct Drops {
    /// It ends with this value.
    _ebpf: Ebpf,
    ring: RingBuf<aya::maps::MapData>,
    reasons: BTreeMap<u32, String>,
    symbols: Symbols,
}

impl Drops {
    /// Starts to listen for packets from and to these addresses, in all network namespaces.
    ///
    /// # Errors
    ///
    /// Says why the kernel does not tell, in words that go behind "what the kernel drops is not known: ".
    pub fn start(addresses: &[IpAddr]) -> Result<Self, String> {
        let btf = Btf::of_kernel()
            .map_err(|error| format!("the kernel does not describe itself (BTF): {error}"))?;
        let reasons = btf.enumerators("skb_drop_reason");
        if reasons.is_empty() {
            return Err("this kernel gives no reasons: that takes Linux 5.17".into());
        }
        let layout = layout(&btf).ok_or("its structures are not as they are known")?;
        let mut ebpf = EbpfLoader::new()
            .load(DROPS_OBJECT)
            .map_err(|error| format!("the program that listens cannot be loaded: {error}"))?;
        let map = |ebpf: &mut Ebpf, name| ebpf.take_map(name).ok_or("a map is missing");
        let failed = |error: aya::maps::MapError| error.to_string();
        let mut array: Array<_, Wire<DropLayout>> =
            Array::try_from(map(&mut ebpf, MAP_DROP_LAYOUT)?).map_err(failed)?;
        array.set(0, Wire(layout), 0).map_err(failed)?;
        let mut wanted: HashMap<_, Wire<Address>, u32> =
            HashMap::try_from(map(&mut ebpf, MAP_DROP_ADDRESSES)?).map_err(failed)?;
        for &address in addresses {
            wanted.insert(Wire(Address::from(address)), 1, 0).map_err(failed)?;
        }
        let ring = RingBuf::try_from(map(&mut ebpf, MAP_DROPS)?).map_err(failed)?;
        let program: &mut RawTracePoint = ebpf
            .program_mut(DROPS_PROGRAM)
            .and_then(|program| program.try_into().ok())
            .ok_or("the program is missing")?;
        let no_leave = |error: aya::programs::ProgramError| {
            format!("the program that listens is refused (it takes root): {error}")
        };
        program.load().map_err(no_leave)?;
        program.attach("kfree_skb").map_err(no_leave)?;
        // That takes a while, in which a packet would be told without what was said of it.
        let symbols = Symbols::read();
        Ok(Self { _ebpf: ebpf, ring, reasons, symbols })
    }

    /// The next packet that was dropped; `None` where there is none at the moment.
    pub fn read(&mut self) -> Option<KernelDrop> {
        loop {
            let record = {
                let item = self.ring.next()?;
                bytemuck::try_pod_read_unaligned::<DropRecord>(&item).ok()
            };
            let Some(record) = record else { continue };
            let Some(packet) = Packet::of_ip(&record.headers) else { continue };
            return Some(KernelDrop {
                time_ns: record.time_ns,
                reason: self.reason(record.reason),
                function: self.symbols.of(record.location),
                ifindex: record.ifindex,
                netns: record.netns.into(),
                packet,
            });
        }
    }

    /// The kernel's word, without what all of them begin with.
    fn reason(&self, number: u32) -> String {
        match self.reasons.get(&number) {
            Some(name) => name.trim_start_matches("SKB_DROP_REASON_").into(),
            // Of a part of the kernel that has a list of its own.
            None => format!("reason {number:#x}"),
        }
    }
}

impl AsFd for Drops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the map whose descriptor this is, for as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

fn layout(btf: &Btf) -> Option<DropLayout> {
    Some(DropLayout {
        head: btf.offset_of("sk_buff", "head")?,
        network_header: btf.offset_of("sk_buff", "network_header")?,
        dev: btf.offset_of("sk_buff", "dev")?,
        ifindex: btf.offset_of("net_device", "ifindex")?,
        net: btf.offset_of("net_device", "nd_net")?,
        inum: btf.offset_of("net", "ns")? + btf.offset_of("ns_common", "inum")?,
    })
}

/// The kernel's functions by their addresses.
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// None where they are not shown to us.
    fn read() -> Self {
        Self(parse_symbols(&fs::read_to_string("/proc/kallsyms").unwrap_or_default()))
    }

    fn of(&self, address: u64) -> Option<String> {
        self.0.range(..=address).next_back().map(|(_, name)| name.clone())
    }
}

/// Lines of `ADDRESS KIND NAME [MODULE]`; those of code, whose addresses are shown to us.
fn parse_symbols(text: &str) -> BTreeMap<u64, String> {
    let symbol = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address > 0)?;
        let code = matches!(words.next()?, "t" | "T" | "w" | "W");
        let name = words.next()?;
        // The compiler's own variants: `ip_rcv_core.isra.0`.
        let name = name.split_once('.').map_or(name, |(name, _)| name);
        code.then(|| (address, name.to_owned()))
    };
    text.lines().filter_map(symbol).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_kernel_is_in_the_function_before_it() {
        let text = "ffff0010 T ip_rcv\nffff0020 d data\nffff0030 t nf_hook_slow.isra.0\t[nf]\n\
                    0000000000000000 T hidden\nbroken";
        let symbols = Symbols(parse_symbols(text));
        let of = [0xffff_0010, 0xffff_002f, 0xffff_0040, 5].map(|address| symbols.of(address));
        let of = of.map(|name| name.unwrap_or_default());
        assert_eq!(of, ["ip_rcv", "ip_rcv", "nf_hook_slow", ""]);
    }
}
