//! Where members of the running kernel's structures are, by its own type information (BTF).

use std::collections::BTreeMap;
use std::fs;
use std::io;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
/// Bytes of a type beside what is particular to its kind, and of a member.
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const ENUMERATOR_BYTES: usize = 8;
/// How deep unnamed structures may be nested.
const DEEPEST: u32 = 8;

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type begins in `types`; number 0 is `void`.
    starts: Vec<usize>,
}

impl Btf {
    /// Those of the running kernel.
    ///
    /// # Errors
    ///
    /// Where it has none (`CONFIG_DEBUG_INFO_BTF`), or they cannot be read.
    pub fn of_kernel() -> io::Result<Self> {
        Self::parse(&fs::read(KERNEL)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not in the form of BTF"))
    }

    /// `None` where it is not BTF of this machine's byte order, or cut off.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let field = |at| word(bytes, at).map(|word| word as usize);
        let header = field(4)?;
        let part = |at, length| {
            let begin = header.checked_add(field(at)?)?;
            Some(bytes.get(begin..begin.checked_add(field(length)?)?)?.to_vec())
        };
        let mut this = Self { types: part(8, 12)?, strings: part(16, 20)?, starts: vec![0] };
        let mut at = 0;
        while at < this.types.len() {
            this.starts.push(at);
            let info = word(&this.types, at + 4)?;
            at += TYPE_BYTES + particulars(info >> 24 & 0x1f, info as usize & 0xffff)?;
        }
        Some(this)
    }

    /// Where a member of a structure begins, in bytes; also where it is inside an unnamed structure or
    /// union of it. `None` where there is none.
    #[must_use]
    pub fn offset_of(&self, structure: &str, member: &str) -> Option<u32> {
        let mut found = self.starts.iter().skip(1).filter(|&&start| {
            self.kind(start) == Some(KIND_STRUCT)
                && word(&self.types, start).is_some_and(|name| self.is_named(name, structure))
        });
        found.find_map(|&start| self.find(start, member, DEEPEST))
    }

    /// The names of an enumeration's values, by value; empty where there is no such enumeration.
    #[must_use]
    pub fn enumerators(&self, enumeration: &str) -> BTreeMap<u32, String> {
        let found = self.starts.iter().skip(1).copied().find(|&start| {
            self.kind(start) == Some(KIND_ENUM)
                && word(&self.types, start).is_some_and(|name| self.is_named(name, enumeration))
        });
        let Some(start) = found else { return BTreeMap::new() };
        let info = word(&self.types, start + 4).unwrap_or_default();
        let each = (0..info as usize & 0xffff).filter_map(|number| {
            let at = start + TYPE_BYTES + number * ENUMERATOR_BYTES;
            let (name, value) = (word(&self.types, at)?, word(&self.types, at + 4)?);
            let name = self.strings.get(name as usize..)?.split(|byte| *byte == 0).next()?;
            Some((value, String::from_utf8_lossy(name).into_owned()))
        });
        each.collect()
    }

    fn kind(&self, start: usize) -> Option<u32> {
        Some(word(&self.types, start + 4)? >> 24 & 0x1f)
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        self.strings
            .get(at as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn find(&self, start: usize, wanted: &str, depth: u32) -> Option<u32> {
        if !matches!(self.kind(start)?, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let info = word(&self.types, start + 4)?;
        let with_bitfields = info >> 31 != 0;
        (0..info as usize & 0xffff).find_map(|number| {
            let at = start + TYPE_BYTES + number * MEMBER_BYTES;
            let (name, of_type) = (word(&self.types, at)?, word(&self.types, at + 4)?);
            let place = word(&self.types, at + 8)?;
            let bits = if with_bitfields { place & 0x00ff_ffff } else { place };
            if self.is_named(name, wanted) {
                return Some(bits / 8);
            }
            if name != 0 {
                return None;
            }
            let inner = *self.starts.get(of_type as usize)?;
            Some(bits / 8 + self.find(inner, wanted, depth.checked_sub(1)?)?)
        })
    }
}

/// Bytes that follow a type of this kind with so many parts; `None` for kinds that are not known, whose
/// length nobody can tell.
const fn particulars(kind: u32, parts: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => parts * 12,
        // Enumerations, parameters of functions.
        KIND_ENUM | 13 => parts * ENUMERATOR_BYTES,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct s { int a; union { int b; struct { int c; int d:3; }; }; }` with an unused `struct t`.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0d\0t\0";
        let named = |kind: u32, parts: u32| kind << 24 | parts;
        let types: Vec<u32> = [
            vec![1, named(1, 0), 4, 32],
            vec![15, named(KIND_STRUCT, 1), 4, 7, 1, 0],
            vec![0, named(KIND_STRUCT, 2) | 1 << 31, 8, 11, 1, 0, 13, 1, 3 << 24 | 32],
            vec![0, named(KIND_UNION, 2), 8, 9, 1, 0, 0, 3, 0],
            vec![5, named(KIND_STRUCT, 2), 12, 7, 1, 0, 0, 4, 32],
        ]
        .concat();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let types_len = types.len() as u32 * 4;
        for word in [24, 0, types_len, types_len, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_also_in_unnamed_structures() {
        let btf = Btf::parse(&example()).unwrap();
        let offsets = ["a", "b", "c", "d", "e"].map(|member| btf.offset_of("s", member));
        assert_eq!(offsets, [Some(0), Some(4), Some(4), Some(8), None]);
        assert_eq!((btf.offset_of("t", "a"), btf.offset_of("t", "b")), (Some(0), None));
        assert_eq!((btf.offset_of("in", "a"), btf.offset_of("u", "a")), (None, None));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = example();
        assert!((0..whole.len()).all(|length| Btf::parse(&whole[..length]).is_none()));
    }

    #[test]
    fn the_running_kernel_says_where_its_members_are() {
        let Ok(btf) = Btf::of_kernel() else { return };
        assert!(btf.offset_of("sk_buff", "dev").is_some());
        assert_eq!(btf.offset_of("list_head", "prev"), Some(8));
        let states = btf.enumerators("bpf_cmd");
        assert_eq!(states.get(&0).map(String::as_str), Some("BPF_MAP_CREATE"));
        assert!(btf.enumerators("no such enumeration").is_empty());
    }
}
