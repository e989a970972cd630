//! A program as the verifier has left it: its functions, and which packets come by a map.

use std::collections::HashSet;

const CALL: u8 = 0x85;
/// In the place of a source register: what is called is a function of the program itself.
const PSEUDO_CALL: u8 = 1;
/// `BPF_LD | BPF_DW | BPF_IMM`: it takes two words.
const LOAD_64: u8 = 0x18;
/// In the place of a source register: what is loaded is a map, or the address of what is in it.
const PSEUDO_MAP: [u8; 2] = [1, 2];

/// One instruction, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What it does.
    pub op: u8,
    /// The register that it changes.
    pub dst: u8,
    /// The register that it reads, or what kind of value `value` is.
    pub src: u8,
    /// Distance of a jump, or of memory from a register.
    pub offset: i16,
    /// The constant in it.
    pub value: i32,
}

impl Instruction {
    /// From its word.
    pub fn of(word: u64) -> Self {
        let [op, registers, low, high, a, b, c, d] = word.to_ne_bytes();
        Self {
            op,
            dst: registers & 15,
            src: registers >> 4,
            offset: i16::from_ne_bytes([low, high]),
            value: i32::from_ne_bytes([a, b, c, d]),
        }
    }

    /// Where it leads that is not the next one: the begin of a function that it calls.
    fn called(self, at: usize) -> Option<usize> {
        // Of a compiled program, the distance is where otherwise an offset would be.
        (self.op == CALL && self.src == PSEUDO_CALL).then(|| further(at + 1, self.offset.into()))
    }

    fn loads_map(self, map: u32) -> bool {
        self.op == LOAD_64 && PSEUDO_MAP.contains(&self.src) && self.value.cast_unsigned() == map
    }
}

/// The instruction that a jump from before `at` leads to.
fn further(at: usize, distance: i32) -> usize {
    at.wrapping_add_signed(distance as isize)
}

/// Where functions begin, the main one first, and who calls whom.
#[derive(Debug)]
pub struct Functions {
    /// The first instruction of each.
    pub begins: Vec<usize>,
    /// Numbers of the caller and of the called, each pair once.
    pub calls: Vec<(usize, usize)>,
}

impl Functions {
    /// Of a program.
    pub fn of(code: &[u64]) -> Self {
        let calls: Vec<(usize, usize)> = code
            .iter()
            .enumerate()
            .filter_map(|(at, &word)| Some((at, Instruction::of(word).called(at)?)))
            .collect();
        let mut begins: Vec<usize> = calls.iter().map(|&(_, to)| to).chain([0]).collect();
        begins.sort_unstable();
        begins.dedup();
        let mut this = Self { begins, calls: Vec::new() };
        this.calls = calls.iter().map(|&(at, to)| (this.at(at), this.at(to))).collect();
        this.calls.sort_unstable();
        this.calls.dedup();
        this
    }

    /// The number of the function with that instruction.
    fn at(&self, instruction: usize) -> usize {
        self.begins.partition_point(|&begin| begin <= instruction) - 1
    }
}

/// How many instructions of the main function are the ones by which a packet comes to the map of that
/// id, in a function that is called or in itself; `None` where one of them may lead to another verdict
/// than `verdict`, or to another program.
pub fn looks_only_with(code: &[u64], map: u32, verdict: i32) -> Option<usize> {
    let functions = Functions::of(code);
    let at = |index: usize| Instruction::of(code[index]);
    let mut looking: HashSet<usize> = (0..code.len())
        .filter(|&index| at(index).loads_map(map))
        .map(|index| functions.at(index))
        .collect();
    // Whoever calls one that looks.
    while let Some(&(caller, _)) = functions
        .calls
        .iter()
        .find(|(caller, called)| looking.contains(called) && !looking.contains(caller))
    {
        looking.insert(caller);
    }
    let end = functions.begins.get(1).copied().unwrap_or(code.len());
    let sites: Vec<usize> = (0..end)
        .filter(|&index| {
            let instruction = at(index);
            let called = instruction.called(index).map(|to| functions.at(to));
            instruction.loads_map(map) || called.is_some_and(|called| looking.contains(&called))
        })
        .collect();
    sites.iter().all(|&site| returns_only(code, site, verdict)).then_some(sites.len())
}

/// What is known of registers: the constants in them.
type Registers = [Option<i32>; 11];

/// Does every way on from that instruction end with that verdict, as far as constants tell?
fn returns_only(code: &[u64], from: usize, verdict: i32) -> bool {
    /// So many steps are followed, then nothing is said.
    const STEPS: usize = 100_000;
    let mut ways: Vec<(usize, Registers)> = vec![(from, [None; 11])];
    let mut followed = HashSet::new();
    while let Some((at, mut registers)) = ways.pop() {
        if !followed.insert((at, registers)) {
            continue;
        }
        if followed.len() > STEPS {
            return false;
        }
        let Some(instruction) = code.get(at).copied().map(Instruction::of) else { return false };
        let (dst, src) = (usize::from(instruction.dst), usize::from(instruction.src));
        let mut next = at + 1;
        match instruction.op {
            // Moves, of constants and of registers.
            0xb4 | 0xb7 => registers[dst] = Some(instruction.value),
            0xbc | 0xbf if instruction.offset == 0 => registers[dst] = registers[src],
            LOAD_64 => {
                registers[dst] = None;
                next += 1;
            }
            // What is called may change these; and a tail call goes to another program.
            CALL if instruction.src != PSEUDO_CALL && instruction.value == TAIL_CALL => {
                return false;
            }
            CALL => registers[..6].fill(None),
            EXIT if registers[0] == Some(verdict) => continue,
            EXIT => return false,
            // Jumps, always and on a condition.
            0x05 => next = further(next, instruction.offset.into()),
            0x06 => next = further(next, instruction.value),
            op if op & 7 == 5 || op & 7 == 6 => {
                ways.push((further(next, instruction.offset.into()), registers));
            }
            // Stores into memory leave registers alone; an atomic one may not.
            op if op & 7 == 2 || (op & 7 == 3 && op >> 5 == 3) => {}
            op if op & 7 == 3 => {
                registers[0] = None;
                registers[src] = None;
            }
            // Loads, and all that is computed.
            _ => registers[dst] = None,
        }
        ways.push((next, registers));
    }
    true
}

/// `bpf_tail_call`.
const TAIL_CALL: i32 = bridgefwd_tests::bpf::asm::TAIL_CALL as i32;
const EXIT: u8 = 0x95;

#[cfg(test)]
mod tests {
    use bridgefwd_tests::bpf::asm::{copy, exit, instruction, set, shift_right};

    use super::*;

    const MAP: u32 = 77;

    fn look() -> [u64; 2] {
        [instruction(LOAD_64, 1, 1, 0, MAP), 0]
    }

    fn call(distance: i16) -> u64 {
        instruction(CALL, 0, PSEUDO_CALL, distance, 0)
    }

    /// `if r1 == 0 goto`.
    fn branch(distance: i16) -> u64 {
        instruction(0x15, 1, 0, distance, 0)
    }

    /// The packet is dropped with 2 after it was told of, by a function of the program; else it goes
    /// on with 7, or as `other` has it.
    fn program(other: &[u64]) -> Vec<u64> {
        let there = other.len() as i16;
        let mut code = vec![branch(there)];
        code.extend(other);
        code.extend([call(2), set(0, 2), exit()]);
        code.extend(look());
        code.extend([set(0, 1), exit()]);
        code
    }

    #[test]
    fn a_map_that_only_dropped_packets_come_by() {
        let code = program(&[set(0, 7), exit()]);
        assert_eq!(looks_only_with(&code, MAP, 2), Some(1));
        assert_eq!(looks_only_with(&code, MAP, 7), None);
        assert_eq!(looks_only_with(&code, MAP + 1, 7), Some(0), "not at all");
    }

    #[test]
    fn a_map_that_others_come_by_too() {
        let code = program(&[call(5), set(0, 7), exit()]);
        assert_eq!(looks_only_with(&code, MAP, 2), None, "called on the way");
        let [first, second] = look();
        assert_eq!(looks_only_with(&program(&[first, second, set(0, 7), exit()]), MAP, 2), None);
        let code = [&look()[..], &[branch(1), set(0, 7), set(0, 2), exit()]].concat();
        assert_eq!(looks_only_with(&code, MAP, 2), Some(1), "what is returned is written last");
        let code = [&look()[..], &[set(0, 2), branch(1), set(0, 7), exit()]].concat();
        assert_eq!(looks_only_with(&code, MAP, 2), None, "one way of two");
        let code = [&look()[..], &[set(0, 2), shift_right(0, 1), exit()]].concat();
        assert_eq!(looks_only_with(&code, MAP, 2), None, "not known");
        let code = [&look()[..], &[set(6, 2), call(2), copy(0, 6), exit(), exit()]].concat();
        assert_eq!(looks_only_with(&code, MAP, 2), Some(1), "kept over a call");
    }
}
