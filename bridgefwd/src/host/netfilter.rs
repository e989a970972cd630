//! Whether netfilter looks at frames that leave by bridges: rules of the `bridge` and `netdev` families,
//! and those of the older ebtables.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::net::{AddressFamily, SocketType, socket};

use super::btf::Btf;

/// `NFPROTO_NETDEV` and `NFPROTO_BRIDGE`.
const FAMILIES: [u8; 2] = [5, 7];
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE`, and the type of the answer.
const GET_TABLE: u16 = 0x0a01;
const NEW_TABLE: u16 = 0x0a00;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// Length of `struct nlmsghdr`, and of the request with its `struct nfgenmsg`.
const HEADER_LEN: usize = 16;
const REQUEST_LEN: usize = 20;
const RECEIVE_BYTES: usize = 64 * 1024;
/// Tables of ebtables that see what leaves.
const EBTABLES: [&str; 2] = ["filter", "nat"];
/// `EBT_SO_GET_INFO`, and what it answers: `struct ebt_replace`, whose number of entries is there.
const EBT_SO_GET_INFO: libc::c_int = 128;
const EBT_REPLACE_LEN: usize = 120;
const EBT_ENTRIES_AT: usize = 36;

/// Asks netfilter, without having the kernel load for that what nobody has used.
#[derive(Debug)]
pub struct BridgeRules {
    /// Are they part of the kernel rather than modules?
    nf_tables_built_in: bool,
    ebtables_built_in: bool,
}

impl BridgeRules {
    /// For the running kernel, by its type information.
    #[must_use]
    pub fn new(kernel: Option<&Btf>) -> Self {
        let has = |structure| kernel.is_some_and(|btf| btf.offset_of(structure, "name").is_some());
        Self { nf_tables_built_in: has("nft_table"), ebtables_built_in: has("ebt_table") }
    }

    /// Are there any in this network namespace?
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn are_there(&self) -> io::Result<bool> {
        if self.nf_tables_built_in || is_loaded("nf_tables") {
            for family in FAMILIES {
                if has_tables(family)? {
                    return Ok(true);
                }
            }
        }
        for table in EBTABLES {
            if (self.ebtables_built_in || is_loaded(&format!("ebtable_{table}")))
                && has_ebtables_rules(table)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// Has nftables a table of that family?
fn has_tables(family: u8) -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut request = Vec::with_capacity(REQUEST_LEN);
    request.extend((REQUEST_LEN as u32).to_ne_bytes());
    request.extend(GET_TABLE.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, 0, 0, 0]);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let mut found = false;
    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..];
        while let Some((kind, payload, behind)) = message(rest) {
            match kind {
                NEW_TABLE => found |= payload.first() == Some(&family),
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return refused(payload).map_or(Ok(found), Err),
                _ => {}
            }
            rest = behind;
        }
    }
}

/// The first message: its type, what it holds, and what comes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER_LEN..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Why the request was refused; not that there is no such family, or nothing to ask.
fn refused(payload: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    let unknown = [0, libc::EOPNOTSUPP, libc::EAFNOSUPPORT, libc::EINVAL, libc::ENOENT];
    (!unknown.contains(&-code)).then(|| io::Error::from_raw_os_error(-code))
}

/// Has that table of ebtables rules?
fn has_ebtables_rules(table: &str) -> io::Result<bool> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut replace = [0_u8; EBT_REPLACE_LEN];
    for (to, &from) in replace.iter_mut().zip(table.as_bytes()) {
        *to = from;
    }
    let mut length = EBT_REPLACE_LEN as libc::socklen_t;
    // SAFETY: the buffer is as long as it is said to be, and outlives the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            EBT_SO_GET_INFO,
            replace.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // No such table here.
            Some(libc::ENOENT | libc::ENOPROTOOPT | libc::EINVAL) => Ok(false),
            _ => Err(error),
        };
    }
    Ok(replace.get(EBT_ENTRIES_AT..EBT_ENTRIES_AT + 4).is_some_and(|count| count != [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_after_the_other_and_not_beyond_the_end() {
        let mut bytes = 21_u32.to_ne_bytes().to_vec();
        bytes.extend(NEW_TABLE.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([7, 0, 0, 0, 9, 0, 0, 0]);
        let (kind, payload, rest) = message(&bytes).unwrap();
        assert_eq!((kind, payload, rest.len()), (NEW_TABLE, &[7, 0, 0, 0, 9][..], 0));
        assert!((0..21).all(|length| message(&bytes[..length]).is_none()));
        assert!(message(&[0; 16]).is_none(), "shorter than its own header");
    }

    #[test]
    fn what_the_kernel_does_not_have_is_no_error() {
        let code = |errno: i32| refused(&(-errno).to_ne_bytes());
        assert!(code(libc::EOPNOTSUPP).is_none() && code(0).is_none());
        assert_eq!(code(libc::EPERM).unwrap().raw_os_error(), Some(libc::EPERM));
    }
}
