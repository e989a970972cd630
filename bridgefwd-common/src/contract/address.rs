//! IP addresses of both families in one shape.

use bytemuck::{Pod, Zeroable};

/// An IPv6 address, or an IPv4 address mapped into one (RFC 4291, section 2.5.5.2).
///
/// Wire order: each word is four bytes of the address, read natively. Words rather than bytes, so
/// that it is compared and copied by words; the checksum of a pseudo-header with mapped addresses is
/// that with the IPv4 addresses, as far as differences go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Pod, Zeroable)]
pub struct Address {
    words: [u32; 4],
}

/// Version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    #[default]
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

const MAPPED: u32 = 0x0000_ffff_u32.to_be();

impl Address {
    /// `::`, which is no host's address.
    pub const UNSPECIFIED: Self = Self { words: [0; 4] };

    /// An IPv4 address, from its bytes in wire order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self::v4_word(u32::from_ne_bytes(bytes))
    }

    /// An IPv4 address, from its four bytes read natively.
    #[inline(always)]
    #[must_use]
    pub const fn v4_word(word: u32) -> Self {
        Self { words: [0, 0, MAPPED, word] }
    }

    /// An IPv6 address, from its bytes in wire order.
    #[inline(always)]
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let word = u32::from_ne_bytes;
        Self {
            words: [word([a, b, c, d]), word([e, f, g, h]), word([i, j, k, l]), word([m, n, o, p])],
        }
    }

    /// From its words: four bytes of the address each, read natively.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// Its words: four bytes of the address each, read natively.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.words
    }

    /// Which family it is of.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        if self.words[0] == 0 && self.words[1] == 0 && self.words[2] == MAPPED {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// The IPv4 address, its bytes read natively; of an IPv6 address the last four bytes.
    #[inline(always)]
    #[must_use]
    pub const fn last_word(&self) -> u32 {
        self.words[3]
    }

    /// All 16 bytes in wire order, an IPv4 address mapped.
    #[inline(always)]
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = [
            self.words[0].to_ne_bytes(),
            self.words[1].to_ne_bytes(),
            self.words[2].to_ne_bytes(),
            self.words[3].to_ne_bytes(),
        ];
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// How many leading bits two addresses have in common, mapped bits included: 0 to 128.
    #[inline(always)]
    #[must_use]
    pub const fn common_prefix(&self, other: &Self) -> u32 {
        // Without a branch: the verifier would follow each of them, for each address of an end.
        let mut bits = 0;
        let mut all_equal = 1;
        let mut at = 0;
        while at < 4 {
            let differing = u32::from_be(self.words[at] ^ other.words[at]);
            bits += all_equal * leading_zeros(differing);
            all_equal *= is_zero(differing);
            at += 1;
        }
        bits
    }

    /// Is `other` in the subnet of this address, whose prefix has `prefix_len` bits of its own
    /// family?
    #[inline(always)]
    #[must_use]
    pub const fn subnet_contains(&self, prefix_len: u8, other: &Self) -> bool {
        let mapped_bits = match self.family() {
            Family::V4 => 96,
            Family::V6 => 0,
        };
        self.common_prefix(other) >= mapped_bits + prefix_len as u32
    }
}

/// 1 for 0, else 0.
#[inline(always)]
const fn is_zero(word: u32) -> u32 {
    (word | word.wrapping_neg()) >> 31 ^ 1
}

/// BPF has no instruction for it, and a table would be data that the program cannot have: the word is
/// filled with ones from its highest one on, and the others are counted in pairs, fours and bytes.
#[inline(always)]
const fn leading_zeros(word: u32) -> u32 {
    let mut filled = word;
    filled |= filled >> 1;
    filled |= filled >> 2;
    filled |= filled >> 4;
    filled |= filled >> 8;
    filled |= filled >> 16;
    let zeros = !filled;
    let pairs = zeros - (zeros >> 1 & 0x5555_5555);
    let fours = (pairs & 0x3333_3333) + (pairs >> 2 & 0x3333_3333);
    let bytes = (fours + (fours >> 4)) & 0x0f0f_0f0f;
    bytes.wrapping_mul(0x0101_0101) >> 24
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::{Address, Family};

    impl From<IpAddr> for Address {
        fn from(address: IpAddr) -> Self {
            match address {
                IpAddr::V4(address) => address.into(),
                IpAddr::V6(address) => Self::v6(address.octets()),
            }
        }
    }

    impl From<Ipv4Addr> for Address {
        fn from(address: Ipv4Addr) -> Self {
            Self::v4(address.octets())
        }
    }

    impl From<Ipv6Addr> for Address {
        fn from(address: Ipv6Addr) -> Self {
            Self::v6(address.octets())
        }
    }

    impl From<Address> for IpAddr {
        fn from(address: Address) -> Self {
            match address.family() {
                Family::V4 => Ipv4Addr::from(address.last_word().to_ne_bytes()).into(),
                Family::V6 => Ipv6Addr::from(address.octets()).into(),
            }
        }
    }
}

const _: () = assert!(size_of::<Address>() == 16);

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subnets() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let within = |own: &str, prefix_len, other: &str| {
            address(own).subnet_contains(prefix_len, &address(other))
        };
        assert!(within("172.19.0.1", 16, "172.19.255.254"));
        assert!(!within("172.19.0.1", 16, "172.18.0.1"));
        assert!(within("172.19.0.1", 0, "8.8.8.8"));
        assert!(within("172.19.0.1", 32, "172.19.0.1"));
        assert!(!within("172.19.0.1", 32, "172.19.0.2"));
        assert!(!within("172.19.0.1", 0, "fd00::1"));
        assert!(within("fd00:1::1", 64, "fd00:1::ffff"));
        assert!(!within("fd00:1::1", 64, "fd00:1:0:1::1"));
        assert!(within("fd00:1::1", 0, "2001:db8::1"));
    }

    proptest! {
        #[test]
        fn leading_zeros_are_counted(word: u32, shift in 0_u32..33) {
            let word = word.checked_shr(shift).unwrap_or(0);
            prop_assert_eq!(leading_zeros(word), word.leading_zeros());
            prop_assert_eq!(is_zero(word) == 1, word == 0);
        }

        #[test]
        fn both_families_round_trip(address: IpAddr) {
            let canonical = address.to_canonical();
            prop_assert_eq!(IpAddr::from(Address::from(address)), canonical);
            prop_assert_eq!(Address::v6(Address::from(address).octets()), Address::from(address));
        }
    }
}
