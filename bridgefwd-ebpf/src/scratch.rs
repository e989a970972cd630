//! What is found out about a packet waits here for the next step: one element a CPU.
//!
//! So the steps can be programs, or functions, of their own, which the verifier checks once each and
//! whose stacks do not add up to more than it allows; such functions take the context and numbers
//! only. And what is held here is not spilled to a stack that has no room for it.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, Direction, Endpoint, FlowState, FragmentKey, Tuple};
use bridgefwd_common::decide::nat::PortChoice;
use bridgefwd_common::decide::reassembly::Piece;
use bridgefwd_common::packet::quoted::Quoted;

use crate::read::Packet;

/// Of no use to the daemon, so not among the maps of the contract.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// How many bytes of a message are summed at one time: what `bpf_csum_diff` takes.
pub const CHUNK: usize = 512;

/// What one packet's way through the program leaves for its next step.
#[repr(C)]
pub struct Scratch {
    /// The packet that is being judged.
    pub packet: Packet,
    /// Its addresses and ports as it arrived.
    pub original: Tuple,
    /// Those that it leaves with, where that was decided; of a new flow, all but its source.
    pub leaving: Tuple,
    /// The source address that a new flow leaves with.
    pub source: Address,
    /// The NAT mode of its pair, as it stands in the map.
    pub nat: u8,
    /// Flags of the new flow: see [`Flow`](bridgefwd_common::contract::Flow).
    pub flow_flags: u8,
    /// Of its endpoint-independent mapping: see [`mapping`](crate::mapping).
    pub mapping: u8,
    /// Does it turn back to somebody inside?
    pub turns_back: bool,
    /// The port that it really goes to: wire order.
    pub target_port: [u8; 2],
    /// The address that it really goes to.
    pub target: Address,
    /// ifindex of the end whose addresses it is translated to: `to`, or, where it turns back, the end
    /// that it would have left by.
    pub towards: u32,
    /// Key of the lock of `inner` while the flow is being made, else 0.
    pub held: u32,
    /// The inner endpoint, where it has a mapping.
    pub inner: Endpoint,
    /// Of a flow that is being released: the inner endpoint whose mapping it gives back.
    pub freed: Endpoint,
    /// And the outer one.
    pub freed_outer: Endpoint,
    /// The source ports it may leave with.
    pub ports: PortChoice,
    /// The state it begins in.
    pub state: FlowState,
    /// The TTL that the packet leaves with.
    pub ttl: u8,
    /// Which way the packet goes.
    pub direction: Direction,
    /// Does the kernel forward this packet, so that it is not redirected?
    pub through_kernel: bool,
    /// Is it known where the neighbour is?
    pub neighbour_known: bool,
    /// What the packet is counted under where it goes on.
    pub reason: Reason,
    /// Why it does not go on, where it does not.
    pub refused: Reason,
    /// Index of its pair.
    pub pair: u32,
    /// Generation of its pair.
    pub pair_generation: u32,
    /// ifindex of the end that the packet came in by.
    pub from: u32,
    /// ifindex of the bridge port that it came in by, or 0.
    pub port: u32,
    /// ifindex of the end it goes to.
    pub to: u32,
    /// The neighbour that it goes to.
    pub next_hop: Address,
    /// Its MAC address, of a packet of a flow that is known.
    pub neighbour_mac: [u8; 6],
    /// Bytes of the packet.
    pub bytes: u64,
    /// Filled in by `create::create`: the tuple that the flow's packets leave with.
    pub translated: Tuple,
    /// Filled in by `create::create`: the slot's generation that will be the flow's.
    pub generation: u32,
    /// A piece of a packet: by what it is known, and what there is to know of it.
    pub fragment_key: FragmentKey,
    /// See `fragment_key`.
    pub piece: Piece,
    /// What an ICMP error quotes, and the addresses that the error leaves with.
    pub quoted: Quoted,
    /// See `quoted`.
    pub outer: Tuple,
    /// What it shall show instead.
    pub shown: Tuple,
    /// Bytes of a message that are summed.
    pub chunk: [u32; CHUNK / 4],
    /// Kept from one opening to the next: a server for which this CPU found no port free, with the
    /// class of ports as source port.
    pub exhausted: Tuple,
    /// Until when it is not searched again: `CLOCK_MONOTONIC`, ns.
    pub exhausted_until_ns: u64,
}

impl Scratch {
    /// What a function that the verifier checks by itself answers: 1 where all went well, else 0, and the
    /// reason is in `refused`.
    #[inline(always)]
    pub fn answer(&mut self, outcome: Result<(), Reason>) -> u32 {
        match outcome {
            Ok(()) => 1,
            Err(reason) => {
                self.refused = reason;
                0
            }
        }
    }
}

/// This CPU's scratch memory.
#[inline(always)]
pub fn current() -> Option<&'static mut Scratch> {
    // SAFETY: this CPU's element of a preallocated array; nobody else has it while we run, and
    // each function holds one reference at a time.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
