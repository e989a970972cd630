//! A host's end of its cable in the hands of the test: frames are sent as written, and read without
//! a thread.

use std::mem::{MaybeUninit, zeroed};
use std::os::fd::AsRawFd as _;

use socket2::Socket;

use crate::link_layer;
use crate::namespaces::Namespace;

/// Room for the largest frame.
const LARGEST: usize = 1 << 17;

/// A raw socket on one interface that keeps what arrives until it is asked for it.
pub struct Tap {
    socket: Socket,
}

impl Tap {
    /// Opens it on `interface` of `ns`: what arrives after this returns is kept.
    #[must_use]
    pub fn new(ns: &Namespace, interface: &str) -> Self {
        let socket = link_layer::open(ns, interface);
        socket.set_nonblocking(true).expect("non-blocking");
        socket.set_recv_buffer_size(8 << 20).expect("buffer");
        let on: libc::c_int = 1;
        // SAFETY: the option's value is the integer that the pointer and the length describe.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_AUXDATA,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        assert_eq!(done, 0, "VLAN tags beside the frames: {}", std::io::Error::last_os_error());
        Self { socket }
    }

    /// Sends one frame, from the Ethernet header on.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.socket.send(frame).expect("frame sent"), frame.len());
    }

    /// What has arrived since the last time, without waiting; not what the interface itself sent.
    /// The kernel keeps a VLAN tag beside the frame: here it is in it, as on the wire.
    #[must_use]
    pub fn drain(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; LARGEST];
        let mut frames = Vec::new();
        while let Some((length, outgoing, tag)) = self.receive(&mut buffer) {
            if !outgoing {
                let mut frame = buffer[..length].to_vec();
                if let Some(tag) = tag {
                    frame.splice(12..12, tag);
                }
                frames.push(frame);
            }
        }
        frames
    }

    /// One frame: its length, whether the interface sent it, and its VLAN tag.
    fn receive(&self, buffer: &mut [u8]) -> Option<(usize, bool, Option<[u8; 4]>)> {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = [MaybeUninit::<u64>::uninit(); 16];
        // SAFETY: both are plain data, for which zeros are valid.
        let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) =
            unsafe { (zeroed(), zeroed()) };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of_val(&from) as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: every pointer of `message` is to a value that lives until after the call, with its
        // own length.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(length).ok()?;
        let mut tag = None;
        // SAFETY: the kernel has filled in `message` and its control buffer, which is aligned for
        // headers; the walk stays inside it, and auxiliary data is read unaligned.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(found) = header.as_ref() {
                if (found.cmsg_level, found.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                    let data = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>();
                    tag = tag_of(&data.read_unaligned());
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        Some((length, from.sll_pkttype == libc::PACKET_OUTGOING, tag))
    }
}

/// The VLAN tag that the kernel keeps beside a frame.
fn tag_of(data: &libc::tpacket_auxdata) -> Option<[u8; 4]> {
    let known = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = if known { data.tp_vlan_tpid } else { 0x8100 };
    let [[a, b], [c, d]] = [protocol, data.tp_vlan_tci].map(u16::to_be_bytes);
    (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
}
