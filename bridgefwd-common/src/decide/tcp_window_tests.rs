//! Single segments, rule by rule: what is believed, what only passes, what is dropped.

use proptest::prelude::*;

use super::*;
use Direction::{Original, Reply};
use FlowState::*;
use Judgement::*;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;

const CLIENT: u32 = 1000;
const SERVER: u32 = 0xffff_fff0;
const WINDOW: u32 = 64_240;

/// A connection as the tracker has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tracked {
    state: FlowState,
    sides: [TcpSide; 2],
}

/// A segment of the client (`Original`) or of the server, with numbers counted from their SYN.
fn segment(direction: Direction, flags: u8, seq: u32, ack: u32, payload_len: u32) -> TcpSegment {
    let (mine, theirs) = match direction {
        Original => (CLIENT, SERVER),
        Reply => (SERVER, CLIENT),
    };
    TcpSegment {
        seq: mine.wrapping_add(seq),
        ack: if flags & ACK == 0 { 0 } else { theirs.wrapping_add(ack) },
        payload_len,
        window: WINDOW as u16,
        flags: TcpFlags(flags),
        scale: NO_SCALE,
    }
}

impl Tracked {
    fn new() -> Self {
        let mut new = Self { state: TcpOpening, sides: [TcpSide::zeroed(); 2] };
        let [original, reply] = &mut new.sides;
        begin(&segment(Original, SYN, 0, 0, 0), original, reply);
        new
    }

    fn open() -> Self {
        let mut open = Self::new();
        open.goes(Reply, SYN | ACK, 0, 1, 0, TcpAnswered);
        open.goes(Original, ACK, 1, 1, 0, TcpEstablished);
        open
    }

    fn judge(&mut self, direction: Direction, segment: &TcpSegment) -> Judgement {
        let [original, reply] = &mut self.sides;
        let (mine, theirs) = match direction {
            Original => (original, reply),
            Reply => (reply, original),
        };
        let judgement = judge(segment, direction, self.state, mine, theirs);
        if let Continues(state) = judgement {
            self.state = state;
        }
        judgement
    }

    #[track_caller]
    fn goes(&mut self, by: Direction, flags: u8, seq: u32, ack: u32, len: u32, state: FlowState) {
        let judgement = self.judge(by, &segment(by, flags, seq, ack, len));
        assert_eq!(judgement, Continues(state));
    }

    /// It is judged so and leaves no trace.
    #[track_caller]
    fn not(&self, by: Direction, flags: u8, seq: u32, ack: u32, len: u32, want: Judgement) {
        let mut after = *self;
        assert_eq!(after.judge(by, &segment(by, flags, seq, ack, len)), want);
        assert_eq!(after, *self);
    }
}

const fn back(bytes: u32) -> u32 {
    0_u32.wrapping_sub(bytes)
}

#[test]
fn the_first_segment_tells_of_both_sides() {
    let new = Tracked::new();
    let end = CLIENT + 1;
    assert_eq!((new.sides[0].next, new.sides[0].edge), (end, end));
    assert_eq!(new.sides[1], TcpSide::zeroed());
    let open = Tracked::open();
    assert_eq!(open.sides[0].edge, end + WINDOW);
    assert_eq!(open.sides[1].next, SERVER.wrapping_add(1));
    assert_eq!(open.sides[1].edge, SERVER.wrapping_add(1 + WINDOW));
}

#[test]
fn data_passes_up_to_the_edge_and_acknowledgments_of_what_was_sent() {
    let mut open = Tracked::open();
    open.goes(Original, ACK, 1, 1, 1000, TcpEstablished);
    open.goes(Reply, ACK, 1, 1001, 0, TcpEstablished);
    open.not(Reply, ACK, 1, 1002, 0, OutOfWindow);
    open.goes(Original, ACK, 1001 + WINDOW, 1, 0, TcpEstablished);
    open.not(Original, ACK, 1002 + 3 * WINDOW, 1, 10, OutOfWindow);
    open.not(Reply, ACK, 900_000_000, 1, 5, OutOfWindow);
}

#[test]
fn old_segments_pass_and_prove_nothing() {
    let mut open = Tracked::open();
    for sent in 0..4 {
        open.goes(Original, ACK, 1 + sent * WINDOW, 1, WINDOW, TcpEstablished);
        open.goes(Reply, ACK, 1, 1 + (sent + 1) * WINDOW, 0, TcpEstablished);
    }
    open.goes(Original, ACK, 1 + 3 * WINDOW, 1, WINDOW, TcpEstablished);
    open.not(Original, ACK, 1, 1, 1000, Passes);
    open.not(Original, ACK | FIN, 1, 1, 0, Passes);
    open.not(Reply, ACK, 1, 1, 0, Passes);
}

#[test]
fn keepalives_probes_and_repetitions_are_inside() {
    let mut open = Tracked::open();
    for len in [0, 1] {
        open.goes(Original, ACK, 0, 1, len, TcpEstablished);
        open.goes(Reply, ACK, 0, 1, len, TcpEstablished);
    }
    let mut shut = segment(Reply, ACK, 1, 1, 0);
    shut.window = 0;
    open.judge(Reply, &shut);
    open.goes(Original, ACK, 1, 1, 100, TcpEstablished);
    open.goes(Original, ACK, 1, 1, 100, TcpEstablished);
    let mut side = TcpSide { edge: 500, ..TcpSide::zeroed() };
    permit(500, 0, &mut side);
    assert_eq!(side.edge, 501, "one byte may always be sent, to probe");
}

#[test]
fn a_receiver_may_take_more_than_it_permitted() {
    let mut open = Tracked::open();
    let (seq, len) = (1 + WINDOW + 10, 1000);
    assert_eq!(open.judge(Original, &segment(Original, ACK, seq, 1, len)), Passes);
    open.goes(Reply, ACK, 1, seq + len, 0, TcpEstablished);
    open.goes(Original, ACK, seq + len, 1, WINDOW + 500, TcpEstablished);
    assert_eq!(open.sides[1].window_bytes(), WINDOW + 500);
}

#[test]
fn a_reset_is_believed_inside_the_window_only() {
    let mut open = Tracked::open();
    open.goes(Reply, ACK, 1, 1, 1000, TcpEstablished);
    open.goes(Original, ACK, 1, 1001, 0, TcpEstablished);
    for seq in [1001, 1001 + WINDOW] {
        open.clone().goes(Reply, RST, seq, 0, 0, TcpReset);
        open.clone().goes(Reply, RST | ACK, seq, 1, 0, TcpReset);
    }
    open.clone().goes(Reply, RST | ACK, 1001, back(CLIENT), 0, TcpReset);
    open.not(Reply, RST, 1000, 0, 0, OutOfWindow);
    open.not(Reply, RST, back(2_000_000), 0, 0, OutOfWindow);
    open.not(Reply, RST, 1002 + WINDOW, 0, 0, Passes);
    open.not(Reply, RST, 1001 + 3 * WINDOW, 0, 0, OutOfWindow);
    open.not(Reply, RST | ACK, 1001, 2, 0, OutOfWindow);
    open.not(Reply, RST | ACK, 1001, back(100_000), 0, Passes);
    open.goes(Reply, RST, 1001, 0, 0, TcpReset);
    open.goes(Original, ACK, 1, 1001, 5, TcpEstablished);
}

#[test]
fn resets_of_a_connection_that_ends_are_never_dropped() {
    let mut open = Tracked::open();
    open.goes(Original, FIN | ACK, 1, 1, 0, TcpFinOriginal);
    open.not(Reply, RST, 900_000_000, 0, 0, Passes);
    open.goes(Reply, RST, 1, 0, 0, TcpReset);
    open.not(Reply, RST, 900_000_000, 0, 0, Passes);
}

#[test]
fn a_refusal_acknowledges_the_syn() {
    let new = Tracked::new();
    let refusal = |ack: u32, flags: u8| {
        let mut refusal = segment(Reply, flags, 0, 0, 0);
        (refusal.seq, refusal.ack, refusal.window) = (0, ack, 0);
        let mut after = new;
        let judgement = after.judge(Reply, &refusal);
        assert_eq!(after.sides, new.sides);
        judgement
    };
    assert_eq!(refusal(CLIENT + 1, RST | ACK), Continues(TcpReset));
    assert_eq!(refusal(CLIENT + 2, RST | ACK), OutOfWindow);
    assert_eq!(refusal(CLIENT.wrapping_sub(100_000), RST | ACK), Passes);
    assert_eq!(refusal(0, RST), Passes);
    assert_eq!(refusal(0, RST | ACK), Passes);
}

#[test]
fn impossible_flags_are_dropped_in_every_state() {
    for flags in [0, SYN | FIN, SYN | RST, 0x3f, FIN, FIN | RST, 0x08, 0x28] {
        Tracked::new().not(Original, flags, 1, 1, 0, ImpossibleFlags);
        Tracked::open().not(Original, flags, 1, 1, 0, ImpossibleFlags);
        Tracked::open().not(Reply, flags, 1, 1, 0, ImpossibleFlags);
    }
}

#[test]
fn what_has_no_place_before_the_answer_is_dropped() {
    let new = Tracked::new();
    new.not(Original, ACK, 1, 1, 0, OutOfPlace);
    new.not(Original, FIN | ACK, 1, 1, 0, OutOfPlace);
    new.not(Original, SYN | ACK, 0, 1, 0, OutOfPlace);
    new.not(Reply, FIN | ACK, 1, 1, 0, OutOfPlace);
    new.not(Reply, SYN | ACK, 0, 2, 0, OutOfWindow);
    new.not(Reply, SYN | ACK, 0, back(100_000), 0, Passes);
    new.not(Original, SYN, 0, 0, 0, Passes);
    Tracked::open().not(Reply, SYN, 5000, 0, 0, OutOfPlace);
}

#[test]
fn handshake_segments_again_change_nothing() {
    let mut answered = Tracked::new();
    answered.goes(Reply, SYN | ACK, 0, 1, 0, TcpAnswered);
    answered.not(Reply, SYN | ACK, 0, 1, 0, Passes);
    answered.not(Reply, ACK, 900_000_000, 1, 0, OutOfWindow);
    answered.clone().goes(Reply, ACK, 1, 1, 0, TcpAnswered);
    answered.goes(Original, ACK, 1, 1, 100, TcpEstablished);
    answered.not(Reply, SYN | ACK, 0, 1, 0, Passes);
    assert_eq!(answered.judge(Original, &segment(Original, SYN, 0, 0, 0)), Passes);
    answered.not(Reply, SYN | ACK, 0, 1, 0, Passes);
    answered.goes(Original, ACK, 101, 1, 100, TcpEstablished);
}

#[test]
fn opened_at_the_same_time() {
    let mut both = Tracked::new();
    both.goes(Reply, SYN, 0, 0, 0, TcpOpening);
    both.not(Original, ACK, 1, 1, 0, OutOfPlace);
    let mut by_reply = both;
    both.goes(Original, SYN | ACK, 0, 1, 0, TcpAnswered);
    both.clone().goes(Original, ACK, 1, 1, 0, TcpEstablished);
    both.goes(Reply, ACK, 1, 1, 10, TcpEstablished);
    by_reply.goes(Reply, SYN | ACK, 0, 1, 0, TcpAnswered);
    by_reply.goes(Original, ACK, 1, 1, 0, TcpEstablished);
}

#[test]
fn a_stray_syn_leaves_the_connection_and_its_challenge_passes() {
    let mut open = Tracked::open();
    let before = open;
    assert_eq!(open.judge(Original, &segment(Original, SYN, 700_000, 0, 0)), Passes);
    open.goes(Reply, ACK, 1, 1, 0, TcpEstablished);
    open.goes(Original, ACK, 1, 1, 20, TcpEstablished);
    assert_eq!(open.sides[1], before.sides[1]);
    assert_eq!(open.sides[0].bits, before.sides[0].bits);
}

#[test]
fn both_may_begin_anew_where_we_hold_an_old_connection() {
    let mut open = Tracked::open();
    let (client, server) = (1_500_000_000, 2_500_000_000);
    assert_eq!(open.judge(Original, &segment(Original, SYN, client, 0, 0)), Passes);
    let mut refused = open;
    open.goes(Reply, SYN | ACK, server, client + 1, 0, TcpAnswered);
    open.goes(Original, ACK, client + 1, server + 1, 500, TcpEstablished);
    open.goes(Reply, ACK, server + 1, client + 501, 500, TcpEstablished);
    let mut reset = segment(Reply, RST | ACK, 0, client + 1, 0);
    reset.seq = 0;
    assert_eq!(refused.judge(Reply, &reset), Continues(TcpReset));
    let syn = segment(Original, SYN, client, 0, 0);
    assert_eq!(refused.judge(Original, &syn), Reopens);
}

#[test]
fn a_server_with_an_older_connection_challenges() {
    let mut new = Tracked::new();
    assert_eq!(new.judge(Reply, &segment(Reply, ACK, 77, 400_000_000, 0)), Passes);
    new.not(Original, RST, 300_000_000, 0, 0, OutOfWindow);
    new.clone().goes(Original, RST, 400_000_000, 0, 0, TcpReset);
    new.goes(Reply, SYN | ACK, 0, 1, 0, TcpAnswered);
}

#[test]
fn the_syn_with_other_numbers_replaces_the_first() {
    for other in [5_000_000, back(5_000_000)] {
        let mut new = Tracked::new();
        assert_eq!(new.judge(Original, &segment(Original, SYN, other, 0, 0)), Passes);
        new.goes(Reply, SYN | ACK, 0, other.wrapping_add(1), 0, TcpAnswered);
        new.goes(Original, ACK, other.wrapping_add(1), 1, 0, TcpEstablished);
    }
}

#[test]
fn a_closed_connection_reopens_after_its_last_acknowledgment() {
    let mut open = Tracked::open();
    open.goes(Original, FIN | ACK, 1, 1, 0, TcpFinOriginal);
    open.goes(Original, FIN | ACK, 1, 1, 0, TcpFinOriginal);
    open.goes(Reply, ACK, 1, 2, 5000, TcpFinOriginal);
    open.goes(Original, ACK, 2, 5001, 0, TcpFinOriginal);
    open.goes(Reply, FIN | ACK, 5001, 2, 0, TcpClosed);
    let syn = segment(Original, SYN, 9_000_000, 0, 0);
    assert_eq!(open.judge(Original, &syn), Passes);
    // The challenge is not the last acknowledgment.
    assert_eq!(open.judge(Reply, &segment(Reply, ACK, 5002, 2, 0)), Passes);
    assert_eq!(open.judge(Original, &syn), Passes);
    open.goes(Original, ACK, 2, 5002, 0, TcpClosed);
    open.goes(Reply, FIN | ACK, 5001, 2, 0, TcpClosed);
    open.not(Original, SYN, 9_000_000, 0, 0, Reopens);
    open.not(Reply, SYN, 9_000_000, 0, 0, OutOfPlace);
}

#[test]
fn scaling_takes_both() {
    let open_with = |client: u8, server: u8| {
        let (mut original, mut reply) = (TcpSide::zeroed(), TcpSide::zeroed());
        let mut syn = segment(Original, SYN, 0, 0, 0);
        syn.scale = client;
        begin(&syn, &mut original, &mut reply);
        let mut answer = segment(Reply, SYN | ACK, 0, 1, 0);
        answer.scale = server;
        judge(&answer, Reply, TcpOpening, &mut reply, &mut original);
        let mut ack = segment(Original, ACK, 1, 1, 0);
        ack.window = 1000;
        judge(&ack, Original, TcpAnswered, &mut original, &mut reply);
        (original, reply)
    };
    let (original, reply) = open_with(7, 14);
    assert_eq!((original.bits & TcpSide::SCALE, reply.bits & TcpSide::SCALE), (7, 14));
    assert_eq!(original.window_bytes(), 128_000);
    assert_eq!(reply.edge, SERVER.wrapping_add(1 + 128_000));
    assert_eq!(original.edge, CLIENT + 1 + WINDOW, "the window of a SYN is not scaled");
    for (client, server) in [(7, NO_SCALE), (NO_SCALE, 7), (NO_SCALE, NO_SCALE)] {
        let (original, reply) = open_with(client, server);
        assert_eq!((original.bits & TcpSide::SCALE, reply.bits & TcpSide::SCALE), (0, 0));
        assert!((WINDOW..=WINDOW + 128).contains(&original.window_bytes()));
        assert!((WINDOW..=WINDOW + 128).contains(&reply.window_bytes()));
        // Only what acknowledges its SYN permits the server anything.
        assert_eq!(reply.edge, SERVER.wrapping_add(1 + 1000));
    }
    assert_eq!(open_with(200, 3).0.bits & TcpSide::SCALE, 14);
}

#[test]
fn what_was_not_seen_opening_is_believed_but_for_resets() {
    let mut picked = Tracked { state: TcpEstablished, sides: [TcpSide::zeroed(); 2] };
    picked.goes(Reply, ACK, 500, 800, 100, TcpEstablished);
    picked.goes(Original, ACK, 800, 600, 100, TcpEstablished);
    picked.goes(Original, ACK, 500_000_000, 1_000_000_000, 0, TcpEstablished);
    picked.goes(Reply, ACK, 600 + 50_000_000, 900, 1000, TcpEstablished);
    picked.not(Reply, RST, 600 + 2_140_000_000, 0, 0, Passes);
    picked.clone().goes(Reply, RST, 600 + 50_001_000, 0, 0, TcpReset);
    let [original, reply] = &mut picked.sides;
    begin(&segment(Original, ACK, 800, 600, 0), original, reply);
    assert!(original.has(TcpSide::LIBERAL) && !reply.has(TcpSide::KNOWN));
    picked.goes(Reply, ACK, 700, 800, 0, TcpEstablished);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn blind_segments_outside_change_nothing(
        seq: u32, ack: u32, window: u16, len in 0_u32..1500, by_client: bool, kind in 0_usize..5,
    ) {
        let mut open = Tracked::open();
        open.goes(Original, ACK, 1, 1, 30_000, TcpEstablished);
        open.goes(Reply, ACK, 1, 30_001, 20_000, TcpEstablished);
        open.goes(Original, ACK, 30_001, 20_001, 0, TcpEstablished);
        let by = if by_client { Original } else { Reply };
        let flags = [RST, RST | ACK, ACK, FIN | ACK, SYN | ACK][kind];
        let payload_len = if flags & (RST | SYN) == 0 { len } else { 0 };
        let blind = TcpSegment { seq, ack, payload_len, window, flags: TcpFlags(flags), scale: 7 };
        let mine = open.sides[by as usize];
        let ahead = seq.wrapping_sub(mine.edge) as i32;
        let behind = mine.next.wrapping_sub(seq) as i32;
        let window = WINDOW as i32;
        // A reset that is old by what was acknowledged, data that is old by a window.
        let far = ahead > window || (behind > 0 && (flags & RST != 0 || behind > window + 1500));
        prop_assume!(far || flags & SYN != 0);
        let before = open;
        let judgement = open.judge(by, &blind);
        prop_assert!(!matches!(judgement, Continues(_) | Reopens), "{judgement:?}");
        prop_assert_eq!(open, before);
    }

    #[test]
    fn nothing_panics(
        sides: [[u32; 3]; 2], seq: u32, ack: u32, payload_len: u32, window: u16, flags: u8,
        scale: u8, state in 0_u8..12, reply: bool,
    ) {
        let [mut mine, mut theirs] = sides.map(bytemuck::cast::<_, TcpSide>);
        let segment = TcpSegment { seq, ack, payload_len, window, flags: TcpFlags(flags), scale };
        let direction = if reply { Reply } else { Original };
        let judgement =
            judge(&segment, direction, FlowState::from_byte(state), &mut mine, &mut theirs);
        prop_assert_eq!(judgement == ImpossibleFlags, !tcp::are_possible(segment.flags));
    }
}
