//! Packets of every kind, well formed and damaged, by the thousand, between flows that run on: after
//! each, what must hold of it and of the maps.
//!
//! `BRIDGEFWD_SEED` and `BRIDGEFWD_RUNS` in the environment choose where it begins and how long it
//! goes on; a failure says both.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Family, PairState, Settings};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::program::{Buffer, Outcome, PASS, REDIRECT};
use bridgefwd_tests::view::{ETHERNET, internet_checksum};
use bridgefwd_tests::view6::{Chain, checksum6};

use crate::bench::{A, A2, Bench, GENERATION, bench, policy};
use crate::generator::{Any, Generator};
use crate::random::Random;

/// Runs where nothing else is said.
const RUNS: u64 = 4000;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Says how to meet a failure again.
struct Progress {
    seed: u64,
    run: u64,
}

impl Drop for Progress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let runs = self.run + 1;
            eprintln!("again with BRIDGEFWD_SEED={} BRIDGEFWD_RUNS={runs}", self.seed);
        }
    }
}

#[test]
fn every_kind_of_packet_between_flows_that_run_on() {
    needs_root!();
    let seed = from_environment("BRIDGEFWD_SEED", 1);
    let runs = from_environment("BRIDGEFWD_RUNS", RUNS);
    println!("BRIDGEFWD_SEED={seed} BRIDGEFWD_RUNS={runs}");
    bench(|bench| {
        bench.program.settings(|settings| settings.max_flows_per_source = 16);
        let mut progress = Progress { seed, run: 0 };
        let mut random = Random(seed);
        let mut seen = std::collections::HashMap::<Reason, u64>::new();
        for run in 0..runs {
            progress.run = run;
            disturb(bench, &mut random);
            let (sender, frame, gso_size) = next(bench, &mut random);
            let buffer = arrival(bench, &mut random, sender, gso_size);
            // A piece may come alone, or as one of a packet all of which was there.
            let outcome = if random.one_in(2) && is_piece(&frame) {
                crate::fragments::collected(bench, sender, &frame)
            } else {
                bench.program.run_with(&buffer, &frame)
            };
            *seen.entry(outcome.reason).or_default() += 1;
            check(bench, sender, &frame, &outcome);
            bench.program.assert_consistent();
        }
        println!("{seen:?}");
        if runs >= RUNS {
            // It has been everywhere that it is meant to go.
            for reason in [
                Reason::FlowCreated,
                Reason::Forwarded,
                Reason::ForwardedReply,
                Reason::ForwardedIcmpError,
                Reason::ThroughKernel,
                Reason::PairDenied,
                Reason::SourceOverQuota,
                Reason::MalformedIp,
                Reason::MalformedTransport,
                Reason::SourceRouted,
                Reason::NotForwarded,
                Reason::FragmentHeld,
                Reason::FragmentUnknown,
                Reason::ForwardedFragment,
                Reason::TcpOutOfWindow,
                Reason::BadChecksum,
            ] {
                assert!(seen.contains_key(&reason), "never {reason:?}: {seen:?}");
            }
        }
    });
}

/// Now and then something changes under the flows.
fn disturb(bench: &mut Bench<'_>, random: &mut Random) {
    match random.below(200) {
        0 => bench.set(policy(PairState::Denied), GENERATION),
        1..5 => bench.set(policy(PairState::Allowed), GENERATION),
        5 => bench.set(policy(PairState::Allowed), GENERATION + random.below(3) as u32),
        6 => {
            // Everything is over, and some of it is found out.
            bench.program.settings(|settings| settings.timeouts_s = [0; _]);
            if random.one_in(2) {
                bench.program.sweep();
            }
        }
        7..20 => {
            let timeouts = Settings::DEFAULT_TIMEOUTS_S;
            bench.program.settings(|settings| settings.timeouts_s = timeouts);
        }
        20 => {
            bench.program.sweep();
        }
        _ => {}
    }
}

/// The next frame, by whom it is sent, and the size of its segments.
fn next(bench: &Bench<'_>, random: &mut Random) -> (usize, Vec<u8>, u32) {
    let (sender, packet) = Generator { bench, random }.packet();
    let mut frame = bench.frame(&bench.router.hosts[sender], &packet);
    if random.one_in(10) {
        frame = piece_of(&frame, random);
    }
    let smallest = if matches!(packet, Any::V4(_)) { ETHERNET + 20 } else { ETHERNET + 40 };
    if random.one_in(3) {
        damage(&mut frame, smallest, random);
    }
    let gso_size = if random.one_in(12) { 1 + random.below(1600) as u32 } else { 0 };
    (sender, frame, gso_size)
}

/// Is this a piece of a larger packet, as far as can be seen?
fn is_piece(frame: &[u8]) -> bool {
    let packet = &frame[ETHERNET..];
    if frame[12..14] == [0x08, 0x00] {
        return packet[6] & 0x3f != 0 || packet[7] != 0;
    }
    Chain::of(packet).is_some_and(|chain| chain.is_piece())
}

fn arrival(bench: &Bench<'_>, random: &mut Random, sender: usize, gso_size: u32) -> Buffer {
    let host = &bench.router.hosts[sender];
    let bridge = bench.router.bridge(host.bridge).ifindex;
    let ifindex = if random.one_in(4) { bridge } else { host.port_index };
    Buffer { gso_size, ..Buffer::at(ifindex) }
}

/// An IPv4 frame says that it is some piece of a packet.
fn piece_of(frame: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[12..14] == [0x08, 0x00] {
        let field = random.pick(&[0x2000_u16, 0x2001, 1, 0xff, 0x1fff, 0x4001, 0x8000]);
        frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
        mend(&mut frame);
    }
    frame
}

/// Random bytes change, some go missing; in half of the cases the header's checksum is mended.
pub fn damage(frame: &mut Vec<u8>, smallest: usize, random: &mut Random) {
    for _ in 0..random.below(4) {
        // Behind the MACs, and mostly in the headers.
        let reach = if random.one_in(2) { frame.len() - 12 } else { 60.min(frame.len() - 12) };
        let at = 12 + random.below(reach);
        frame[at] = random.below(256) as u8;
    }
    if random.one_in(4) {
        frame.truncate(smallest + random.below(frame.len() + 1 - smallest));
    }
    if random.one_in(2) {
        mend(frame);
    }
}

/// Makes the checksum of an IPv4 header right, as far as there is one.
fn mend(frame: &mut [u8]) {
    let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    if frame[12..14] == [0x08, 0x00] && (ETHERNET + 20..=frame.len()).contains(&end) {
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = internet_checksum(&[&frame[ETHERNET..end]]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// What must hold of one packet; that one reason was counted, and that its verdict was given, the run
/// itself has checked.
#[track_caller]
fn check(bench: &Bench<'_>, sender: usize, frame: &[u8], outcome: &Outcome) {
    let after = &outcome.frame;
    let changed = outcome.verdict == PASS && after != frame;
    if outcome.verdict != REDIRECT && !changed {
        return;
    }
    let what = format!("{:?} from {sender}:\n {frame:02x?}\n {after:02x?}", outcome.reason);
    assert_eq!(frame.len(), after.len(), "{what}");
    assert_eq!(frame[12..14], after[12..14], "{what}");
    let (before, now) = (Header::of(frame), Header::of(after));
    let inside = sender == A || sender == A2;
    if changed {
        assert!(outcome.reason == Reason::ThroughKernel && !inside, "changed, but passed: {what}");
        assert_eq!(now.ttl, before.ttl, "{what}");
    } else {
        assert!(now.ttl >= 1 && now.ttl == before.ttl.wrapping_sub(1), "{what}");
    }
    if inside {
        let gateway = match now.family {
            Family::V4 => bench.gateway().octets().to_vec(),
            Family::V6 => bench.gateway6().octets().to_vec(),
        };
        assert_eq!(now.src, gateway, "an inner source: {what}");
        assert_eq!(now.dst, before.dst, "{what}");
        // Nor does what an error quotes show to whom the packet had gone on.
        if outcome.reason == Reason::ForwardedIcmpError {
            let quoted_dst = match now.family {
                Family::V4 => ETHERNET + 28 + 16,
                Family::V6 => ETHERNET + 48 + 24,
            };
            assert_eq!(after[quoted_dst..quoted_dst + gateway.len()], gateway[..], "{what}");
        }
    } else {
        assert_eq!(now.src, before.src, "an answer from somebody else: {what}");
        let inner: &[u8] = match now.family {
            Family::V4 => &[10, 1, 0],
            Family::V6 => &[0xfd, 0, 0, 1, 0, 0, 0],
        };
        assert!(now.dst.starts_with(inner), "not to a client: {what}");
    }
    assert_eq!(verifies(after), verifies(frame), "checksums: {what}");
}

/// What of an IP header is looked at.
struct Header {
    family: Family,
    ttl: u8,
    src: Vec<u8>,
    dst: Vec<u8>,
}

impl Header {
    fn of(frame: &[u8]) -> Self {
        let packet = &frame[ETHERNET..];
        let (family, ttl, src, dst) = match frame[12..14] {
            [0x08, 0x00] => (Family::V4, packet[8], 12..16, 16..20),
            _ => (Family::V6, packet[7], 8..24, 24..40),
        };
        Self { family, ttl, src: packet[src].to_vec(), dst: packet[dst].to_vec() }
    }
}

/// Do the checksums of the IP header and of the transport header hold? `None` where there is none, or
/// not all that it covers.
fn verifies(frame: &[u8]) -> (Option<bool>, Option<bool>) {
    let packet = &frame[ETHERNET..];
    if frame[12..14] == [0x08, 0x00] {
        let header = usize::from(packet[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let own = packet.get(..header).map(|header| internet_checksum(&[header]) == 0);
        let is_piece = packet[6] & 0x3f != 0 || packet[7] != 0;
        let body = packet.get(header..total).filter(|_| !is_piece);
        let holds = body.and_then(|body| {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            let pseudo = [&packet[12..20], &[0, packet[9]], &length].concat();
            match packet[9] {
                1 => Some(internet_checksum(&[body]) == 0),
                protocol => {
                    by_pseudo_header(protocol, body, || internet_checksum(&[&pseudo, body]))
                }
            }
        });
        return (own, holds);
    }
    let total = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let whole = packet.get(..total);
    let holds = whole.and_then(|packet| {
        let chain = Chain::of(packet).filter(|chain| !chain.is_piece())?;
        let body = packet.get(chain.end..)?;
        let sum = || checksum6(packet, chain.protocol, body.len(), body);
        match chain.protocol {
            58 => Some(sum() == 0),
            protocol => by_pseudo_header(protocol, body, sum),
        }
    });
    (None, holds)
}

/// Of a protocol whose checksum covers the addresses.
fn by_pseudo_header(protocol: u8, body: &[u8], sum: impl Fn() -> u16) -> Option<bool> {
    match protocol {
        6 | 33 | 136 => Some(sum() == 0),
        // None at all is as good.
        17 => Some(body.get(6..8)? == [0, 0] || sum() == 0),
        _ => None,
    }
}

#[test]
fn a_seed_says_it_all() {
    let numbers = |seed| {
        let mut random = Random(seed);
        (0..10).map(|_| random.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(numbers(7), numbers(7));
    assert_ne!(numbers(7), numbers(8));
}
