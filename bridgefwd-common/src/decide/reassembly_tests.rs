//! Each rule of the kernel's reassembly, and any datagram in any pieces in any order.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use Outcome::{Complete, Duplicate, Held as IsHeld, Malformed, Overlap, Refused, TooMany};

const V4: bool = false;
const V6: bool = true;
const MORE: bool = true;
const LAST: bool = false;

fn piece(ipv6: bool, offset: u32, length: u32, more: bool) -> Piece {
    let header_length = if ipv6 { 48 } else { 20 };
    let slot = offset + 7;
    Piece { offset, length, header_length, ipv6, more, dont_fragment: false, ecn: 0, slot }
}

/// The outcomes of pieces, one after the other, and the datagram.
fn after(ipv6: bool, pieces: &[(u32, u32, bool)]) -> (Vec<Outcome>, Datagram) {
    let mut datagram = Datagram::zeroed();
    let outcomes = pieces
        .iter()
        .map(|&(offset, length, more)| add(&mut datagram, &piece(ipv6, offset, length, more)))
        .collect();
    (outcomes, datagram)
}

/// All pieces as they are to go on: `(offset, length, slot)`.
fn in_order(datagram: &Datagram) -> Vec<(u32, u32, u32)> {
    let mut pieces = Vec::new();
    let mut offset = 0;
    while offset < total_length(datagram) {
        let held = starting_at(datagram, offset);
        assert_ne!(held.length, 0, "a hole at {offset}");
        pieces.push((offset, u32::from(held.length), held.slot));
        offset += u32::from(held.length);
    }
    assert_eq!(pieces.len(), usize::from(datagram.count));
    pieces
}

#[track_caller]
fn run(ipv6: bool, pieces: &[(u32, u32, bool)], want: &[Outcome]) {
    assert_eq!(after(ipv6, pieces).0, want);
}

#[track_caller]
fn run_both(pieces: &[(u32, u32, bool)], want: &[Outcome]) {
    run(V4, pieces, want);
    run(V6, pieces, want);
}

#[test]
fn pieces_come_out_in_order() {
    let (outcomes, datagram) =
        after(V4, &[(2000, 1001, LAST), (0, 1000, MORE), (1000, 504, MORE), (1504, 496, MORE)]);
    assert_eq!(outcomes, [IsHeld, IsHeld, IsHeld, Complete]);
    assert_eq!(
        in_order(&datagram),
        [(0, 1000, 7), (1000, 504, 1007), (1504, 496, 1511), (2000, 1001, 2007)]
    );
    assert_eq!(total_length(&datagram), 3001);
    assert_eq!((datagram.header_length, datagram.largest), (20, 1021));
}

#[test]
fn one_piece_may_be_all() {
    run_both(&[(0, 100, LAST)], &[Complete]);
}

#[test]
fn what_is_there_already_is_a_duplicate() {
    let pieces = [(0, 1000, MORE), (0, 1000, MORE), (8, 16, MORE), (1000, 8, LAST)];
    run_both(&pieces, &[IsHeld, Duplicate, Duplicate, Complete]);
    // In one go: both pieces cover it together.
    run_both(&[(0, 16, MORE), (16, 16, MORE), (8, 16, MORE)], &[IsHeld, IsHeld, Duplicate]);
    run_both(&[(0, 16, MORE), (16, 16, MORE), (0, 32, MORE)], &[IsHeld, IsHeld, Duplicate]);
}

#[test]
fn pieces_that_did_not_come_in_one_go_cover_only_themselves() {
    run_both(&[(16, 16, MORE), (0, 16, MORE), (8, 16, MORE)], &[IsHeld, IsHeld, Overlap]);
    run_both(
        &[(0, 8, MORE), (16, 8, MORE), (8, 8, MORE), (0, 16, MORE)],
        &[IsHeld, IsHeld, IsHeld, Overlap],
    );
    // The second go goes on where the last one ended.
    run_both(
        &[(0, 8, MORE), (16, 8, MORE), (8, 8, MORE), (24, 8, MORE), (16, 16, MORE)],
        &[IsHeld, IsHeld, IsHeld, IsHeld, Duplicate],
    );
}

#[test]
fn an_overlap_discards() {
    for overlap in [(0, 24), (8, 16), (992, 16), (0, 1008), (8, 2000)] {
        let second = (overlap.0, overlap.1, MORE);
        run_both(&[(8, 8, MORE), (1000, 16, MORE), second], &[IsHeld, IsHeld, Overlap]);
    }
    assert!(Overlap.discards() && Malformed.discards() && TooMany.discards());
    assert!(!Refused.discards() && !Duplicate.discards() && !Complete.discards());
}

#[test]
fn two_ends_contradict_each_other() {
    for other in [(800, 8, LAST), (1600, 8, LAST), (1600, 8, MORE)] {
        let pieces = [(800, 800, LAST), other];
        run(V4, &pieces, &[IsHeld, Malformed]);
        run(V6, &pieces, &[IsHeld, Refused]);
    }
    let short = [(800, 800, MORE), (0, 8, LAST)];
    run(V4, &short, &[IsHeld, Malformed]);
    run(
        V6,
        &[short[0], short[1], (1600, 8, LAST), (0, 800, MORE)],
        &[IsHeld, Refused, IsHeld, Complete],
    );
}

#[test]
fn only_the_last_piece_may_be_odd() {
    let (outcomes, datagram) = after(V4, &[(0, 103, MORE), (96, 5, LAST)]);
    assert_eq!(outcomes, [IsHeld, Complete], "cut to 96");
    assert_eq!(starting_at(&datagram, 0).length, 96);
    assert_eq!(datagram.largest, 116);
    run(V4, &[(0, 7, MORE)], &[Malformed]);
    run(V6, &[(0, 103, MORE)], &[Malformed]);
}

#[test]
fn an_empty_piece_is_nothing() {
    run(V4, &[(8, 0, MORE)], &[Malformed]);
    run(V4, &[(8, 0, LAST)], &[Malformed]);
    run(V6, &[(8, 0, MORE), (0, 8, MORE), (8, 8, LAST)], &[Refused, IsHeld, Complete]);
    // It says where the end is, all the same.
    run(V6, &[(8, 0, LAST), (0, 8, MORE)], &[Refused, Complete]);
}

#[test]
fn nothing_is_longer_than_its_length_field_can_say() {
    let beyond = (65_528, 8, LAST);
    run(V6, &[beyond, (0, 8, MORE), (8, 8, LAST)], &[Refused, IsHeld, Complete]);
    run(V4, &[beyond, (0, 65_520, MORE), (65_520, 8, MORE)], &[IsHeld, IsHeld, Malformed]);
    run(V4, &[(0, 65_504, MORE), (65_504, 11, LAST)], &[IsHeld, Complete]);
    run(V4, &[(0, 65_504, MORE), (65_504, 12, LAST)], &[IsHeld, Malformed]);
    run(V6, &[(0, 65_528, MORE), (65_528, 7, LAST)], &[IsHeld, Complete]);
    // With extension headers before the fragment header, less fits.
    let mut datagram = Datagram::zeroed();
    let first = Piece { header_length: 56, ..piece(V6, 0, 65_528, MORE) };
    assert_eq!(add(&mut datagram, &first), IsHeld);
    assert_eq!(add(&mut datagram, &piece(V6, 65_528, 7, LAST)), Malformed);
}

#[test]
fn more_than_the_places_discards() {
    let mut datagram = Datagram::zeroed();
    for index in (0..MAX_PIECES as u32).rev() {
        assert_eq!(add(&mut datagram, &piece(V4, index * 8, 8, MORE)), IsHeld);
    }
    assert_eq!(add(&mut datagram, &piece(V4, 0, 8, MORE)), Duplicate);
    assert_eq!(add(&mut datagram, &piece(V4, 512, 8, LAST)), TooMany);
}

#[test]
fn ecn_is_merged_or_contradicts() {
    let ends_with = |fields: [u8; 3]| {
        let mut datagram = Datagram::zeroed();
        let mut outcome = IsHeld;
        for (index, ecn) in fields.into_iter().enumerate() {
            let piece = piece(V4, index as u32 * 8, 8, index < 2);
            outcome = add(&mut datagram, &Piece { ecn, ..piece });
        }
        (outcome, met_congestion(&datagram))
    };
    for fields in [[0, 0, 0], [1, 1, 1], [2, 2, 2], [1, 2, 2]] {
        assert_eq!(ends_with(fields), (Complete, false));
    }
    for fields in [[3, 3, 3], [2, 3, 2], [1, 3, 2]] {
        assert_eq!(ends_with(fields), (Complete, true));
    }
    for fields in [[0, 1, 0], [0, 0, 2], [3, 0, 0]] {
        assert_eq!(ends_with(fields).0, Malformed);
    }
}

#[test]
fn the_largest_piece_decides_over_dont_fragment() {
    let mut datagram = Datagram::zeroed();
    let first = Piece { dont_fragment: true, ..piece(V4, 0, 8, MORE) };
    add(&mut datagram, &first);
    assert_eq!((datagram.largest, datagram.largest_unfragmentable), (28, 28));
    add(&mut datagram, &piece(V4, 8, 16, LAST));
    assert_eq!((datagram.largest, datagram.largest_unfragmentable), (36, 28));
}

/// A datagram of that many bytes, cut at some of its multiples of 8: `(offset, length, more)`.
fn cut_datagram() -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
    (9_u32..60_000, prop::collection::btree_set(1_u32..7500, 0..MAX_PIECES)).prop_map(
        |(total, cuts)| {
            let mut bounds: Vec<u32> =
                cuts.into_iter().map(|cut| cut * 8).filter(|cut| *cut < total).collect();
            bounds.insert(0, 0);
            bounds.push(total);
            bounds.windows(2).map(|pair| (pair[0], pair[1] - pair[0], pair[1] < total)).collect()
        },
    )
}

/// What the kernel keeps: runs of pieces that came one after the other at the end.
#[derive(Default)]
struct Model {
    runs: Vec<(u32, u32)>,
}

impl Model {
    fn add(&mut self, offset: u32, end: u32) -> Outcome {
        let touching: Vec<_> =
            self.runs.iter().filter(|run| offset < run.1 && run.0 < end).copied().collect();
        match touching[..] {
            [] => {}
            [run] if run.0 <= offset && end <= run.1 => return Duplicate,
            _ => return Overlap,
        }
        match self.runs.iter_mut().max() {
            Some(last) if last.1 == offset => last.1 = end,
            _ => self.runs.push((offset, end)),
        }
        IsHeld
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_order_completes_at_the_last_missing_piece(
        (pieces, order, again) in cut_datagram().prop_flat_map(|pieces| {
            let order = Just(pieces.clone()).prop_shuffle();
            (Just(pieces), order, any::<prop::sample::Index>())
        }),
        ipv6: bool,
    ) {
        let mut datagram = Datagram::zeroed();
        for (index, &(offset, length, more)) in order.iter().enumerate() {
            let outcome = add(&mut datagram, &piece(ipv6, offset, length, more));
            let all = index + 1 == order.len();
            prop_assert_eq!(outcome, if all { Complete } else { IsHeld });
            let (offset, length, more) = order[again.index(index + 1)];
            let before = datagram;
            prop_assert_eq!(add(&mut datagram, &piece(ipv6, offset, length, more)), Duplicate);
            prop_assert_eq!(before, datagram);
        }
        let held = in_order(&datagram);
        let want: Vec<_> = pieces.iter().map(|&(at, length, _)| (at, length, at + 7)).collect();
        prop_assert_eq!(held, want);
    }

    #[test]
    fn duplicates_and_overlaps_are_told_apart_as_by_runs(
        pieces in prop::collection::vec((0_u32..40, 1_u32..8), 1..MAX_PIECES),
        ipv6: bool,
    ) {
        let (mut datagram, mut model) = (Datagram::zeroed(), Model::default());
        for (place, length) in pieces {
            let (offset, length) = (place * 8, length * 8);
            let want = model.add(offset, offset + length);
            let before = datagram;
            let outcome = add(&mut datagram, &piece(ipv6, offset, length, MORE));
            prop_assert_eq!(outcome, want);
            if want == Duplicate {
                prop_assert_eq!(before, datagram);
            }
            if outcome.discards() {
                (datagram, model) = (Datagram::zeroed(), Model::default());
            }
        }
    }

    #[test]
    fn nothing_panics(
        seed in prop::collection::vec(any::<u8>(), size_of::<Datagram>()),
        offset: u32, length: u32, header_length: u32, flags: [bool; 3], ecn: u8, slot: u32,
    ) {
        let mut datagram = Datagram::zeroed();
        bytemuck::bytes_of_mut(&mut datagram).copy_from_slice(&seed);
        let [ipv6, more, dont_fragment] = flags;
        let piece = Piece { offset, length, header_length, ipv6, more, dont_fragment, ecn, slot };
        let count = datagram.count;
        let outcome = add(&mut datagram, &piece);
        prop_assert!(datagram.count == count || datagram.count == count + 1);
        prop_assert!(!outcome.holds() || usize::from(datagram.count) <= MAX_PIECES);
        let held = starting_at(&datagram, offset);
        prop_assert!(held.length == 0 || held.offset() == offset);
    }
}
