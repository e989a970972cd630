//! One packet sent on purpose, from inside the sender's own namespace: an echo request, a connection that
//! is closed as soon as it stands, or a datagram.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type};
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::{ICMP, ICMP_V6, TCP, UDP};
use crate::failure::{Failure, Result};
use crate::host::netns;

/// How long a connection may take: the kernel sends a second SYN after a second.
const CONNECTING: Duration = Duration::from_millis(900);
/// What a datagram says.
const PAYLOAD: &[u8] = b"bridgefwd trace --probe";

/// What is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// IP protocol number: TCP, UDP or ICMP.
    pub protocol: u8,
    /// Whom to.
    pub to: IpAddr,
    /// To which port.
    pub port: u16,
}

impl Probe {
    /// Sends it from the namespace `path`, or that of the calling thread. What becomes of it is another
    /// question: a refusal, or silence, is no error.
    ///
    /// # Errors
    ///
    /// Nothing could be sent.
    pub fn send(&self, path: Option<&Path>) -> Result<()> {
        let send = || match self.protocol {
            TCP => self.connect(),
            UDP => self.datagram(),
            ICMP | ICMP_V6 => self.echo(),
            other => Err(io::Error::other(format!("protocol {other} has no probe"))),
        };
        let sent = match path {
            None => send(),
            Some(path) => netns::run_in(path, send)?,
        };
        sent.map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => " (it has no route there)",
                _ => "",
            };
            Failure::failed(format!("the probe cannot be sent: {error}{hint}"))
        })
    }

    fn connect(&self) -> io::Result<()> {
        let address = SocketAddr::from((self.to, self.port));
        match TcpStream::connect_timeout(&address, CONNECTING) {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset => Ok(()),
                // The network's own word: it was sent, and came back with that.
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
                    if super::stations::source_towards(self.to).is_some() =>
                {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    fn datagram(&self) -> io::Result<()> {
        let any: IpAddr = if self.to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        by_its_firewall(socket.send_to(PAYLOAD, (self.to, self.port)).map(drop))
    }

    /// By a raw socket: others take a setting (`ping_group_range`) that many namespaces do not have.
    fn echo(&self) -> io::Result<()> {
        let id = std::process::id() as u16;
        let header = IcmpEchoHeader { id, seq: 1 };
        let (domain, protocol, begin) = if self.to.is_ipv4() {
            let echo = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(header), PAYLOAD);
            (Domain::IPV4, Protocol::ICMPV4, echo.to_bytes().to_vec())
        } else {
            // The kernel fills in the checksum.
            let echo = Icmpv6Header::new(Icmpv6Type::EchoRequest(header));
            (Domain::IPV6, Protocol::ICMPV6, echo.to_bytes().to_vec())
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        let request = [&begin, PAYLOAD].concat();
        let sent = socket.send_to(&request, &SocketAddr::from((self.to, 0)).into());
        by_its_firewall(sent.map(drop))
    }
}

/// What the sender's own firewall does not let out is a packet that is dropped, as any other.
fn by_its_firewall(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        sent => sent,
    }
}
