//! Raw IP sockets of either family: ICMP with its errors, and protocols that nobody else speaks.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::namespaces::Namespace;
use crate::site::Family;
use crate::sockets::{IntOption, uninterrupted};
use crate::view::internet_checksum;
use crate::wait::PATIENCE;

/// A raw socket for one protocol.
pub struct Raw {
    socket: Socket,
    family: Family,
}

/// What arrived, from the header after IP's on.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its source.
    pub from: IpAddr,
    /// For ICMP: type, code, checksum, and so on.
    pub bytes: Vec<u8>,
    family: Family,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted {
    /// Its source; for echo the port is the identifier, as in `dst`.
    pub src: SocketAddr,
    /// Its destination.
    pub dst: SocketAddr,
    /// Its protocol.
    pub protocol: u8,
}

/// An ICMP error that means the same in both families.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IcmpError {
    /// The last hop was used up on the way.
    TimeExceeded,
    /// Nobody has that address.
    HostUnreachable,
    /// Nobody listens on that port.
    PortUnreachable,
    /// Larger than this MTU.
    TooBig(u32),
}

impl Raw {
    /// For an IP protocol: 47 is GRE.
    #[must_use]
    #[track_caller]
    pub fn open(ns: &Namespace, family: Family, protocol: u8) -> Self {
        let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = Protocol::from(i32::from(protocol));
        let socket = ns.run(|| Socket::new(domain, Type::RAW, Some(protocol)).expect("raw socket"));
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        socket.set_recv_buffer_size(4 << 20).expect("buffer");
        Self { socket, family }
    }

    /// For ICMP or ICMPv6.
    #[must_use]
    #[track_caller]
    pub fn icmp(ns: &Namespace, family: Family) -> Self {
        Self::open(ns, family, if family == Family::V4 { 1 } else { 58 })
    }

    /// Every packet goes this many hops.
    pub fn set_hops(&self, hops: i32) {
        IntOption::hops(self.any()).set(&self.socket, hops);
    }

    /// Sends a packet: these bytes after the IP header.
    #[track_caller]
    pub fn send(&self, to: IpAddr, bytes: &[u8]) {
        let sent = self.socket.send_to(bytes, &SocketAddr::new(to, 0).into()).expect("sent");
        assert_eq!(sent, bytes.len());
    }

    /// Sends an echo request.
    #[track_caller]
    pub fn send_echo(&self, to: IpAddr, id: u16, sequence: u16, payload: &[u8]) {
        let kind = if self.family == Family::V4 { 8 } else { 128 };
        let mut message = vec![kind, 0, 0, 0];
        message.extend([id, sequence].map(u16::to_be_bytes).concat());
        message.extend(payload);
        if self.family == Family::V4 {
            // ICMPv6's is the kernel's to compute.
            let sum = internet_checksum(&[&message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.send(to, &message);
    }

    /// Waits for a packet that `pick` makes something of, for at most `patience`.
    pub fn wait_within<T>(
        &self,
        patience: Duration,
        mut pick: impl FnMut(&Received) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        while Instant::now() < deadline {
            match uninterrupted(|| self.socket.recv_from(&mut buffer)) {
                Ok((length, from)) => {
                    // SAFETY: the kernel has written the first `length` bytes.
                    let bytes = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() });
                    let mut bytes: Vec<u8> = bytes.collect();
                    if self.family == Family::V4 {
                        bytes.drain(..usize::from(bytes[0] & 15) * 4);
                    }
                    let from = from.as_socket().expect("an address").ip();
                    let received = Received { from, bytes, family: self.family };
                    if let Some(picked) = pick(&received) {
                        return Some(picked);
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("raw socket: {error}"),
            }
        }
        None
    }

    /// As [`Raw::wait_within`], for [`PATIENCE`]; panics with `what` when it is over.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, pick: impl FnMut(&Received) -> Option<T>) -> T {
        self.wait_within(PATIENCE, pick).unwrap_or_else(|| panic!("waited in vain: {what}"))
    }

    /// Pings once. Was it answered, with the same payload, within `patience`?
    #[track_caller]
    pub fn ping(
        &self,
        to: IpAddr,
        id: u16,
        sequence: u16,
        payload: &[u8],
        patience: Duration,
    ) -> bool {
        self.send_echo(to, id, sequence, payload);
        self.wait_within(patience, |received| {
            let same = received.echo_reply() == Some((id, sequence)) && received.from == to;
            (same && received.bytes[8..] == *payload).then_some(())
        })
        .is_some()
    }

    /// Waits for an ICMP error about a packet to `dst`: which, from whom, and what it quotes.
    #[track_caller]
    pub fn wait_error(&self, dst: SocketAddr) -> (IcmpError, IpAddr, Quoted) {
        self.wait(&format!("an ICMP error about a packet to {dst}"), |received| {
            let (error, quoted) = received.error()?;
            (quoted.dst == dst).then_some((error, received.from, quoted))
        })
    }

    fn any(&self) -> IpAddr {
        self.family.unspecified()
    }
}

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Received {
    /// Identifier and sequence number of an echo request.
    #[must_use]
    pub fn echo_request(&self) -> Option<(u16, u16)> {
        self.echo(if self.family == Family::V4 { 8 } else { 128 })
    }

    /// Identifier and sequence number of an echo reply.
    #[must_use]
    pub fn echo_reply(&self) -> Option<(u16, u16)> {
        self.echo(if self.family == Family::V4 { 0 } else { 129 })
    }

    fn echo(&self, kind: u8) -> Option<(u16, u16)> {
        (*self.bytes.first()? == kind).then(|| (self.word(4), self.word(6)))
    }

    /// The error that this is, and what it is about.
    #[must_use]
    pub fn error(&self) -> Option<(IcmpError, Quoted)> {
        let kind_and_code = (*self.bytes.first()?, self.bytes[1]);
        let error = match (self.family, kind_and_code) {
            (Family::V4, (11, 0)) | (Family::V6, (3, 0)) => IcmpError::TimeExceeded,
            (Family::V4, (3, 1)) | (Family::V6, (1, 3)) => IcmpError::HostUnreachable,
            (Family::V4, (3, 3)) | (Family::V6, (1, 4)) => IcmpError::PortUnreachable,
            (Family::V4, (3, 4)) => IcmpError::TooBig(self.word(6).into()),
            (Family::V6, (2, 0)) => {
                IcmpError::TooBig(u32::from(self.word(4)) << 16 | u32::from(self.word(6)))
            }
            _ => return None,
        };
        Some((error, self.quoted()?))
    }

    fn quoted(&self) -> Option<Quoted> {
        let ip = self.bytes.get(8..)?;
        let (protocol, src, dst, transport): (u8, IpAddr, IpAddr, &[u8]) = match self.family {
            Family::V4 => {
                let address = |at: usize| {
                    let bytes: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
                    Some(Ipv4Addr::from(bytes))
                };
                let transport = ip.get(usize::from(ip.first()? & 15) * 4..)?;
                (*ip.get(9)?, address(12)?.into(), address(16)?.into(), transport)
            }
            Family::V6 => {
                let address = |at: usize| {
                    let bytes: [u8; 16] = ip.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(bytes))
                };
                (*ip.get(6)?, address(8)?.into(), address(24)?.into(), ip.get(40..)?)
            }
        };
        let word =
            |at: usize| Some(u16::from_be_bytes(transport.get(at..at + 2)?.try_into().ok()?));
        // The identifier of an echo is its second word.
        let (src_port, dst_port) =
            if matches!(protocol, 1 | 58) { (word(4)?, word(4)?) } else { (word(0)?, word(2)?) };
        Some(Quoted {
            src: SocketAddr::new(src, src_port),
            dst: SocketAddr::new(dst, dst_port),
            protocol,
        })
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }
}
