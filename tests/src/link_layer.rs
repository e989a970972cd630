//! Raw sockets on one interface (packet(7)).

use std::io;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::namespaces::Namespace;

const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Opens a raw socket bound to `interface` in `ns`. It receives from the moment that this returns,
/// and from no other interface.
pub(crate) fn open(ns: &Namespace, interface: &str) -> Socket {
    ns.run(|| {
        // Protocol 0: deaf until it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("raw socket");
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: `name` is a C string that lives until after the call.
        let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
        assert_ne!(ifindex, 0, "{interface}: {}", io::Error::last_os_error());
        // SAFETY: sockaddr_ll is plain data, for which zeros are valid, and sockaddr_storage has
        // room for it.
        let (_, address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                address.write(std::mem::zeroed());
                (*address).sll_family = libc::AF_PACKET as u16;
                (*address).sll_protocol = EVERY_PROTOCOL;
                (*address).sll_ifindex = ifindex as i32;
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }
        .expect("address");
        socket.bind(&address).expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        socket
    })
}

/// Was a frame with this address sent by the interface, rather than received?
pub(crate) fn is_outgoing(from: &SockAddr) -> bool {
    // SAFETY: the kernel fills in a sockaddr_ll for packet sockets, and SockAddr's storage is
    // larger than that.
    let address = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    address.sll_pkttype == libc::PACKET_OUTGOING
}
