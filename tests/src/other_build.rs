//! Another build of the program under test: the same in all that it does, while each BPF program in it
//! has other instructions, as after another compiler.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::bridgefwd::binary;

/// What an ELF file of 64 bits in little endian begins with.
const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01";
/// `EM_BPF`
const BPF: u64 = 247;
/// `SHF_EXECINSTR`
const INSTRUCTIONS: u64 = 4;
/// `BPF_ALU64 | BPF_MOV | BPF_K`: a register becomes a number, whose sign is extended to 64 bits.
const MOVE: u8 = 0xb7;
/// `BPF_ALU | BPF_MOV | BPF_K`: the same without the sign, so that it is the same for all but negative
/// numbers.
const MOVE_32: u8 = 0xb4;
/// `BPF_LD | BPF_IMM | BPF_DW`: takes two places.
const LOAD_64: u8 = 0x18;

/// Writes it into `folder`. Returns its path.
#[must_use]
#[track_caller]
pub fn write(folder: &Path) -> PathBuf {
    let mut bytes = fs::read(binary()).expect("the program under test");
    let objects: Vec<_> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(MAGIC) && number::<2>(&bytes, at + 18) == BPF)
        .collect();
    let mut changed = 0;
    for object in objects {
        for section in instructions(&bytes[object..]) {
            changed += rewrite(&mut bytes[object..][section]);
        }
    }
    assert!(changed > 0, "nothing in it can be said otherwise");
    let path = folder.join("bridgefwd-other-build");
    fs::write(&path, bytes).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// Where an object's instructions are.
fn instructions(object: &[u8]) -> Vec<Range<usize>> {
    let place = |at| usize::try_from(number::<8>(object, at)).expect("a place in it");
    let (table, size, count) = (place(0x28), number::<2>(object, 0x3a), number::<2>(object, 0x3c));
    let headers = (0..count).map(|index| table + usize::try_from(index * size).expect("small"));
    headers
        .filter(|header| number::<8>(object, header + 8) & INSTRUCTIONS != 0)
        .map(|header| place(header + 24)..place(header + 24) + place(header + 32))
        .collect()
}

/// Says of instructions whatever can be said otherwise. Returns of how many.
fn rewrite(code: &mut [u8]) -> usize {
    let (mut at, mut changed) = (0, 0);
    while at < code.len() {
        let negative = code[at + 7] & 0x80 != 0;
        if code[at] == MOVE && !negative {
            code[at] = MOVE_32;
            changed += 1;
        }
        at += if code[at] == LOAD_64 { 16 } else { 8 };
    }
    changed
}

fn number<const LENGTH: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut whole = [0; 8];
    whole[..LENGTH].copy_from_slice(&bytes[at..at + LENGTH]);
    u64::from_le_bytes(whole)
}
