//! From the program's records to events: read from the ring, with the names that things have, and
//! never more than a listener can take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Address, EVENT_CLOSED, EVENT_REFUSED, Flow, FlowRecord, FlowState, PacketRecord, RefusalCount,
    RefusalKey, SourceKey,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::journal::Journal;
use crate::api::events::{Closed, Event, FlowEvent, Present, Refused, Untold, What, rfc3339};
use crate::api::labels::Labels;
use crate::api::types::{BothWays, FlowTuple};
use crate::datapath::events::{Counts, Record, Ring};
use crate::datapath::{self, is_end, now_exact_ns};
use crate::host::headers;

/// How many refusals are told in a second, one by one. The rest is told as a number.
pub const REFUSALS_A_SECOND: u32 = 100;
/// How often the program's own counts are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many records are told at one time.
const BATCH: usize = 512;

/// What is known by which name.
#[derive(Default)]
struct Directory {
    /// Ends, by ifindex; also those that have gone, until another one has their number.
    ends: BTreeMap<u32, String>,
    /// Ports and the ends that they are of, likewise.
    ports: BTreeMap<u32, (String, u32)>,
    /// Names of containers.
    labels: Labels,
}

impl Directory {
    /// Takes in what there is now.
    fn renew(&mut self, shared: &Shared) {
        let state = shared.state();
        self.ends.extend(state.ends_now());
        for (&ifindex, interface) in state.datapath.interfaces() {
            if !is_end(interface) {
                self.ports.insert(ifindex, (interface.name().to_owned(), interface.end));
            }
        }
        self.labels = state.labels();
    }

    fn end(&self, ifindex: u32) -> Option<String> {
        self.ends.get(&ifindex).cloned()
    }

    fn flow(&self, flow: &Flow) -> FlowEvent {
        let (from, to) = (self.end(flow.from), self.end(flow.to));
        let (original, translated) =
            (datapath::tuple(flow.original()), datapath::tuple(flow.translated()));
        let container = |end: &Option<String>, address| {
            end.as_ref().and_then(|end| self.labels.container(end, address))
        };
        FlowEvent {
            port: self.ports.get(&flow.source_port).map(|(name, _)| name.clone()),
            proto: datapath::protocol_name(flow.protocol),
            nat: datapath::nat_name(flow),
            client: container(&from, original.src),
            server: container(&to, original.dst),
            from,
            to,
            original,
            translated,
        }
    }
}

/// From the program's clock to the calendar's.
#[derive(Clone, Copy)]
struct Clock {
    now: SystemTime,
    now_ns: u64,
}

impl Clock {
    fn read() -> Self {
        Self { now: SystemTime::now(), now_ns: now_exact_ns() }
    }

    fn time(&self, ns: u64) -> SystemTime {
        self.now - Duration::from_nanos(self.now_ns.saturating_sub(ns))
    }

    /// Of a moment, which is exact to some ms.
    fn moment(&self, moment: u32) -> SystemTime {
        let now = bridgefwd_common::contract::moment(self.now_ns);
        let ago = bridgefwd_common::contract::ns_between(moment, now);
        self.now - Duration::from_nanos(ago)
    }
}

/// A reason, and a source: its port, or its address.
type Place = (u32, u32, Address);

/// What was told of one source's refusals.
#[derive(Clone, Default)]
struct Before {
    since_ns: u64,
    packets: u64,
    bytes: u64,
    sample: Option<Refused>,
}

/// Turns records into events.
struct Teller {
    counts: Counts,
    directory: Directory,
    told: BTreeMap<Place, Before>,
    /// Refusals told in this second.
    spent: u32,
    flows_untold: u64,
}

/// Tells what the program tells, until `stop` turns true.
pub async fn follow(
    shared: Arc<Shared>,
    ring: Ring,
    counts: Counts,
    mut stop: watch::Receiver<bool>,
) {
    // SAFETY: the ring owns the map whose descriptor this is, and closes it only when dropped.
    let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    let mut ring = match ring {
        Ok(ring) => ring,
        Err(error) => return tracing::error!("the ring of events cannot be waited for: {error}"),
    };
    let journal = shared.state().journal.clone();
    let flows_untold = counts.flows_untold().unwrap_or_default();
    let (directory, told) = (Directory::default(), BTreeMap::new());
    let mut teller = Teller { counts, directory, told, spent: 0, flows_untold };
    teller.begin(&shared, &journal);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = ring.readable_mut() => {
                let Ok(mut ready) = ready else { return };
                teller.drain(&shared, &journal, ready.get_inner_mut());
                ready.clear_ready();
            }
            _ = tick.tick() => {
                teller.drain(&shared, &journal, ring.get_mut());
                teller.tick(&journal);
                journal.renew();
            }
            // Also where the sender is gone: then so is the daemon.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    teller.drain(&shared, &journal, ring.get_mut());
    journal.tell(What::Stopped { pid: std::process::id() });
}

impl Teller {
    /// The log begins with the flows that are there already: it would not know them otherwise.
    fn begin(&mut self, shared: &Shared, journal: &Journal) {
        if !journal.has_log() {
            return;
        }
        journal.renew();
        self.directory.renew(shared);
        let clock = Clock::read();
        let mut events = Vec::new();
        let listed = shared.reader.each_flow(|flow| {
            let opened = rfc3339(clock.moment(flow.created));
            let flow = self.directory.flow(flow);
            events.push(Event::at(clock.now, What::Present(Present { flow, opened })));
        });
        if let Err(error) = listed {
            tracing::warn!("the audit log begins without the flows that there are: {error}");
        }
        journal.note(&events);
    }

    /// Tells what is in the ring.
    fn drain(&mut self, shared: &Shared, journal: &Journal, ring: &mut Ring) {
        loop {
            let clock = Clock::read();
            let mut records = Vec::new();
            while records.len() < BATCH
                && let Some(record) = ring.read()
            {
                records.push(record);
            }
            if records.is_empty() {
                return;
            }
            self.directory.renew(shared);
            let events = records.iter().filter_map(|record| match record {
                Record::Flow(record) => {
                    journal.traces().flow(record);
                    Some(self.flow(shared, &clock, record))
                }
                Record::Packet(record) if record.kind == EVENT_REFUSED => {
                    self.refused(&clock, record)
                }
                Record::Packet(record) => {
                    journal.traces().ended(record);
                    None
                }
            });
            let events = events.collect();
            journal.tell_all(events);
        }
    }

    fn flow(&self, shared: &Shared, clock: &Clock, record: &FlowRecord) -> Event {
        let flow = &record.flow;
        let named = self.directory.flow(flow);
        let time = clock.time(record.time_ns);
        if record.kind != EVENT_CLOSED {
            return Event::at(time, What::Opened(named));
        }
        let [original, reply] = flow.sides;
        let what = Closed {
            flow: named,
            reason: why_over(
                flow,
                shared.reader.is_cut(flow),
                shared.reader.lost_its_address(flow),
            )
            .into(),
            state: FlowState::from_byte(flow.state).name().into(),
            opened: rfc3339(clock.moment(flow.created)),
            last_packet: rfc3339(clock.moment(flow.last_seen)),
            packets: BothWays { original: original.packets, reply: reply.packets },
            bytes: BothWays { original: original.bytes, reply: reply.bytes },
        };
        Event::at(time, What::Closed(what))
    }

    /// A refusal, where there is room for one more.
    fn refused(&mut self, clock: &Clock, record: &PacketRecord) -> Option<Event> {
        let sample = self.sample(record);
        let before = self.told.entry(place(record.reason, &record.source)).or_default();
        before.sample = Some(sample);
        if self.spent >= REFUSALS_A_SECOND {
            return None;
        }
        self.spent += 1;
        let refused = before.next(&record.count)?;
        Some(Event::at(clock.time(record.time_ns), What::Refused(refused)))
    }

    /// What was refused since it was told last, and what was not told at all.
    fn tick(&mut self, journal: &Journal) {
        self.spent = 0;
        if !journal.is_heard() {
            // It is counted from here where somebody listens again.
            self.told.clear();
            return;
        }
        let (mut events, mut untold) = (Vec::new(), Untold::default());
        let now_ns = now_exact_ns();
        let all = self.counts.refusals();
        let mut known = BTreeMap::new();
        for (RefusalKey { reason, source }, count) in all {
            let at = place(reason, &source);
            let mut before = self.told.remove(&at).unwrap_or_default();
            let recent = now_ns.saturating_sub(count.told_ns) < 1_000_000_000;
            if !recent && before.behind(&count) > 0 {
                if before.sample.is_some() && self.spent < REFUSALS_A_SECOND {
                    self.spent += 1;
                    events.extend(
                        before.next(&count).map(|refused| Event::now(What::Refused(refused))),
                    );
                } else {
                    untold.refused_packets += before.behind(&count);
                    untold.refused_sources += 1;
                    before.note(&count);
                }
            }
            known.insert(at, before);
        }
        self.told = known;
        let flows_untold = self.counts.flows_untold().unwrap_or(self.flows_untold);
        untold.flows = flows_untold.saturating_sub(self.flows_untold);
        self.flows_untold = flows_untold;
        if untold != Untold::default() {
            events.push(Event::now(What::Untold(untold)));
        }
        journal.tell_all(events);
    }

    /// Who a refused packet was of, and how it began.
    fn sample(&self, record: &PacketRecord) -> Refused {
        let Directory { ports, labels, .. } = &self.directory;
        let port = ports.get(&record.source.port);
        let from = self.directory.end(port.map_or(record.ifindex, |(_, end)| *end));
        let captured = usize::try_from(record.captured).unwrap_or_default();
        let headers = headers::read(record.headers.get(..captured).unwrap_or_default());
        let example = headers.map(|headers| headers.tuple);
        let client = from.as_ref().zip(example);
        let client = client
            .and_then(|(end, example): (&String, FlowTuple)| labels.container(end, example.src));
        Refused {
            reason: Reason::from_number(record.reason).map_or("unknown", Reason::name).into(),
            port: port.map(|(name, _)| name.clone()),
            client,
            proto: headers.map(|headers| datapath::protocol_name(headers.protocol)),
            example,
            from,
            packets: 0,
            bytes: 0,
        }
    }
}

impl Before {
    /// How many packets more there are.
    fn behind(&self, count: &RefusalCount) -> u64 {
        let told = if self.since_ns == count.since_ns { self.packets } else { 0 };
        count.packets.saturating_sub(told)
    }

    /// What is to be told, which is told then; `None` where that is nothing.
    fn next(&mut self, count: &RefusalCount) -> Option<Refused> {
        let packets = self.behind(count);
        let told = if self.since_ns == count.since_ns { self.bytes } else { 0 };
        let bytes = count.bytes.saturating_sub(told);
        self.note(count);
        let sample = self.sample.as_ref()?;
        (packets > 0).then(|| Refused { packets, bytes, ..sample.clone() })
    }

    fn note(&mut self, count: &RefusalCount) {
        (self.since_ns, self.packets, self.bytes) = (count.since_ns, count.packets, count.bytes);
    }
}

fn place(reason: u32, source: &SourceKey) -> Place {
    (reason, source.port, source.address)
}

/// Why a flow is over.
fn why_over(flow: &Flow, cut: bool, lost_its_address: bool) -> &'static str {
    match FlowState::from_byte(flow.state) {
        _ if lost_its_address => "gone",
        _ if cut => "cut",
        FlowState::TcpClosed => "closed",
        FlowState::TcpReset => "reset",
        _ if flow.sides[1].packets == 0 => "unanswered",
        _ => "idle",
    }
}
