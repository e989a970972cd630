//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! One's complement sums do not depend on byte order, so everything here sums native-endian words
//! of wire bytes and gives wire bytes back.

/// Sums and folds 32 bits of carries into 16.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// The one's complement sum of an even number of bytes, not folded. At most 64 KiB.
#[inline(always)]
#[must_use]
pub fn sum_words<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at + 1 < N {
        sum += u16::from_ne_bytes([bytes[at], bytes[at + 1]]) as u32;
        at += 2;
    }
    sum
}

/// What a checksum field becomes when `old` bytes under it become `new` ones: RFC 1624, equation 3.
///
/// For a header that is not all zeros the result is what a full computation gives: never 0xffff.
#[inline(always)]
#[must_use]
pub fn update<const N: usize>(check: [u8; 2], old: &[u8; N], new: &[u8; N]) -> [u8; 2] {
    let mut sum = u32::from(!u16::from_ne_bytes(check));
    let mut at = 0;
    while at + 1 < N {
        sum += u32::from(!u16::from_ne_bytes([old[at], old[at + 1]]));
        sum += u32::from(u16::from_ne_bytes([new[at], new[at + 1]]));
        at += 2;
    }
    (!fold(sum)).to_ne_bytes()
}

/// The one's complement sum of two sums of 32 bits.
#[inline(always)]
#[must_use]
pub const fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u32)
}

/// `new - old` as a one's complement sum of 32 bits: what `bpf_l4_csum_replace` takes as a
/// difference. The words are wire bytes read natively.
#[inline(always)]
#[must_use]
pub fn difference<const N: usize>(old: &[u32; N], new: &[u32; N]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at < N {
        sum = add(sum, add(!old[at], new[at]));
        at += 1;
    }
    sum
}

/// What a checksum field becomes when the words under it change by this [`difference`].
#[inline(always)]
#[must_use]
pub fn update_by(check: [u8; 2], difference: u32) -> [u8; 2] {
    let sum = u32::from(!u16::from_ne_bytes(check)) + u32::from(fold(difference));
    (!fold(sum)).to_ne_bytes()
}

/// The sum over the pseudo-header of an IPv6 packet (RFC 8200, section 8.1), not folded: addresses,
/// the length of what follows the extension headers, and its protocol. Words of addresses are wire
/// bytes read natively.
#[inline(always)]
#[must_use]
pub fn pseudo_header_v6(src: &[u32; 4], dst: &[u32; 4], len: u32, protocol: u8) -> u32 {
    let mut sum = add(len.to_be(), u32::from(protocol).to_be());
    let mut at = 0;
    while at < 4 {
        sum = add(sum, add(src[at], dst[at]));
        at += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header's checksum from nothing, the field at `at` taken as zero.
    fn compute(header: &[u8; 20], at: usize) -> [u8; 2] {
        let mut zeroed = *header;
        zeroed[at..at + 2].fill(0);
        (!fold(sum_words(&zeroed))).to_ne_bytes()
    }

    #[test]
    fn example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000.
        let updated = update(0xdd2f_u16.to_be_bytes(), &[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(updated, [0, 0]);
    }

    #[test]
    fn pseudo_header_is_that_of_its_bytes() {
        let (mut bytes, mut words) = ([0u8; 40], [0u32; 8]);
        for (at, byte) in (0u8..).zip(&mut bytes[..32]) {
            *byte = at.wrapping_mul(37);
        }
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        bytes[34..36].copy_from_slice(&1234_u16.to_be_bytes());
        bytes[39] = 58;
        let (src, dst) =
            ([words[0], words[1], words[2], words[3]], [words[4], words[5], words[6], words[7]]);
        let sum = pseudo_header_v6(&src, &dst, 1234, 58);
        assert_eq!(fold(sum), fold(sum_words(&bytes)));
    }

    proptest! {
        #[test]
        fn incremental_equals_full_recompute(
            mut header in any::<[u8; 20]>(), src in any::<[u8; 4]>(), ttl in any::<u8>(),
        ) {
            header[0] = 0x45;
            let check = compute(&header, 10);
            header[10..12].copy_from_slice(&check);
            prop_assert_eq!(fold(sum_words(&header)), 0xffff);

            let mut old = [0; 6];
            old[..4].copy_from_slice(&header[12..16]);
            old[4..].copy_from_slice(&header[8..10]);
            let mut new = old;
            new[..4].copy_from_slice(&src);
            new[4] = ttl;
            let updated = update(check, &old, &new);

            header[12..16].copy_from_slice(&src);
            header[8] = ttl;
            prop_assert_eq!(updated, compute(&header, 10));
        }

        #[test]
        fn difference_equals_the_words_it_stands_for(
            check in any::<[u8; 2]>(), old in any::<[u32; 2]>(), new in any::<[u32; 2]>(),
        ) {
            let old_bytes: [u8; 8] = bytemuck::cast(old);
            let new_bytes: [u8; 8] = bytemuck::cast(new);
            let by_words = u16::from_ne_bytes(update(check, &old_bytes, &new_bytes));
            let diff = difference(&old, &new);
            let by_diff = u16::from_ne_bytes(update_by(check, diff));
            // 0x0000 and 0xffff are the same number in one's complement.
            prop_assert!(by_words == by_diff || (by_words ^ by_diff == 0xffff && (by_words == 0 || by_diff == 0)));
        }
    }
}
