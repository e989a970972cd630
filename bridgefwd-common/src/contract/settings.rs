//! Settings of the whole program.

use bytemuck::{Pod, Zeroable};

use super::flow_state::FlowState;

/// What happens to packets of a pair that is neither allowed nor denied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Unlisted {
    /// They are the kernel's, as if we were absent.
    Kernel = 0,
    /// They are dropped.
    Deny = 1,
}

impl Unlisted {
    /// From the word in the map; what is unknown denies.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Kernel,
            _ => Self::Deny,
        }
    }
}

/// Room for the timeouts of all states: a power of two, so that masking an index keeps it in bounds.
pub const TIMEOUTS: usize = 16;
const _: () = assert!(FlowState::COUNT <= TIMEOUTS);

/// The one element of `SETTINGS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct Settings {
    /// [`ABI_VERSION`](super::ABI_VERSION) of whoever made the maps.
    pub abi: u32,
    /// An [`Unlisted`].
    pub unlisted: u32,
    /// Seconds without a packet after which a flow is over, by [`FlowState`]; the rest is zero.
    pub timeouts_s: [u32; TIMEOUTS],
    /// How many slots `FLOWS` has.
    pub max_flows: u32,
    /// First port of the host's `ip_local_port_range`, host order: not used for translation.
    pub local_port_first: u16,
    /// Last port of it, inclusive.
    pub local_port_last: u16,
    /// Highest pair generation given out so far; only the daemon reads and writes it.
    pub pair_generation: u32,
    /// Highest key of `POOLS` given out so far; only the daemon reads and writes it.
    pub last_pool: u32,
    /// How many flows one source can have: see [`SourceKey`](super::SourceKey).
    pub max_flows_per_source: u32,
    /// The smallest of the ends' [`route_mtu`](super::Interface::route_mtu) and `route_mtu_v6`; 0 where
    /// all are 0.
    pub smallest_route_mtu: u32,
}

const _: () = assert!(size_of::<Settings>() == 96);

impl Settings {
    /// The timers that are in force where nothing else is said, in seconds.
    ///
    /// UDP: RFC 4787 REQ-5. ICMP: RFC 5508 REQ-2. TCP: RFC 5382 REQ-5 (established at least 2 h
    /// 4 min, transitory at least 4 min).
    pub const DEFAULT_TIMEOUTS_S: [u32; TIMEOUTS] = {
        let mut timeouts = [0; TIMEOUTS];
        timeouts[FlowState::UdpOneWay as usize] = 120;
        timeouts[FlowState::UdpTwoWay as usize] = 300;
        timeouts[FlowState::Icmp as usize] = 60;
        timeouts[FlowState::TcpOpening as usize] = 240;
        timeouts[FlowState::TcpAnswered as usize] = 240;
        timeouts[FlowState::TcpEstablished as usize] = 7440;
        timeouts[FlowState::TcpFinOriginal as usize] = 7440;
        timeouts[FlowState::TcpFinReply as usize] = 7440;
        timeouts[FlowState::TcpClosed as usize] = 240;
        timeouts[FlowState::TcpReset as usize] = 240;
        timeouts
    };
}
