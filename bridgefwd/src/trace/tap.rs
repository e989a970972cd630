//! Sockets that see what an interface receives and sends, with the time at which the kernel handled it.

use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::path::Path;

use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

use crate::failure::{Failure, Result};
use crate::host::netns;

const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();
/// A burst must not be lost while nobody reads.
const BUFFER_BYTES: usize = 8 << 20;
/// The largest frame that there is: 64 KiB, its Ethernet header, and tags.
pub const LARGEST_FRAME: usize = (1 << 16) + 64;
/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: frames begin with an Ethernet header.
const ETHERNET: [u16; 2] = [1, 772];

/// One such socket, at an interface.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
}

/// What it saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// When: ns since 1970.
    pub time_ns: u64,
    /// Was it sent by the interface, rather than received?
    pub out: bool,
    /// Does it begin with an Ethernet header, rather than with that of IP?
    pub ethernet: bool,
    /// How many of the bytes in the buffer it is.
    pub length: usize,
}

impl Tap {
    /// Opens one at the interface of that number, in the network namespace `path` or that of the calling
    /// thread, for packets from or to any of `addresses`. It sees what comes after this returns.
    ///
    /// # Errors
    ///
    /// No permission (it takes `CAP_NET_RAW`), or the interface has gone.
    pub fn open(ifindex: u32, path: Option<&Path>, addresses: &[IpAddr]) -> Result<Self> {
        let open = || Self::here(ifindex, addresses);
        match path {
            None => open(),
            Some(path) => netns::run_in(path, open)?,
        }
        .map_err(|error: io::Error| {
            let hint = if error.kind() == io::ErrorKind::PermissionDenied {
                ": tracing takes root (CAP_NET_RAW, and CAP_SYS_ADMIN for containers)"
            } else {
                ""
            };
            Failure::failed(format!("cannot watch interface {ifindex}: {error}{hint}"))
        })
    }

    fn here(ifindex: u32, addresses: &[IpAddr]) -> io::Result<Self> {
        // Protocol 0: deaf until it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // Past the limit that users have, where that is allowed.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.set_nonblocking(true)?;
        let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
        // SAFETY: sockaddr_ll is plain data, for which zeros are valid, and sockaddr_storage has room
        // for it.
        let (_, address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                address.write(std::mem::zeroed());
                (*address).sll_family = libc::AF_PACKET as u16;
                (*address).sll_protocol = EVERY_PROTOCOL;
                (*address).sll_ifindex = ifindex;
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }?;
        socket.attach_filter(&filter(addresses))?;
        socket.bind(&address)?;
        Ok(Self { socket })
    }

    /// The next frame, into `buffer`; `None` where there is none at the moment.
    ///
    /// # Errors
    ///
    /// The interface has gone down, or away.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
        let message = match message {
            Ok(message) => message,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let time = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        });
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let time =
            time.map_or(0, |time| number(time.tv_sec()) * 1_000_000_000 + number(time.tv_nsec()));
        let from = message.address;
        Ok(Some(Frame {
            time_ns: time,
            out: from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING),
            ethernet: from.is_none_or(|from| ETHERNET.contains(&from.hatype())),
            length: message.bytes,
        }))
    }

    /// How many frames it had no room for since this was asked last.
    #[must_use]
    pub fn missed(&self) -> u32 {
        let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: `counts` is what this option is answered with, of the length that is passed.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut length,
            )
        };
        if result == 0 { counts.tp_drops } else { 0 }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

// Classic BPF, as far as it is needed here: <linux/filter.h>.
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the network header begins, whatever is before it (`SKF_NET_OFF`).
const NETWORK: u32 = -0x0010_0000_i32 as u32;
const LOAD_BYTE: u16 = 0x30;
const SHIFT_RIGHT: u16 = 0x74;

/// Lets packets through that one of `addresses` is the source or the destination of.
fn filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let load = |offset: u32| SockFilter::new(LOAD_WORD, 0, 0, NETWORK.wrapping_add(offset));
    let mut code = Vec::new();
    // Each address is a block of its own: whatever does not match goes on behind it.
    for address in addresses {
        let (version, places, words): (u32, [u32; 2], Vec<u32>) = match address {
            IpAddr::V4(v4) => (4, [12, 16], vec![v4.to_bits()]),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                let word = |shift: u32| (bits >> shift) as u32;
                (6, [8, 24], vec![word(96), word(64), word(32), word(0)])
            }
        };
        let mut block = Vec::new();
        for place in places {
            let count = words.len();
            for (index, word) in words.iter().enumerate() {
                block.push(load(place + 4 * index as u32));
                // Over the rest of this comparison, and over the answer behind it.
                let over = 2 * (count - index - 1) + 1;
                block.push(SockFilter::new(JUMP_EQUAL, 0, over as u8, *word));
            }
            block.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
        }
        code.push(SockFilter::new(LOAD_BYTE, 0, 0, NETWORK));
        code.push(SockFilter::new(SHIFT_RIGHT, 0, 0, 4));
        code.push(SockFilter::new(JUMP_EQUAL, 0, block.len() as u8, version));
        code.append(&mut block);
    }
    code.push(SockFilter::new(RETURN, 0, 0, 0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_short_enough_to_jump_in() {
        let all = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])];
        let code = filter(&all);
        assert_eq!(code.len(), (3 + 6) + (3 + 18) + 1);
        assert_eq!(filter(&[]).len(), 1);
    }
}
