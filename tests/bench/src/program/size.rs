//! What the programs and maps come to: instructions, stack, memory.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;

use aya::maps::{Map, MapData};
use bridgefwd_common::contract::{
    COLD_PROGRAMS, EGRESS_PROGRAM, MAP_EVENT_CONTROL, PROGRAM, SWEEP_PROGRAM,
};
use bridgefwd_tests::bpf;
use bridgefwd_tests::program::{DROP, Program};
use serde::Serialize;

use super::code::{self, Functions};

/// One program.
#[derive(Debug, Serialize)]
pub struct ProgramSize {
    /// Its name in the object.
    pub name: String,
    /// Instructions after the verifier's rewriting: what is compiled.
    pub translated: usize,
    /// Instructions that the verifier went through; `None` before Linux 5.16.
    pub verified: Option<u32>,
    /// Bytes of stack that are addressed on the deepest way through its functions. It may use a little
    /// less: what it uses is 512 at most.
    pub stack: u32,
}

/// One map.
#[derive(Debug, Serialize)]
pub struct MapSize {
    /// Its name in the object.
    pub name: String,
    /// How many entries it has room for.
    pub entries: u32,
    /// Bytes of key and value.
    pub key_and_value: u32,
    /// Bytes that the kernel says it takes (`memlock` in fdinfo), of what is in it now where it takes
    /// memory for that only.
    pub memory: u64,
}

/// Every program.
pub fn programs(program: &Program) -> Vec<ProgramSize> {
    [PROGRAM, EGRESS_PROGRAM, SWEEP_PROGRAM]
        .iter()
        .chain(&COLD_PROGRAMS)
        .map(|name| {
            let loaded = program.program(name);
            let code = bpf::translated(loaded.fd().expect("loaded").as_fd());
            ProgramSize {
                name: (*name).to_owned(),
                translated: code.len(),
                verified: loaded.info().ok().and_then(|info| info.verified_instruction_count()),
                stack: stack(&code),
            }
        })
        .collect()
}

/// By how many instructions of the attached program a packet comes to look at what is to be told; `None`
/// unless all of them lead to a drop.
pub fn looks_where_dropped(program: &Program) -> Option<usize> {
    let control = data(program.ebpf().map(MAP_EVENT_CONTROL)?)?.info().ok()?.id();
    let code = bpf::translated(program.program(PROGRAM).fd().ok()?.as_fd());
    code::looks_only_with(&code, control, DROP)
}

/// Every map, the largest first.
pub fn maps(program: &Program) -> Vec<MapSize> {
    let mut sizes: Vec<_> = program
        .ebpf()
        .maps()
        .filter_map(|(name, map)| {
            let data = data(map)?;
            let info = data.info().ok()?;
            Some(MapSize {
                name: name.to_owned(),
                entries: info.max_entries(),
                key_and_value: info.key_size() + info.value_size(),
                memory: memory(data.fd().as_fd()).unwrap_or_default(),
            })
        })
        .collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.memory));
    sizes
}

/// Is there more of the map where there can be more flows?
pub fn grows(name: &str) -> bool {
    // Of `POOLS`, which is among them, the size is only settled there.
    bridgefwd::datapath::map_sizes(1).iter().any(|&(map, entries)| map == name && entries <= 2)
}

/// Names of the maps that are pinned in a folder, and what memory each takes.
pub fn pinned(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let data = MapData::from_pin(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, memory(data.fd().as_fd())?))
        })
        .collect()
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::ProgramArray(data)
        | Map::Queue(data) => Some(data),
        _ => None,
    }
}

fn memory(map: BorrowedFd<'_>) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// Bytes of stack on the deepest way through the functions of a program, as the verifier counts them:
/// what is addressed below the frame pointer, rounded up to 16 for each function.
fn stack(code: &[u64]) -> u32 {
    let Functions { begins, calls } = Functions::of(code);
    let own: Vec<u32> = (0..begins.len())
        .map(|number| {
            let end = begins.get(number + 1).copied().unwrap_or(code.len());
            frame(&code[begins[number]..end]).max(1).next_multiple_of(16)
        })
        .collect();
    fn deepest(of: usize, own: &[u32], calls: &[(usize, usize)], left: usize) -> u32 {
        let below = calls.iter().filter(|(from, _)| *from == of);
        let below = below.map(|&(_, to)| match left {
            0 => 0,
            left => deepest(to, own, calls, left - 1),
        });
        own[of] + below.max().unwrap_or_default()
    }
    // The verifier allows eight frames.
    deepest(0, &own, &calls, 8)
}

/// How far below its frame pointer a function reaches.
fn frame(code: &[u64]) -> u32 {
    const FRAME_POINTER: u8 = 10;
    let (mut lowest, mut copied) = (0_i64, None);
    for instruction in code {
        let [op, registers, low, high, a, b, c, d] = instruction.to_ne_bytes();
        let (dst, src) = (registers & 15, registers >> 4);
        let offset = i64::from(i16::from_ne_bytes([low, high]));
        let reached = match op & 7 {
            // Loads and stores.
            1 if src == FRAME_POINTER => offset,
            2 | 3 if dst == FRAME_POINTER => offset,
            // `r = fp; r += constant`, as addresses of what lies there are made.
            7 if op == 0x07 && copied == Some(dst) => i64::from(i32::from_ne_bytes([a, b, c, d])),
            _ => 0,
        };
        copied = (op == 0xbf && src == FRAME_POINTER).then_some(dst);
        lowest = lowest.min(reached);
    }
    lowest.unsigned_abs() as u32
}

#[cfg(test)]
mod tests {
    use bridgefwd_tests::bpf::asm::{add, copy, exit, instruction, set, store32};

    use super::*;

    #[test]
    fn the_deepest_way_counts() {
        let call = |distance: i16| instruction(0x85, 0, 1, distance, 0);
        let code = [
            store32(10, -40, 1),
            call(1),
            exit(),
            // Called: its own 100 bytes, in an address.
            copy(2, 10),
            add(2, (-100_i32).cast_unsigned()),
            set(0, 0),
            exit(),
        ];
        assert_eq!(frame(&code[..3]), 40);
        assert_eq!(frame(&code[3..]), 100);
        assert_eq!(stack(&code), 48 + 112);
        assert_eq!(stack(&[set(0, 0), exit()]), 16);
    }
}
