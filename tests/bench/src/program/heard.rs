//! What it costs a packet that somebody hears of it: the same packets while nobody listens, while events
//! are heard, and while packets between other addresses, or their own, are traced.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bridgefwd::datapath::events::{Control, Counts, Record, Ring};
use bridgefwd::datapath::now_exact_ns;
use bridgefwd_common::contract::{
    Address, EVENT_CLOSED, EVENT_OPENED, EVENT_TRACED, EventControl, PROGRAM, TRACED_TOLD_A_SECOND,
};
use bridgefwd_tests::program::Buffer;
use bridgefwd_tests::topology::Router;
use bridgefwd_tests::wait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Effort;
use super::front::Front;
use super::kinds::{Kind, Population, Size, World};
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Report, Table};
use crate::statistics::Spread;

/// What is there.
const SIZE: Size = Size { flows: 1000, pairs: 1 };
/// So many flows are opened at a time: the ring has room for the records of all of them, however late
/// they are read.
const NEW_FLOWS: u32 = 4000;
/// As [`Kind::ALL`]; errors are forwarded and told of as segments are.
const KINDS: [(Population, &[Kind]); 3] = [
    (Population::Tcp, &[Kind::Established, Kind::Reply, Kind::NewFlow, Kind::Denied, Kind::Pass]),
    (Population::Udp, &[Kind::Udp]),
    (Population::Tcp6, &[Kind::Ipv6]),
];
/// Two of the range for examples, that nobody has.
const OTHERS: [Address; 2] = [Address::v4([192, 0, 2, 1]), Address::v4([192, 0, 2, 2])];

/// What is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hearing {
    /// Nobody listens.
    Nobody,
    /// Events.
    Events,
    /// Events, and packets of [`OTHERS`].
    OthersTraced,
    /// Events, and packets of the very addresses that these have.
    Traced,
}

impl Hearing {
    const ALL: [Self; 4] = [Self::Nobody, Self::Events, Self::OthersTraced, Self::Traced];

    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody listens",
            Self::Events => "events are heard",
            Self::OthersTraced => "others are traced",
            Self::Traced => "these are traced",
        }
    }

    /// What the daemon has the program tell: whoever traces hears of flows too.
    fn control(self, traced: [Address; 2]) -> EventControl {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let later = now_exact_ns() + HOUR_NS;
        let [trace, trace_other] = if self == Self::Traced { traced } else { OTHERS };
        match self {
            Self::Nobody => EventControl::default(),
            Self::Events => EventControl { until_ns: later, ..EventControl::default() },
            Self::OthersTraced | Self::Traced => {
                EventControl { until_ns: later, trace_until_ns: later, trace, trace_other }
            }
        }
    }
}

/// One kind of packet.
#[derive(Debug, Serialize)]
pub struct Heard {
    kind: &'static str,
    costs: Vec<HeardCost>,
}

/// What it costs while one thing is told.
#[derive(Debug, Serialize)]
struct HeardCost {
    hearing: &'static str,
    /// ns a packet, without what an empty program takes in its place.
    ns: Spread,
    /// As ratio to nobody in the same round.
    ratio: Spread,
    /// How many packets a round had.
    packets: u32,
}

/// What was told altogether.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    /// Flows of which it was told that they were opened.
    opened: u64,
    /// Packets that are counted as refused.
    refused: u64,
    /// Packets that were traced.
    traced: u64,
}

impl Tally {
    /// What so many packets more of a kind have to come to.
    fn after(self, kind: Kind, hearing: Hearing, packets: u64) -> Self {
        let if_so = |so: bool| if so { packets } else { 0 };
        let heard = hearing != Hearing::Nobody;
        Self {
            opened: self.opened + if_so(heard && kind == Kind::NewFlow),
            refused: self.refused + if_so(heard && kind == Kind::Denied),
            traced: self.traced + if_so(hearing == Hearing::Traced && is_traced(kind)),
        }
    }
}

/// Is a packet of that kind told of where its addresses are traced?
fn is_traced(kind: Kind) -> bool {
    matches!(kind, Kind::Denied | Kind::Pass)
}

/// Measures it, in so many steps as [`steps`] says.
pub fn measure(
    router: &Router,
    effort: &Effort,
    seed: u64,
    empty: BorrowedFd<'_>,
    progress: &mut Progress,
) -> Vec<Heard> {
    let mut random = Random::new(seed);
    let mut heard = Vec::new();
    for (population, kinds) in KINDS {
        progress.step(&format!("{population:?}, who hears of it"));
        let rounds = effort.rounds as u32 + 1;
        let mut world =
            World::new(router, population, SIZE, rounds * Hearing::ALL.len() as u32 * NEW_FLOWS);
        let (ring, control, counts) = world.program.take_events();
        let told = Told::default();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| told.listen(ring, &over));
            // The listener ends, also where something is not as it has to be.
            let _over = Over(&over);
            let mut listening = Listening { world: &world, told: &told, control, counts };
            for &kind in kinds {
                heard.push(listening.cost(kind, effort, empty, &mut random));
            }
        });
    }
    heard
}

/// How many steps that has.
pub const fn steps() -> usize {
    KINDS.len()
}

/// Sets it when it goes.
struct Over<'f>(&'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What came by the ring.
#[derive(Debug, Default)]
struct Told {
    opened: AtomicU64,
    traced: AtomicU64,
}

impl Told {
    /// Empties the ring whenever there is something in it, as the daemon does.
    fn listen(&self, mut ring: Ring, over: &AtomicBool) {
        /// So soon it is seen that all is over.
        const WHILE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        while !over.load(Ordering::Relaxed) {
            // SAFETY: the ring keeps it open, and is not gone before the poll is over.
            let there = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
            let mut ready = [PollFd::from_borrowed_fd(there, PollFlags::IN)];
            // Where it is interrupted, the ring is looked at once more.
            let _ = poll(&mut ready, Some(&WHILE));
            while let Some(record) = ring.read() {
                match record {
                    Record::Flow(record) if record.kind == EVENT_OPENED => {
                        self.opened.fetch_add(1, Ordering::Relaxed);
                    }
                    Record::Packet(record) if record.kind == EVENT_TRACED => {
                        self.traced.fetch_add(1, Ordering::Relaxed);
                    }
                    Record::Flow(record) => assert_eq!(record.kind, EVENT_CLOSED),
                    // Refusals are summed up, and told once a second.
                    Record::Packet(_) => {}
                }
            }
        }
    }
}

/// The program, and who listens to it.
struct Listening<'w, 'r> {
    world: &'w World<'r>,
    told: &'w Told,
    control: Control,
    counts: Counts,
}

impl Listening<'_, '_> {
    fn tally(&self) -> Tally {
        let refused = self.counts.refusals().iter().map(|(_, count)| count.packets).sum();
        Tally {
            opened: self.told.opened.load(Ordering::Relaxed),
            refused,
            traced: self.told.traced.load(Ordering::Relaxed),
        }
    }

    /// Interleaved: in each round the empty program, then ours, with each hearing in an order of the
    /// round's own.
    fn cost(
        &mut self,
        kind: Kind,
        effort: &Effort,
        empty: BorrowedFd<'_>,
        random: &mut Random,
    ) -> Heard {
        let (ifindex, frame, spread) = self.world.packets(kind);
        let ours = self.world.program.program(PROGRAM).fd().expect("loaded");
        let with = |behind| Front::new(behind, Buffer::at(ifindex), &frame, spread);
        let (ours, empty) = (with(ours.as_fd()), with(empty));
        let repeat = if kind == Kind::NewFlow { NEW_FLOWS } else { effort.repeat };
        let packets = |hearing| match hearing {
            // As many as are told in a second: else it would be of packets that are not told.
            Hearing::Traced if is_traced(kind) => TRACED_TOLD_A_SECOND,
            _ => repeat,
        };
        let timed = |front: &Front, packets| front.run(packets).0.as_nanos() as f64;
        let before = self.world.program.counters();
        // Not counted: caches and predictors get to know it.
        timed(&empty, repeat);
        timed(&ours, repeat);
        let mut runs = u64::from(repeat);
        let mut ns = [const { Vec::new() }; Hearing::ALL.len()];
        for _ in 0..effort.rounds {
            let without = timed(&empty, repeat);
            for which in random.order(Hearing::ALL.len()) {
                let hearing = Hearing::ALL[which];
                let packets = packets(hearing);
                self.control.set(hearing.control(self.world.addresses())).expect("EVENT_CONTROL");
                let wanted = self.tally().after(kind, hearing, packets.into());
                if hearing == Hearing::Traced && is_traced(kind) {
                    next_second();
                }
                ns[which].push(timed(&ours, packets) - without);
                runs += u64::from(packets);
                // Nothing of it is left for the next one; and a figure of another case than it says
                // is worse than none.
                let what = format!("{kind:?}, {}: told {wanted:?}", hearing.name());
                wait::until(&what, || self.tally() == wanted);
            }
        }
        self.control.set(EventControl::default()).expect("EVENT_CONTROL");
        kind.assert_counted(&before, &self.world.program.counters(), runs);
        assert_eq!(self.counts.flows_untold().expect("EVENT_BUDGET"), 0, "flows untold");
        let costs = Hearing::ALL.into_iter().zip(&ns).map(|(hearing, values)| HeardCost {
            hearing: hearing.name(),
            ns: Spread::of(values).expect("rounds"),
            ratio: Spread::of_ratios(values, &ns[0]).expect("rounds"),
            packets: packets(hearing),
        });
        Heard { kind: kind.name(), costs: costs.collect() }
    }
}

/// Waits until the program may tell of traced packets again, however many it has told of.
fn next_second() {
    // As the program counts them.
    let second = || now_exact_ns() >> 30;
    let now = second();
    wait::until("the next second", || second() != now);
}

/// Says it.
pub fn report(report: &mut Report, heard: &[Heard]) {
    report.text(&format!(
        "The same with {} flows, while nobody listens (`EVENT_CONTROL` all zero), while events are heard, while \
         packets of two other addresses are traced, and of the very addresses of these; whoever traces hears \
         events too. Somebody empties the ring all the time. Of packets that are redirected nothing is told, of \
         a new flow that it was opened, of what is denied a number once a second. A traced packet that ends here is \
         told of by itself, {TRACED_TOLD_A_SECOND} a second at most: no more than these were measured, and all of \
         them were told. ns a packet:",
        SIZE.flows
    ));
    let table = |cell: &dyn Fn(&HeardCost) -> String| {
        let mut header = vec!["packet".to_owned()];
        header.extend(Hearing::ALL.map(|hearing| hearing.name().to_owned()));
        let mut table = Table::new(header);
        for heard in heard {
            let mut row = vec![heard.kind.to_owned()];
            row.extend(heard.costs.iter().map(cell));
            table.row(row);
        }
        table
    };
    report.table(table(&|cost| {
        format!("{:.0} [{:.0}-{:.0}]", cost.ns.median, cost.ns.low, cost.ns.high)
    }));
    report.text("As ratio to nobody listening in the same round:");
    report.table(table(&|HeardCost { ratio, .. }| {
        format!("{:.2} [{:.2}-{:.2}]", ratio.median, ratio.low, ratio.high)
    }));
}
