//! The flowtables of nftables, asked of the kernel: on an interface that has one, what it has taken
//! over goes by no rule any more.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlaBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::netlink::messages;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETFLOWTABLE`.
const GET_FLOWTABLES: u16 = 10 << 8 | 23;
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWFLOWTABLE`, by which each is answered.
const FLOWTABLE: u16 = 10 << 8 | 22;
/// Header of the message, and of netfilter's part of it: family, version, resource.
const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// `NFTA_FLOWTABLE_NAME`, `NFTA_FLOWTABLE_HOOK`, `NFTA_FLOWTABLE_HOOK_DEVS`.
const NAME: u16 = 2;
const HOOK: u16 = 3;
const DEVICES: u16 = 3;
const RECEIVE_BYTES: usize = 128 * 1024;

/// One flowtable.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flowtable {
    /// Its name.
    pub name: String,
    /// Names of the interfaces that it is on.
    pub devices: Vec<String>,
}

/// All of this network namespace.
///
/// # Errors
///
/// The kernel's error; asking takes `CAP_NET_ADMIN`.
pub fn list() -> io::Result<Vec<Flowtable>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let flags = NLM_F_REQUEST | NLM_F_DUMP | NLM_F_ACK;
    let mut request = Vec::with_capacity(HEADER_BYTES + FAMILY_BYTES);
    request.extend_from_slice(&((HEADER_BYTES + FAMILY_BYTES) as u32).to_ne_bytes());
    request.extend_from_slice(&GET_FLOWTABLES.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    // Sequence number and port, then every family.
    request.extend_from_slice(&[0; 8 + FAMILY_BYTES]);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        for message in messages(&buffer) {
            match NetlinkBuffer::new_checked(message).map_err(io::Error::other)?.message_type() {
                FLOWTABLE => found.push(flowtable(message)),
                DONE => return Ok(found),
                ERROR => return failed(message).map_or(Ok(found), Err),
                _ => {}
            }
        }
    }
}

/// The error that a message tells; 0 says that there is none.
fn failed(message: &[u8]) -> Option<io::Error> {
    let code = message.get(HEADER_BYTES..HEADER_BYTES + 4)?;
    let code = i32::from_ne_bytes(code.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

fn flowtable(message: &[u8]) -> Flowtable {
    let mut table = Flowtable::default();
    for attribute in attributes(message.get(HEADER_BYTES + FAMILY_BYTES..).unwrap_or_default()) {
        match attribute.kind() {
            NAME => table.name = word(attribute.value()),
            HOOK => {
                for part in attributes(attribute.value()).filter(|part| part.kind() == DEVICES) {
                    let devices = attributes(part.value());
                    table.devices.extend(devices.map(|device| word(device.value())));
                }
            }
            _ => {}
        }
    }
    table
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// Text up to the zero that ends it.
fn word(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len();
        let mut bytes = Vec::from((length as u16).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_flowtable_is_read() {
        const NESTED: u16 = 0x8000;
        let devices = [attribute(1, b"eth0\0"), attribute(1, b"br0\0")].concat();
        let hook = [attribute(1, &[0; 4]), attribute(DEVICES | NESTED, &devices)].concat();
        let parts = [
            attribute(1, b"filter\0"),
            attribute(NAME, b"fast\0"),
            attribute(HOOK | NESTED, &hook),
        ];
        let message = [vec![0; HEADER_BYTES + FAMILY_BYTES], parts.concat()].concat();
        let table = flowtable(&message);
        assert_eq!(
            table,
            Flowtable { name: "fast".into(), devices: vec!["eth0".into(), "br0".into()] }
        );
        assert_eq!(flowtable(&[]), Flowtable::default());
    }

    #[test]
    fn an_error_is_told() {
        let message = |code: i32| [vec![0; HEADER_BYTES], code.to_ne_bytes().to_vec()].concat();
        assert!(failed(&message(0)).is_none());
        assert_eq!(failed(&message(-1)).unwrap().kind(), io::ErrorKind::PermissionDenied);
    }
}
