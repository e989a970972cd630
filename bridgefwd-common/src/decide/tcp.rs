//! Where a TCP connection is in its life (RFC 7857, section 2).
//!
//! A reset does not end a flow at once: RFC 7857, section 2.2, has it wait, and data after it shows
//! that the reset was not meant for the connection.

use crate::contract::{Direction, FlowState};
use crate::packet::transport::TcpFlags;

/// Has any segment these flags? Those that none has are the kernel's choice too; PSH, ECE and CWR
/// go with all.
#[inline(always)]
#[must_use]
pub const fn are_possible(flags: TcpFlags) -> bool {
    const URG: u8 = 0x20;
    const OF_INTEREST: u8 = TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK | URG;
    /// One bit for each combination.
    const POSSIBLE: u64 = 1 << TcpFlags::SYN
        | 1 << (TcpFlags::SYN | URG)
        | 1 << (TcpFlags::SYN | TcpFlags::ACK)
        | 1 << TcpFlags::RST
        | 1 << (TcpFlags::RST | TcpFlags::ACK)
        | 1 << (TcpFlags::FIN | TcpFlags::ACK)
        | 1 << (TcpFlags::FIN | TcpFlags::ACK | URG)
        | 1 << TcpFlags::ACK
        | 1 << (TcpFlags::ACK | URG);
    POSSIBLE >> (flags.0 & OF_INTEREST) & 1 != 0
}

/// The state after a packet with these flags in this direction.
#[inline(always)]
#[must_use]
pub fn next_state(state: FlowState, direction: Direction, flags: TcpFlags) -> FlowState {
    let fin_of = match direction {
        Direction::Original => FlowState::TcpFinOriginal,
        Direction::Reply => FlowState::TcpFinReply,
    };
    if flags.any(TcpFlags::RST) {
        return FlowState::TcpReset;
    }
    match state {
        FlowState::TcpOpening => match direction {
            Direction::Reply if flags.any(TcpFlags::SYN) => FlowState::TcpAnswered,
            _ => FlowState::TcpOpening,
        },
        FlowState::TcpAnswered | FlowState::TcpEstablished if flags.any(TcpFlags::FIN) => fin_of,
        FlowState::TcpAnswered => match direction {
            Direction::Original if flags.any(TcpFlags::ACK) => FlowState::TcpEstablished,
            _ => FlowState::TcpAnswered,
        },
        FlowState::TcpFinOriginal | FlowState::TcpFinReply => {
            if flags.any(TcpFlags::FIN) && state as u8 != fin_of as u8 {
                FlowState::TcpClosed
            } else {
                state
            }
        }
        FlowState::TcpReset if !flags.any(TcpFlags::SYN) => FlowState::TcpEstablished,
        other => other,
    }
}

/// Does this packet begin a new connection where an old one ended?
#[inline(always)]
#[must_use]
pub const fn reopens(state: FlowState, direction: Direction, flags: TcpFlags) -> bool {
    matches!(state, FlowState::TcpClosed | FlowState::TcpReset)
        && matches!(direction, Direction::Original)
        && flags.opens()
}

/// May this flow's slot be taken by another where there is no other left?
#[inline(always)]
#[must_use]
pub const fn is_recyclable(state: FlowState) -> bool {
    matches!(state, FlowState::TcpClosed | FlowState::TcpReset)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use Direction::{Original, Reply};

    const SYN: u8 = TcpFlags::SYN;
    const ACK: u8 = TcpFlags::ACK;
    const FIN: u8 = TcpFlags::FIN;
    const RST: u8 = TcpFlags::RST;

    #[track_caller]
    fn run(packets: &[(Direction, u8)], want: FlowState) {
        let state = packets.iter().fold(FlowState::TcpOpening, |state, &(direction, flags)| {
            next_state(state, direction, TcpFlags(flags))
        });
        assert_eq!(state, want);
    }

    const HANDSHAKE: [(Direction, u8); 3] = [(Original, SYN), (Reply, SYN | ACK), (Original, ACK)];

    fn after_handshake(more: &[(Direction, u8)]) -> Vec<(Direction, u8)> {
        [&HANDSHAKE[..], more].concat()
    }

    #[test]
    fn handshake() {
        run(&HANDSHAKE[..1], FlowState::TcpOpening);
        run(&HANDSHAKE[..2], FlowState::TcpAnswered);
        run(&HANDSHAKE, FlowState::TcpEstablished);
        run(&[(Original, SYN), (Original, SYN), (Reply, SYN | ACK)], FlowState::TcpAnswered);
        // Simultaneous open (RFC 5382, REQ-2).
        run(&[(Original, SYN), (Reply, SYN), (Original, SYN | ACK)], FlowState::TcpEstablished);
    }

    #[test]
    fn closing_takes_both_sides() {
        run(&after_handshake(&[(Original, FIN | ACK)]), FlowState::TcpFinOriginal);
        run(
            &after_handshake(&[(Original, FIN | ACK), (Original, FIN | ACK)]),
            FlowState::TcpFinOriginal,
        );
        run(&after_handshake(&[(Reply, FIN | ACK), (Original, ACK)]), FlowState::TcpFinReply);
        run(&after_handshake(&[(Reply, FIN | ACK), (Original, FIN | ACK)]), FlowState::TcpClosed);
    }

    #[test]
    fn data_after_a_reset_shows_that_it_was_stray() {
        run(&after_handshake(&[(Reply, RST)]), FlowState::TcpReset);
        run(&after_handshake(&[(Reply, RST), (Original, ACK)]), FlowState::TcpEstablished);
    }

    #[test]
    fn nine_combinations_of_flags_are_possible() {
        let ignored = [0x08, 0x40, 0x80, 0xc8];
        let possible: Vec<u8> = (0..=0xff)
            .filter(|flags| flags & 0xc8 == 0 && are_possible(TcpFlags(*flags)))
            .collect();
        assert_eq!(possible, [0x02, 0x04, 0x10, 0x11, 0x12, 0x14, 0x22, 0x30, 0x31]);
        for flags in 0..=0xff {
            let plain = TcpFlags(flags & !0xc8);
            for more in ignored {
                assert_eq!(are_possible(TcpFlags(plain.0 | more)), are_possible(plain));
            }
        }
    }

    #[test]
    fn only_a_syn_of_the_opener_reopens() {
        assert!(reopens(FlowState::TcpClosed, Original, TcpFlags(SYN)));
        assert!(reopens(FlowState::TcpReset, Original, TcpFlags(SYN)));
        assert!(!reopens(FlowState::TcpClosed, Reply, TcpFlags(SYN)));
        assert!(!reopens(FlowState::TcpClosed, Original, TcpFlags(SYN | ACK)));
        assert!(!reopens(FlowState::TcpEstablished, Original, TcpFlags(SYN)));
    }
}
