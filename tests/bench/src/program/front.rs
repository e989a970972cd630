//! A program in front of ours that makes each run of a test run a packet of its own: the kernel runs a
//! program many times on one buffer, and ours changes it.
//!
//! It writes the frame anew, with the ports of the next flow in it, takes our marks off, and goes on
//! by tail call: to ours, or to one that does nothing. What ours costs is the difference.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use bridgefwd_tests::bpf::{self, SK_BUFF, asm};
use bridgefwd_tests::program::Buffer;

/// What it returns where nothing is behind it: no verdict of ours.
const NOTHING_BEHIND: i32 = -9;
/// Where in its memory the number of the flow is worked out.
const STATE: i16 = 0;
/// Where the sequence number is counted.
const SEQUENCE: i16 = 4;
/// Where the frame stands.
const FRAME: i16 = 8;

/// How the flow's number is written into a frame: the client's port is its lower 15 bits, the server's
/// the others, both from [`FIRST_PORT`] on.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How the next flow is chosen.
    pub order: Order,
    /// Offset in the frame of the client's port.
    pub client_port: i16,
    /// Offset in the frame of the server's port.
    pub server_port: i16,
    /// Offset of four bytes that may be anything, in which the complements of both are written: every
    /// checksum stays right.
    pub complement: Option<i16>,
    /// Offset of a TCP sequence number, which goes up by one with each packet.
    pub sequence: Option<i16>,
}

/// Which flow comes next.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Any of so many, from a fixed seed.
    Any(u32),
    /// One after the other, from this one on.
    From(u32),
}

/// The lowest port of either side.
pub const FIRST_PORT: u16 = 1024;
/// How many clients' ports there are for each of the server's.
const CLIENT_PORTS_BITS: u32 = 15;

impl Spread {
    /// The ports of a flow: the client's, and the server's.
    pub fn ports(flow: u32) -> [u16; 2] {
        let client = flow & ((1 << CLIENT_PORTS_BITS) - 1);
        [client, flow >> CLIENT_PORTS_BITS].map(|number| FIRST_PORT + number as u16)
    }
}

/// The program, and what it goes on to.
#[derive(Debug)]
pub struct Front {
    program: OwnedFd,
    /// The kernel empties it when nobody holds it from outside.
    _array: OwnedFd,
    frame: Vec<u8>,
    buffer: Buffer,
}

impl Front {
    /// In front of `behind`, with packets like `frame` of the flows of `spread`, or all the same.
    pub fn new(
        behind: BorrowedFd<'_>,
        buffer: Buffer,
        frame: &[u8],
        spread: Option<Spread>,
    ) -> Self {
        let array = bpf::program_array(behind);
        let first = match spread.map(|spread| spread.order) {
            Some(Order::From(first)) => first,
            _ => 1,
        };
        let memory = [&first.to_ne_bytes()[..], &[0; 4], frame].concat();
        let memory = bpf::one_value(&memory);
        let program = bpf::classifier(&code(&array, &memory, frame.len(), spread));
        Self { program, _array: array, frame: frame.to_vec(), buffer }
    }

    /// ns of a run of a program with nothing in front, the smallest of some.
    pub fn alone(program: &OwnedFd) -> f64 {
        let run = || {
            let mut context = Buffer::default().context(64);
            bpf::test_run(program.as_fd(), 1_000_000, &[0; 64], &mut [0; 320], &mut context)
        };
        (0..5).map(|_| run().duration.as_nanos() as f64).fold(f64::INFINITY, f64::min)
    }

    /// Runs it so many times; the time of one run on average, and the last verdict.
    pub fn run(&self, repeat: u32) -> (Duration, i32) {
        let mut context: [u8; SK_BUFF] = self.buffer.context(self.frame.len());
        let mut after = vec![0; self.frame.len() + 256];
        let ran =
            bpf::test_run(self.program.as_fd(), repeat, &self.frame, &mut after, &mut context);
        assert_ne!(ran.verdict, NOTHING_BEHIND, "the program behind the front is gone");
        (ran.duration, ran.verdict)
    }
}

/// Registers: 6 the context, 7 the memory, 8 the flow's number, 1 what is worked on.
fn code(array: &OwnedFd, memory: &OwnedFd, length: usize, spread: Option<Spread>) -> Vec<u64> {
    let mut code = vec![asm::copy(6, 1)];
    code.extend(asm::map_value(7, memory));
    if let Some(spread) = spread {
        code.push(asm::load32(8, 7, STATE));
        match spread.order {
            Order::Any(flows) => code.extend([
                asm::multiply32(8, 1_664_525),
                asm::add32(8, 1_013_904_223),
                asm::store32(7, STATE, 8),
                // The lower bits of such a sequence repeat themselves.
                asm::shift_right(8, 8),
                asm::remainder32(8, flows),
            ]),
            Order::From(_) => {
                code.extend([asm::copy(1, 8), asm::add32(1, 1), asm::store32(7, STATE, 1)])
            }
        }
        let field = |code: &mut Vec<u64>, at: i16, complement: Option<i16>| {
            code.extend([asm::to_wire(1, 16), asm::store16(7, FRAME + at, 1)]);
            if let Some(at) = complement {
                code.extend([asm::xor(1, 0xffff), asm::store16(7, FRAME + at, 1)]);
            }
        };
        code.extend([
            asm::copy(1, 8),
            asm::and(1, (1 << CLIENT_PORTS_BITS) - 1),
            asm::add(1, FIRST_PORT.into()),
        ]);
        field(&mut code, spread.client_port, spread.complement);
        code.extend([
            asm::copy(1, 8),
            asm::shift_right(1, CLIENT_PORTS_BITS),
            asm::add(1, FIRST_PORT.into()),
        ]);
        field(&mut code, spread.server_port, spread.complement.map(|at| at + 2));
        if let Some(at) = spread.sequence {
            code.extend([
                asm::load32(1, 7, SEQUENCE),
                asm::add32(1, 1),
                asm::store32(7, SEQUENCE, 1),
                asm::add32(1, FIRST_SEQUENCE),
                asm::to_wire(1, 32),
                asm::store32(7, FRAME + at, 1),
            ]);
        }
    }
    code.extend([
        asm::copy(1, 6),
        asm::set(2, 0),
        asm::copy(3, 7),
        asm::add(3, FRAME as u32),
        asm::set(4, length as u32),
        asm::set(5, 0),
        asm::call(asm::STORE_BYTES),
        asm::set(1, 0),
        asm::store32(6, asm::TC_INDEX, 1),
        asm::store32(6, asm::MARK, 1),
        asm::copy(1, 6),
    ]);
    code.extend(asm::map(2, array));
    code.extend([
        asm::set(3, 0),
        asm::call(asm::TAIL_CALL),
        asm::set(0, NOTHING_BEHIND.cast_unsigned()),
        asm::exit(),
    ]);
    code
}

/// The sequence number of the first segment.
pub const FIRST_SEQUENCE: u32 = 1001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_has_ports_of_its_own() {
        assert_eq!(Spread::ports(0), [1024, 1024]);
        assert_eq!(Spread::ports(32_767), [33_791, 1024]);
        assert_eq!(Spread::ports(32_768), [1024, 1025]);
        assert_eq!(Spread::ports(1_000_000), [1024 + 16_960, 1024 + 30]);
    }
}
