//! Two honest endpoints on a network that loses, repeats and reorders: none of their segments is
//! ever dropped, whatever their windows.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use Direction::{Original, Reply};

/// An endpoint of a connection, as RFC 9293 has it; it takes data only in order.
#[derive(Debug)]
struct Endpoint {
    scale: Option<u8>,
    both_scale: bool,
    /// Has it seen the other's SYN?
    synchronised: bool,
    /// First number not acknowledged, first one not sent, and the highest that it may send.
    acknowledged: u32,
    next: u32,
    edge: u32,
    /// What it expects next, and the highest number that it has permitted.
    expects: u32,
    permitted: u32,
    fin_at: Option<u32>,
    other_closed: bool,
    bytes_taken: u64,
}

const fn at_or_before(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) as i32 >= 0
}

impl Endpoint {
    fn new(isn: u32, scale: Option<u8>) -> Self {
        Self {
            scale,
            both_scale: false,
            synchronised: false,
            acknowledged: isn,
            next: isn.wrapping_add(1),
            edge: isn.wrapping_add(1),
            expects: 0,
            permitted: 0,
            fin_at: None,
            other_closed: false,
            bytes_taken: 0,
        }
    }

    fn shift(&self, of: Option<u8>) -> u32 {
        if self.both_scale { u32::from(of.unwrap_or(0)) } else { 0 }
    }

    /// The window field for a buffer with `free` bytes; what was permitted is never taken back, but
    /// for what rounding takes.
    fn window(&mut self, free: u16, in_syn: bool) -> u16 {
        let shift = if in_syn { 0 } else { self.shift(self.scale) };
        let promised = self.permitted.wrapping_sub(self.expects);
        let promised = if promised as i32 > 0 { promised } else { 0 };
        let field = (promised.max(u32::from(free) << shift) >> shift).min(0xffff);
        let edge = self.expects.wrapping_add(field << shift);
        if at_or_before(self.permitted, edge) || promised == 0 {
            self.permitted = edge;
        }
        field as u16
    }

    fn make(&mut self, flags: u8, seq: u32, payload_len: u32, free: u16) -> TcpSegment {
        let in_syn = flags & TcpFlags::SYN != 0;
        let window = self.window(free, in_syn);
        let scale = if in_syn { self.scale.unwrap_or(NO_SCALE) } else { NO_SCALE };
        let ack = if flags & TcpFlags::ACK == 0 { 0 } else { self.expects };
        TcpSegment { seq, ack, payload_len, window, flags: TcpFlags(flags), scale }
    }

    fn syn(&mut self, free: u16) -> TcpSegment {
        let ack = if self.synchronised { TcpFlags::ACK } else { 0 };
        self.make(TcpFlags::SYN | ack, self.next.wrapping_sub(1), 0, free)
    }

    fn ack(&mut self, free: u16) -> TcpSegment {
        self.make(TcpFlags::ACK, self.next, 0, free)
    }

    /// Is the handshake over for it?
    fn is_open(&self, isn: u32) -> bool {
        self.synchronised && self.acknowledged != isn
    }

    /// New data, as much of `want` as it may send; a probe if nothing.
    fn send(&mut self, want: u32, free: u16) -> TcpSegment {
        let room = self.edge.wrapping_sub(self.next);
        let room = if room as i32 > 0 { room } else { 0 };
        match (self.fin_at, room.min(want)) {
            (Some(_), _) => self.repeat(want, free),
            (None, 0) if self.edge == self.next => self.make(TcpFlags::ACK, self.next, 1, free),
            (None, 0) => self.make(TcpFlags::ACK, self.next.wrapping_sub(1), 0, free),
            (None, len) => {
                let seq = self.next;
                self.next = seq.wrapping_add(len);
                self.make(TcpFlags::ACK, seq, len, free)
            }
        }
    }

    fn close(&mut self, free: u16) -> TcpSegment {
        let seq = *self.fin_at.get_or_insert(self.next);
        self.next = seq.wrapping_add(1);
        self.make(TcpFlags::FIN | TcpFlags::ACK, seq, 0, free)
    }

    /// What was not acknowledged, again.
    fn repeat(&mut self, want: u32, free: u16) -> TcpSegment {
        let len = self.fin_at.unwrap_or(self.next).wrapping_sub(self.acknowledged);
        if len as i32 <= 0 {
            return if self.fin_at.is_some() { self.close(free) } else { self.ack(free) };
        }
        self.make(TcpFlags::ACK, self.acknowledged, len.min(want.max(1)), free)
    }

    fn take(&mut self, segment: &TcpSegment, other_scale: Option<u8>) {
        let flags = segment.flags;
        if flags.any(TcpFlags::SYN) {
            if !self.synchronised {
                self.synchronised = true;
                self.both_scale = self.scale.is_some() && segment.scale != NO_SCALE;
                self.expects = segment.seq.wrapping_add(1);
                self.permitted = self.expects;
            }
            if segment.seq.wrapping_add(1) != self.expects {
                return;
            }
        } else if !self.synchronised {
            return;
        }
        // A probe may have been taken.
        let sent = self.next.wrapping_add(u32::from(self.fin_at.is_none()));
        if flags.any(TcpFlags::ACK) && at_or_before(segment.ack, sent) {
            if at_or_before(self.next, segment.ack) {
                self.next = segment.ack;
            }
            if at_or_before(self.acknowledged, segment.ack) {
                self.acknowledged = segment.ack;
            }
            let shift = if flags.any(TcpFlags::SYN) { 0 } else { self.shift(other_scale) };
            let edge = segment.ack.wrapping_add(u32::from(segment.window) << shift);
            if at_or_before(self.edge, edge) {
                self.edge = edge;
            }
        }
        let end = segment.end();
        let wanted = at_or_before(segment.seq, self.expects) && !at_or_before(end, self.expects);
        if wanted && !flags.any(TcpFlags::SYN) {
            let room = self.permitted.wrapping_sub(self.expects);
            let new = end.wrapping_sub(self.expects);
            if new <= room || flags.any(TcpFlags::FIN) {
                self.other_closed |= flags.any(TcpFlags::FIN);
                self.bytes_taken += u64::from(new);
                self.expects = end;
            }
        }
    }
}

/// The tracker between the two, and what is under way before and behind it.
struct Conversation {
    isns: [u32; 2],
    scales: [Option<u8>; 2],
    ends: [Endpoint; 2],
    before: [Vec<TcpSegment>; 2],
    behind: [Vec<TcpSegment>; 2],
    state: FlowState,
    sides: [TcpSide; 2],
    begun: bool,
    over: bool,
}

/// One thing that happens: which, where, and how much.
type Event = (u8, bool, u16);

/// How far segments overtake each other.
const DISORDER: usize = 6;

impl Conversation {
    fn new(isns: [u32; 2], scales: [Option<u8>; 2]) -> Self {
        Self {
            isns,
            scales,
            ends: [Endpoint::new(isns[0], scales[0]), Endpoint::new(isns[1], scales[1])],
            before: Default::default(),
            behind: Default::default(),
            state: FlowState::TcpOpening,
            sides: [TcpSide::zeroed(); 2],
            begun: false,
            over: false,
        }
    }

    fn happens(&mut self, (what, by_server, much): Event) {
        let by = usize::from(by_server);
        let choice = usize::from(much) % DISORDER;
        match what % 24 {
            0..=7 => self.tracked(by, choice, false),
            8 => self.tracked(by, choice, true),
            9 => drop(taken(&mut self.before[by], choice)),
            10 => drop(taken(&mut self.behind[by], choice)),
            11..=17 => {
                if let Some(segment) = taken(&mut self.behind[by], choice) {
                    self.ends[1 - by].take(&segment, self.scales[by]);
                }
            }
            action => self.acts(by, action, much),
        }
    }

    /// An endpoint sends something.
    fn acts(&mut self, by: usize, action: u8, much: u16) {
        let (isn, end) = (self.isns[by], &mut self.ends[by]);
        let want = u32::from(much % 3000) + 1;
        let segment = if !end.is_open(isn) {
            // The server speaks only when spoken to.
            if by == 1 && !end.synchronised {
                return;
            }
            end.syn(much.max(1))
        } else {
            match action {
                18..=20 => end.send(want, much),
                21 => end.repeat(want, much),
                22 => end.ack(much),
                _ if end.bytes_taken > 5000 => end.close(much),
                _ => end.ack(much),
            }
        };
        self.before[by].push(segment);
    }

    /// A segment passes the tracker, or a copy of it does.
    fn tracked(&mut self, by: usize, choice: usize, copy: bool) {
        let Some(segment) = taken(&mut self.before[by], choice) else { return };
        if copy {
            self.before[by].push(segment);
        }
        self.behind[by].push(segment);
        let [original, reply] = &mut self.sides;
        if !self.begun {
            assert!(segment.flags.opens(), "{segment:?}");
            begin(&segment, original, reply);
            self.begun = true;
            return;
        }
        let (direction, mine, theirs) =
            if by == 0 { (Original, original, reply) } else { (Reply, reply, original) };
        match judge(&segment, direction, self.state, mine, theirs) {
            Judgement::Continues(state) => self.state = state,
            Judgement::Passes => {}
            // A late SYN after the end: for a tracker it is a new connection.
            Judgement::Reopens => self.over = true,
            refused => panic!("{refused:?}: {segment:?} in {:?} {:?}", self.state, self.sides),
        }
    }

    fn run(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.happens(event);
            if self.over {
                return;
            }
        }
    }
}

/// One of the first, if any.
fn taken(queue: &mut Vec<TcpSegment>, choice: usize) -> Option<TcpSegment> {
    let choice = choice.min(queue.len().checked_sub(1)?);
    Some(queue.remove(choice))
}

fn scale() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![Just(None), (0_u8..=14).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn nothing_of_an_honest_conversation_is_dropped(
        isns: [u32; 2],
        scales in [scale(), scale()],
        events in prop::collection::vec(any::<Event>(), 100..1500),
    ) {
        Conversation::new(isns, scales).run(events);
    }
}

/// The model does talk: without it the property above would say little.
#[test]
fn conversations_get_through_and_end() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut event = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        ((seed >> 8) as u8, seed & 1 != 0, (seed >> 32) as u16)
    };
    let (mut taken, mut closed) = (0, 0);
    for run in 0..200_u32 {
        let scales = [Some((run % 15) as u8), (run % 3 != 0).then_some(7)];
        let isns = [run.wrapping_mul(0x9e37_79b9), 0xffff_f000_u32.wrapping_add(run)];
        let mut conversation = Conversation::new(isns, scales);
        conversation.run((0..3000).map(|_| event()));
        taken += conversation.ends.iter().map(|end| end.bytes_taken).sum::<u64>();
        let both = conversation.ends.iter().all(|end| end.other_closed);
        if both && !conversation.over {
            let state = conversation.state;
            assert!(matches!(state, FlowState::TcpClosed), "{state:?} {:?}", conversation.sides);
            closed += 1;
        }
    }
    assert!(taken > 2_000_000 && closed > 50, "{taken} bytes, {closed} closed");
}
