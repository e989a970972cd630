//! The one list of outcomes: every packet that the program sees ends under exactly one of them.

/// What happens to a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Translated and sent on by us.
    Redirect,
    /// Left to the kernel, untouched.
    Pass,
    /// Gone.
    Drop,
    /// Kept by us until it can go on; what comes of it then is counted under another reason.
    Hold,
}

impl Verdict {
    /// The name that users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Hold => "hold",
        }
    }
}

/// Declares [`Reason`] with its number, name, verdict and explanation side by side, so that none
/// can be forgotten.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $verdict:ident;)+) => {
        /// Why a packet ended as it did. Numbers are stable: append, never reuse.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// All reasons, by number, from 1 on.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name that users see, in JSON and in tables.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }

            /// What happens to the packet.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self {
                    $(Self::$variant => Verdict::$verdict,)+
                }
            }
        }
    };
}

reasons! {
    /// Forwarded in the flow's original direction.
    Forwarded = 1, "forwarded", Redirect;
    /// Forwarded in the flow's reply direction.
    ForwardedReply = 2, "forwarded_reply", Redirect;
    /// Opened a flow and was forwarded.
    FlowCreated = 3, "flow_created", Redirect;

    /// Arrived on an interface that is not managed (any more).
    NotManaged = 4, "not_managed", Pass;
    /// Carries a VLAN tag.
    VlanTagged = 5, "vlan_tagged", Pass;
    /// Neither IPv4 nor IPv6: ARP for instance.
    NotIp = 6, "not_ip", Pass;
    /// Neighbour discovery and multicast listener messages of IPv6: between neighbours, never forwarded.
    NeighbourDiscovery = 7, "neighbour_discovery", Pass;
    /// Not addressed to the router's MAC: switched within the bridge, broadcast or multicast.
    NotForRouter = 8, "not_for_router", Pass;
    /// Not forwarded: for the host's own addresses, broadcast, multicast, or nowhere; the kernel's.
    NotForwarded = 9, "not_forwarded", Pass;
    /// Leaves by the end that it came in by.
    SameEnd = 10, "same_end", Pass;
    /// Leaves by an interface that is not managed.
    TargetNotManaged = 11, "target_not_managed", Pass;
    /// The pair is not listed, and what is not listed is the kernel's.
    NotListed = 12, "not_listed", Pass;
    /// The route says unreachable, prohibit or blackhole; the kernel answers.
    Unreachable = 13, "unreachable", Pass;
    /// The kernel does not forward (ip_forward is 0).
    ForwardingDisabled = 14, "forwarding_disabled", Pass;
    /// Last hop: the kernel answers time exceeded.
    TtlExpired = 15, "ttl_expired", Pass;
    /// Larger than the way out allows, with don't-fragment; the kernel answers fragmentation needed.
    TooBig = 16, "too_big", Pass;
    /// A piece of a packet whose first piece was translated, forwarded like it.
    ForwardedFragment = 17, "forwarded_fragment", Redirect;
    /// Has options or extension headers that cannot be read: the kernel answers.
    IpOptions = 18, "ip_options", Pass;
    /// An ICMP error about a packet of a flow, translated and forwarded.
    ForwardedIcmpError = 19, "forwarded_icmp_error", Redirect;
    /// An ICMP message that no flow can be made of: neither echo nor an error.
    IcmpUnsupported = 20, "icmp_unsupported", Drop;
    /// TCP without SYN and without a flow: a connection from before we started is the kernel's.
    TcpNotOpening = 21, "tcp_not_opening", Pass;

    /// The pair is denied.
    PairDenied = 22, "pair_denied", Drop;
    /// The pair is not listed, and what is not listed is denied.
    UnlistedDenied = 23, "unlisted_denied", Drop;
    /// The source address does not belong to the end that the packet came in by.
    SourceNotOfEnd = 24, "source_not_of_end", Drop;
    /// Belongs to a flow of another end.
    WrongEnd = 25, "wrong_end", Drop;
    /// The IPv4 header is malformed: version, lengths or checksum.
    MalformedIp = 26, "malformed_ip", Drop;
    /// The transport header is malformed or cut off.
    MalformedTransport = 27, "malformed_transport", Drop;
    /// TCP without SYN and without a flow, and what is not listed is denied.
    TcpNotOpeningDenied = 28, "tcp_not_opening_denied", Drop;
    /// Belongs to a flow whose pair was turned off or got another NAT.
    FlowCut = 29, "flow_cut", Drop;
    /// The flow table is full, and nothing in it is over.
    TableFull = 30, "table_full", Drop;
    /// No source port is free for this server.
    NoPortLeft = 31, "no_port_left", Drop;
    /// The target has no address to masquerade to.
    NoNatAddress = 32, "no_nat_address", Drop;
    /// An ICMP error that is larger than the way out allows, and may not be cut to pieces: nobody is told.
    TooBigTranslated = 33, "too_big_translated", Drop;
    /// The flow's way does not lead where it led when it was opened.
    RouteChanged = 34, "route_changed", Drop;
    /// A rewrite or redirect failed half-way.
    WriteFailed = 35, "write_failed", Drop;
    /// The flow changed hands on another CPU at this very moment; a retransmission will do.
    FlowContended = 36, "flow_contended", Drop;
    /// An ICMP error of a flow whose TTL is used up: nobody is told.
    TtlExpiredReply = 37, "ttl_expired_reply", Drop;
    /// An ICMP error about a packet that no flow sent.
    IcmpError = 38, "icmp_error_unrelated", Drop;
    /// An ICMP message whose checksum does not hold, or whose inner packet cannot be read.
    IcmpMalformed = 39, "icmp_malformed", Drop;
    /// A piece of a packet whose first piece has not been seen.
    FragmentUnknown = 40, "fragment_unknown", Drop;
    /// A part of the program is not loaded, which `run` mends.
    ProgramMissing = 41, "program_missing", Drop;
    /// Belongs to a flow, but its options or extension headers cannot be read.
    OptionsInFlow = 42, "options_in_flow", Drop;
    /// The kernel forwards it, or answers it, and we translate it on its way: options, extension headers, too big, last hop.
    ThroughKernel = 43, "through_kernel", Pass;
    /// Says itself by which way it wants to go: never forwarded.
    SourceRouted = 44, "source_routed", Drop;
    /// A piece of a packet, kept until the other pieces are there.
    FragmentHeld = 45, "fragment_held", Hold;
    /// A piece that overlaps another one: the whole packet is dropped.
    FragmentOverlap = 46, "fragment_overlap", Drop;
    /// A piece that fits into no packet: its length or place cannot be.
    FragmentMalformed = 47, "fragment_malformed", Drop;
    /// No room to keep a piece: too many packets wait for their other pieces.
    FragmentsFull = 48, "fragments_full", Drop;
    /// TCP flags that no connection has.
    TcpFlagsInvalid = 49, "tcp_flags_invalid", Drop;
    /// A TCP segment outside the window of its connection.
    TcpOutOfWindow = 50, "tcp_out_of_window", Drop;
    /// Its source has had its share of the flow table.
    SourceOverQuota = 51, "source_over_quota", Drop;
    /// A source or destination address that no packet on a wire may have.
    Martian = 52, "martian", Drop;
    /// A copy of a packet that waits for its neighbour: the kernel had it to say so if nobody is there.
    NeighbourAsked = 53, "neighbour_asked", Drop;
    /// An exact repeat of a piece that is there already.
    FragmentRepeated = 54, "fragment_repeated", Drop;
    /// Left the host although its flow was over: it would have shown its inner source.
    EgressUntranslated = 55, "egress_untranslated", Drop;
    /// Would open or reset something, but its transport checksum is wrong.
    BadChecksum = 56, "bad_checksum", Drop;
}

impl Reason {
    /// How many counters there are: one for each reason, and the one of packets seen at 0.
    pub const COUNTERS: u32 = Self::ALL.len() as u32 + 1;

    /// The reason of that number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        Self::ALL.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_in_order() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index + 1, "{reason:?}");
            assert_eq!(Reason::from_number(*reason as u32), Some(*reason));
        }
        assert_eq!(Reason::from_number(0), None);
        assert_eq!(Reason::from_number(Reason::COUNTERS), None);
    }

    #[test]
    fn names_are_unique_and_snake_case() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            let name = reason.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            assert!(Reason::ALL.iter().skip(index + 1).all(|other| other.name() != name));
            assert!(reason.explanation().ends_with('.'), "{reason:?}");
        }
    }
}
