//! A small program in front of ours that does to a packet's buffer what a test run cannot be asked
//! for: it sets `tc_index`, or gives it a VLAN tag, and goes on to ours by tail call.

use std::os::fd::{AsFd as _, OwnedFd};

use bridgefwd_common::contract::{EGRESS_PROGRAM, PROGRAM};

use super::Program;
use super::run::{Buffer, Left, Outcome, Run, mark_in};
use crate::bpf::{self, asm};

/// What it does to the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// `tc_index`.
    pub tc_index: u32,
    /// Priority and identifier of an 802.1Q tag, as the network card takes it out of the frame.
    pub vlan: Option<u16>,
}

/// What it returns where ours is not there: no verdict that ours gives.
const NOT_THERE: i32 = -9;

/// The program: what `change` asks for, then on to what is in the array.
fn code(change: Change, array: &OwnedFd) -> Vec<u64> {
    let mut code =
        vec![asm::copy(6, 1), asm::set(2, change.tc_index), asm::store32(1, asm::TC_INDEX, 2)];
    if let Some(vlan) = change.vlan {
        code.extend([
            asm::set(2, u32::from(0x8100_u16.to_be())),
            asm::set(3, u32::from(vlan)),
            asm::call(asm::VLAN_PUSH),
        ]);
    }
    code.push(asm::copy(1, 6));
    code.extend(asm::map(2, array));
    code.extend([
        asm::set(3, 0),
        asm::call(asm::TAIL_CALL),
        asm::set(0, NOT_THERE.cast_unsigned()),
        asm::exit(),
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
        let array = bpf::program_array(self.program(name).fd().expect("loaded").as_fd());
        let front = bpf::classifier(&code(change, &array));
        let mut context = buffer.context(frame.len());
        let mut after = vec![0_u8; frame.len() + 256];
        let ran = bpf::test_run(front.as_fd(), 1, frame, &mut after, &mut context);
        after.truncate(ran.length);
        assert_ne!(ran.verdict, NOT_THERE, "{name} was not there");
        Run { verdict: ran.verdict, frame: after, mark: mark_in(&context) }
    }
}
