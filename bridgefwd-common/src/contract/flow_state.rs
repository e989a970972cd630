//! Where flows are in their life.

/// Where a flow is in its life; decides its timeout and what packets may do to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum FlowState {
    /// The slot is free.
    Free = 0,
    /// UDP or another protocol without connections, no answer yet.
    UdpOneWay = 1,
    /// UDP or another protocol without connections, answered.
    UdpTwoWay = 2,
    /// An ICMP query.
    Icmp = 3,
    /// TCP, SYN seen, no answer yet.
    TcpOpening = 4,
    /// TCP, SYN answered.
    TcpAnswered = 5,
    /// TCP, handshake complete.
    TcpEstablished = 6,
    /// TCP, FIN seen in the original direction only.
    TcpFinOriginal = 7,
    /// TCP, FIN seen in the reply direction only.
    TcpFinReply = 8,
    /// TCP, FIN seen in both directions.
    TcpClosed = 9,
    /// TCP, RST seen.
    TcpReset = 10,
}

impl FlowState {
    /// How many states there are.
    pub const COUNT: usize = 11;
    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Free,
        Self::UdpOneWay,
        Self::UdpTwoWay,
        Self::Icmp,
        Self::TcpOpening,
        Self::TcpAnswered,
        Self::TcpEstablished,
        Self::TcpFinOriginal,
        Self::TcpFinReply,
        Self::TcpClosed,
        Self::TcpReset,
    ];

    /// From the byte in the map; what is unknown is free.
    #[inline(always)]
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::UdpOneWay,
            2 => Self::UdpTwoWay,
            3 => Self::Icmp,
            4 => Self::TcpOpening,
            5 => Self::TcpAnswered,
            6 => Self::TcpEstablished,
            7 => Self::TcpFinOriginal,
            8 => Self::TcpFinReply,
            9 => Self::TcpClosed,
            10 => Self::TcpReset,
            _ => Self::Free,
        }
    }

    /// The name that users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::UdpOneWay => "one_way",
            Self::UdpTwoWay => "two_way",
            Self::Icmp => "echo",
            Self::TcpOpening => "opening",
            Self::TcpAnswered => "answered",
            Self::TcpEstablished => "established",
            Self::TcpFinOriginal | Self::TcpFinReply => "half_closed",
            Self::TcpClosed => "closed",
            Self::TcpReset => "reset",
        }
    }
}
