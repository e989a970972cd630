//! Who captures packets, as tcpdump does: sockets that see all that an interface sends.

use std::collections::BTreeSet;
use std::fs;
use std::io;

/// Packet sockets of the calling thread's network namespace.
const SOCKETS: &str = "/proc/thread-self/net/packet";
/// `ETH_P_ALL`: such a socket sees what leaves, too.
const ALL: u32 = 3;

/// Where packets are captured.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures {
    everywhere: bool,
    interfaces: BTreeSet<u32>,
}

impl Captures {
    /// As it is now.
    ///
    /// # Errors
    ///
    /// Where /proc is not mounted.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(SOCKETS)?))
    }

    /// Are packets captured that this interface sends?
    #[must_use]
    pub fn at(&self, ifindex: u32) -> bool {
        self.everywhere || self.interfaces.contains(&ifindex)
    }

    /// Lines of `sk RefCnt Type Proto Iface ...`, below a line of these names.
    fn parse(text: &str) -> Self {
        let mut captures = Self::default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_ascii_whitespace().skip(3);
            let (Some(protocol), Some(ifindex)) = (fields.next(), fields.next()) else { continue };
            if u32::from_str_radix(protocol, 16) != Ok(ALL) {
                continue;
            }
            match ifindex.parse() {
                Ok(0) => captures.everywhere = true,
                Ok(ifindex) => drop(captures.interfaces.insert(ifindex)),
                Err(_) => {}
            }
        }
        captures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";

    #[test]
    fn captures_are_sockets_for_all_protocols() {
        let lines = "ffff 3      3    0003   7     1 0      0      99\n\
                     ffff 3      3    88cc   8     1 0      0      99\n\
                     ffff 3      3    0000   0     0 0      0      99\nbroken\n";
        let captures = Captures::parse(&format!("{HEAD}{lines}"));
        assert_eq!([7, 8, 0].map(|ifindex| captures.at(ifindex)), [true, false, false]);
        let any = Captures::parse(&format!("{HEAD}0 3 3 0003 0 1 0 0 99\n"));
        assert!(any.at(7) && any.at(8));
        assert_eq!(Captures::parse(""), Captures::default());
    }
}
