//! What the kernel's helpers do to a checksum: `bpf_l4_csum_replace` of packets whose checksum is
//! whole.

use bridgefwd_common::packet::checksum::{add, fold};

/// The sum over any bytes, an odd last one padded; not folded.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| {
        let [high, low] = [pair[0], pair.get(1).copied().unwrap_or(0)];
        u32::from(u16::from_ne_bytes([high, low]))
    });
    words.fold(0, add)
}

/// Adds a difference of 32 bits to what the checksum in `field` covers.
pub fn add_difference(field: &mut [u8; 2], difference: u32, mangles_zero: bool) {
    if mangles_zero && *field == [0; 2] {
        return;
    }
    let covered = u32::from(!u16::from_ne_bytes(*field));
    let mut new = !fold(add(covered, difference));
    if mangles_zero && new == 0 {
        new = 0xffff;
    }
    *field = new.to_ne_bytes();
}

/// Has the checksum in `field` cover `to` instead of `from`.
pub fn replace(field: &mut [u8; 2], from: u32, to: u32, mangles_zero: bool) {
    add_difference(field, add(!from, to), mangles_zero);
}
