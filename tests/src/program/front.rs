//! A small program in front of ours that does to a packet's buffer what a test run cannot be asked
//! for: it sets `tc_index`, or gives it a VLAN tag, and goes on to ours by tail call.

use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use bridgefwd_common::contract::{EGRESS_PROGRAM, PROGRAM};

use super::Program;
use super::run::{Buffer, Left, Outcome, Run, SK_BUFF, mark_in};

/// What it does to the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// `tc_index`.
    pub tc_index: u32,
    /// Priority and identifier of an 802.1Q tag, as the network card takes it out of the frame.
    pub vlan: Option<u16>,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const MAP_TYPE_PROG_ARRAY: u32 = 3;
const PROG_TYPE_SCHED_CLS: u32 = 3;

/// One call of bpf(2). Each kind of it takes a structure of its own, of 64-bit words here.
fn bpf(command: libc::c_int, attributes: &mut [u64; 16]) -> libc::c_long {
    // SAFETY: the kernel reads and writes the attributes, whose pointers are valid for the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u64; 16]>())
    };
    let error = std::io::Error::last_os_error();
    assert!(result >= 0, "bpf command {command}: {error}");
    result
}

/// Two 32-bit fields that follow one another.
fn words(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn descriptor(result: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(result).expect("a file descriptor");
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// One instruction: code, registers, offset, immediate value.
fn instruction(code: u8, dst: u8, src: u8, offset: i16, value: u32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    u64::from_ne_bytes([code, src << 4 | dst, low, high, a, b, c, d])
}

/// The program: what `change` asks for, then on to what is in the array.
fn code(change: Change, array: &OwnedFd) -> Vec<u64> {
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const STORE_WORD: u8 = 0x63;
    const LOAD_DOUBLE: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const TC_INDEX: i16 = 44;
    const VLAN_PUSH: u32 = 18;
    const TAIL_CALL: u32 = 12;
    const MAP_FD: u8 = 1;

    let mut code = vec![
        instruction(MOVE, 6, 1, 0, 0),
        instruction(SET, 2, 0, 0, change.tc_index),
        instruction(STORE_WORD, 1, 2, TC_INDEX, 0),
    ];
    if let Some(vlan) = change.vlan {
        code.extend([
            instruction(SET, 2, 0, 0, u32::from(0x8100_u16.to_be())),
            instruction(SET, 3, 0, 0, u32::from(vlan)),
            instruction(CALL, 0, 0, 0, VLAN_PUSH),
        ]);
    }
    let array = array.as_raw_fd().cast_unsigned();
    code.extend([
        instruction(MOVE, 1, 6, 0, 0),
        instruction(LOAD_DOUBLE, 2, MAP_FD, 0, array),
        0,
        instruction(SET, 3, 0, 0, 0),
        instruction(CALL, 0, 0, 0, TAIL_CALL),
        // Not reached unless ours is not there: no verdict that ours gives.
        instruction(SET, 0, 0, 0, (-9_i32).cast_unsigned()),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    code
}

impl Program {
    /// As [`Program::run_with`], with the buffer changed before.
    #[track_caller]
    pub fn run_behind(&self, change: Change, buffer: &Buffer, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let run = self.run_changed(PROGRAM, change, buffer, frame);
        self.judge(&before, buffer, frame, run)
    }

    /// As [`Program::run_behind`], for a tag: while the packet is looked at, it is no part of the frame
    /// that is counted; a packet that passes has it afterwards.
    #[track_caller]
    pub fn run_tagged(&self, change: Change, buffer: &Buffer, frame: &[u8]) -> Outcome {
        let tag = change.vlan.expect("a tag").to_be_bytes();
        let before = self.counters();
        let mut run = self.run_changed(PROGRAM, change, buffer, frame);
        if run.frame.get(12..14) == Some(&[0x81, 0x00]) {
            assert_eq!(run.frame[14..16], tag, "the tag afterwards");
            run.frame.drain(12..16);
        }
        self.judge(&before, buffer, frame, run)
    }

    /// As [`Program::leave`], with the buffer changed before.
    #[track_caller]
    pub fn leave_behind(&self, change: Change, buffer: &Buffer, frame: &[u8]) -> Left {
        let before = self.counters();
        let run = self.run_changed(EGRESS_PROGRAM, change, buffer, frame);
        self.judge_leaving(&before, frame, run)
    }

    /// The verdict, where a packet that carries our marks goes on uncounted: nobody judges it again.
    #[track_caller]
    pub fn goes_uncounted(&self, change: Change, buffer: &Buffer, frame: &[u8]) -> u32 {
        let before = self.counters();
        let run = self.run_changed(PROGRAM, change, buffer, frame);
        assert_eq!(self.counters(), before, "counted");
        assert_eq!((run.verdict, &run.frame[..]), (super::PASS, frame));
        run.mark
    }

    #[track_caller]
    fn run_changed(&self, name: &str, change: Change, buffer: &Buffer, frame: &[u8]) -> Run {
        let ours = self.program(name).fd().expect("loaded").as_fd().as_raw_fd();
        let mut attributes = [0; 16];
        (attributes[0], attributes[1]) = (words(MAP_TYPE_PROG_ARRAY, 4), words(4, 1));
        let array = descriptor(bpf(MAP_CREATE, &mut attributes));

        let (key, value) = (0_u32, ours.cast_unsigned());
        let mut attributes = [0; 16];
        attributes[0] = words(array.as_raw_fd().cast_unsigned(), 0);
        attributes[1] = (&raw const key).addr() as u64;
        attributes[2] = (&raw const value).addr() as u64;
        bpf(MAP_UPDATE, &mut attributes);

        let code = code(change, &array);
        let license = c"GPL";
        let mut attributes = [0; 16];
        attributes[0] = words(PROG_TYPE_SCHED_CLS, code.len() as u32);
        attributes[1] = code.as_ptr().addr() as u64;
        attributes[2] = license.as_ptr().addr() as u64;
        let front = descriptor(bpf(PROG_LOAD, &mut attributes));

        let context = buffer.context(frame.len());
        let mut context_after = [0_u8; SK_BUFF];
        let mut after = vec![0_u8; frame.len() + 256];
        let mut attributes = [0; 16];
        attributes[0] = words(front.as_raw_fd().cast_unsigned(), 0);
        attributes[1] = words(frame.len() as u32, after.len() as u32);
        attributes[2] = frame.as_ptr().addr() as u64;
        attributes[3] = after.as_mut_ptr().addr() as u64;
        attributes[4] = words(1, 0);
        attributes[5] = words(SK_BUFF as u32, SK_BUFF as u32);
        attributes[6] = context.as_ptr().addr() as u64;
        attributes[7] = context_after.as_mut_ptr().addr() as u64;
        bpf(PROG_TEST_RUN, &mut attributes);
        let [_, _, _, _, a, b, c, d] = attributes[0].to_ne_bytes();
        let [_, _, _, _, e, f, g, h] = attributes[1].to_ne_bytes();
        after.truncate(u32::from_ne_bytes([e, f, g, h]) as usize);
        let verdict = u32::from_ne_bytes([a, b, c, d]).cast_signed();
        assert_ne!(verdict, -9, "{name} was not there");
        Run { verdict, frame: after, mark: mark_in(&context_after) }
    }
}
