//! One run of the program on one frame, and what it came to.

use aya::programs::{TestRun as _, TestRunOptions};
use bridgefwd_common::contract::{
    Counter, EGRESS_PROGRAM, PROGRAM, Role, SWEEP_PROGRAM, SweepRequest,
};
use bridgefwd_common::{Reason, Verdict};

use super::{DROP, PASS, Program, REDIRECT};
use crate::bpf::SK_BUFF;
use crate::program::Counters;

/// Our bit of a packet's `mark`.
const OURS: u32 = 1 << 30;

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buffer {
    /// ifindex of the interface at which the program runs.
    pub ifindex: u32,
    /// ifindex of the interface that the packet came in by, 0 where the host sends it.
    pub came_by: u32,
    /// `mark`.
    pub mark: u32,
    /// Bytes of payload of the segments that it will be cut into, 0 where it will not.
    pub gso_size: u32,
}

/// What one packet came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// [`PASS`], [`DROP`] or [`REDIRECT`].
    pub verdict: i32,
    /// The one reason that was counted.
    pub reason: Reason,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Its `mark` afterwards.
    pub mark: u32,
}

/// What a packet that leaves came to.
#[derive(Clone, Debug)]
pub struct Left {
    /// The reason that was counted where it was dropped.
    pub dropped: Option<Reason>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// What the kernel answers of a run.
pub(super) struct Run {
    pub verdict: i32,
    pub frame: Vec<u8>,
    pub mark: u32,
}

impl Buffer {
    /// Of a packet that arrives there.
    #[must_use]
    pub fn at(ifindex: u32) -> Self {
        Self { ifindex, ..Self::default() }
    }

    /// The `struct __sk_buff` for a test run on a frame of `len` bytes.
    #[must_use]
    pub fn context(&self, len: usize) -> [u8; SK_BUFF] {
        let mut context = [0; SK_BUFF];
        let mut set = |at: usize, value: u32| {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        set(MARK, self.mark);
        set(INGRESS_IFINDEX, self.came_by);
        set(IFINDEX, self.ifindex);
        if self.gso_size > 0 {
            set(GSO_SIZE, self.gso_size);
            set(GSO_SEGS, (len as u32).div_ceil(self.gso_size));
        }
        context
    }
}

impl Program {
    /// Runs the program on a frame that arrives on `ifindex`, a managed interface or not, in the
    /// calling thread's network namespace. Panics unless exactly one reason was counted, its
    /// verdict is the one that was given, and a frame that passes is untouched: as far as it may be,
    /// where the kernel is to forward a reply.
    #[track_caller]
    pub fn run(&self, ifindex: u32, frame: &[u8]) -> Outcome {
        self.run_with(&Buffer::at(ifindex), frame)
    }

    /// As [`Program::run`], for a packet to be cut into segments of `gso_size` bytes of payload.
    #[track_caller]
    pub fn run_gso(&self, ifindex: u32, frame: &[u8], gso_size: u32) -> Outcome {
        self.run_with(&Buffer { gso_size, ..Buffer::at(ifindex) }, frame)
    }

    /// As [`Program::run`], with all that can be said of the packet.
    #[track_caller]
    pub fn run_with(&self, buffer: &Buffer, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let run = self.run_uncounted(PROGRAM, buffer, frame);
        self.judge(&before, buffer, frame, run)
    }

    /// The verdict alone, for runs by the hundred thousand.
    #[track_caller]
    pub fn run_unjudged(&self, buffer: &Buffer, frame: &[u8]) -> i32 {
        self.run_uncounted(PROGRAM, buffer, frame).verdict
    }

    /// Runs the egress program on a frame. Panics unless it goes on uncounted, or is dropped under one
    /// reason.
    #[track_caller]
    pub fn leave(&self, buffer: &Buffer, frame: &[u8]) -> Left {
        let before = self.counters();
        let run = self.run_uncounted(EGRESS_PROGRAM, buffer, frame);
        self.judge_leaving(&before, frame, run)
    }

    #[track_caller]
    pub(super) fn judge_leaving(&self, before: &Counters, frame: &[u8], run: Run) -> Left {
        let dropped = self.counted_since(before, frame.len());
        let wanted = if dropped.is_some() { DROP } else { PASS };
        assert_eq!(run.verdict, wanted, "verdict at egress of {dropped:?}");
        Left { dropped, frame: run.frame }
    }

    /// The reason that was counted for the one packet of `len` bytes since; `None` where there was
    /// neither packet nor reason.
    #[track_caller]
    fn counted_since(&self, before: &Counters, len: usize) -> Option<Reason> {
        let counted = self.counters();
        let one = Counter { packets: 1, bytes: len as u64 };
        let mut seen = false;
        let mut reasons = Vec::new();
        for (number, (new, old)) in (0u32..).zip(counted.reasons.iter().zip(&before.reasons)) {
            let more = Counter { packets: new.packets - old.packets, bytes: new.bytes - old.bytes };
            if more == Counter::default() {
                continue;
            }
            assert_eq!(more, one, "{:?}", Reason::from_number(number));
            match Reason::from_number(number) {
                None => seen = true,
                Some(reason) => reasons.push(reason),
            }
        }
        assert_eq!(reasons.len(), usize::from(seen), "one reason a packet seen, not {reasons:?}");
        reasons.pop()
    }

    #[track_caller]
    pub(super) fn judge(
        &self,
        before: &Counters,
        buffer: &Buffer,
        frame: &[u8],
        run: Run,
    ) -> Outcome {
        let reason = self.counted_since(before, frame.len()).expect("a packet seen");
        let wanted = match reason.verdict() {
            Verdict::Redirect => REDIRECT,
            Verdict::Pass => PASS,
            // What is held is a copy.
            Verdict::Drop | Verdict::Hold => DROP,
        };
        assert_eq!(run.verdict, wanted, "verdict of {reason:?}");
        if run.verdict == PASS {
            // The kernel has yet to look at the addresses of a reply, so it gets the inner ones.
            if reason == Reason::ThroughKernel {
                assert_handed_over(frame, &run.frame);
            } else {
                assert!(run.frame == frame, "{reason:?}: passed, but not untouched: {run:02x?}");
            }
            // What a port lets go up is known again on the bridge by our bit; nobody else sees it.
            let on_port = self
                .interface(buffer.ifindex)
                .is_some_and(|interface| interface.role == Role::Port as u8);
            let marked = on_port && reason != Reason::NotForRouter;
            let mark = if marked { buffer.mark | OURS } else { buffer.mark };
            assert_eq!(run.mark, mark, "mark of {reason:?}");
        }
        Outcome { verdict: run.verdict, reason, frame: run.frame, mark: run.mark }
    }

    /// Runs the sweep once; what it returns is its own affair.
    pub fn sweep(&self) -> i32 {
        self.sweep_for(SweepRequest::default())
    }

    /// Runs the sweep once, for what is asked for.
    pub fn sweep_for(&self, request: SweepRequest) -> i32 {
        self.run_uncounted(SWEEP_PROGRAM, &Buffer::default(), &request.frame()).verdict
    }

    /// Several threads at a time: each runs the program on its frames, one after the other, `rounds`
    /// times, and the calling thread runs the sweep meanwhile. What comes of it is for the counters to say.
    pub fn storm(&self, threads: &[Vec<(u32, Vec<u8>)>], rounds: u32) {
        std::thread::scope(|scope| {
            let senders: Vec<_> = threads
                .iter()
                .map(|frames| {
                    scope.spawn(move || {
                        for (ifindex, frame) in (0..rounds).flat_map(|_| frames) {
                            self.run_unjudged(&Buffer::at(*ifindex), frame);
                        }
                    })
                })
                .collect();
            while !senders.iter().all(|sender| sender.is_finished()) {
                self.sweep();
            }
        });
    }

    #[track_caller]
    fn run_uncounted(&self, name: &str, buffer: &Buffer, frame: &[u8]) -> Run {
        let context = buffer.context(frame.len());
        let mut context_after = [0; SK_BUFF];
        let mut after = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            ctx_in: (buffer.ifindex != 0).then_some(&context),
            ctx_out: Some(&mut context_after),
            ..TestRunOptions::new()
        };
        let result = self.program(name).test_run(options);
        let result = result.unwrap_or_else(|error| panic!("{name}: test run: {error:?}"));
        after.truncate(result.data_size_out as usize);
        let verdict = result.return_value.cast_signed();
        Run { verdict, frame: after, mark: mark_in(&context_after) }
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {:02x?}", self.verdict, self.frame)
    }
}

/// The `mark` in a `struct __sk_buff`.
pub(super) fn mark_in(context: &[u8; SK_BUFF]) -> u32 {
    u32::from_ne_bytes([context[MARK], context[MARK + 1], context[MARK + 2], context[MARK + 3]])
}

/// What the kernel is to forward is the packet as it was, apart from addresses, ports and checksums:
/// the same length, the same first bytes, the same TTL.
#[track_caller]
fn assert_handed_over(before: &[u8], after: &[u8]) {
    let changes_may_begin = match before[12..14] {
        [0x08, 0x00] => 14 + 10,
        _ => 14 + 8,
    };
    assert_eq!(before.len(), after.len(), "length of a packet handed over");
    assert_eq!(before[..changes_may_begin], after[..changes_may_begin], "start of its header");
}

// `struct __sk_buff`: what a test run may set, or shows.
const MARK: usize = 8;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
