//! From a packet's way to the document of it: what the program or the kernel did between stations, and how
//! it ended.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use bridgefwd_common::{Reason, Verdict};

use super::journey::{Ended, Journey, Seen, Way};
use super::packet::{ICMP, ICMP_V6, Packet};
use super::report::{EndDoc, PacketDoc, StationDoc};
use super::stations::{Kind, Party, Place, Station};
use crate::api::events::rfc3339;
use crate::api::types::FlowTuple;

/// Opened later than its first packet by so much at most, in ns.
const OPENED_WITHIN_NS: u64 = 50_000_000;

/// What has to be known beside the packet.
pub struct Scene {
    /// Inode number of the host's network namespace.
    pub namespace: u64,
    /// The two.
    pub parties: [Party; 2],
    /// Where packets are watched.
    pub stations: Vec<Station>,
    /// ifindexes of the host's interfaces where bridgefwd is attached at ingress.
    pub attached: BTreeSet<u32>,
    /// Does the program tell of packets that end in it?
    pub is_told: bool,
    /// The flows of the two.
    pub flows: Flows,
    /// Does the kernel tell of packets that it drops?
    pub drops_are_told: bool,
}

impl Scene {
    /// Is it the inode number of a network namespace that these packets come by? Others may have the same
    /// addresses. 0 is one that is not known.
    #[must_use]
    pub fn is_ours(&self, namespace: u64) -> bool {
        namespace == 0
            || namespace == self.namespace
            || self.parties.iter().any(|party| party.is_in(namespace))
    }

    /// Which of the two addresses are the host's own.
    #[must_use]
    pub fn hosts(&self) -> Vec<IpAddr> {
        let own = self.parties.iter().filter(|party| party.place == Place::Host);
        own.map(|party| party.address).collect()
    }
}

/// The flows that are known, by what their packets look like when they arrive at the program.
#[derive(Clone, Debug, Default)]
pub struct Flows(HashMap<(u8, FlowTuple), Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    is_reply: bool,
    /// ns since 1970; 0 where it was there before.
    opened_ns: u64,
}

impl Flows {
    /// Takes one in. `opened_ns` is 0 for one that was there already.
    pub fn add(
        &mut self,
        protocol: u8,
        original: FlowTuple,
        translated: FlowTuple,
        opened_ns: u64,
    ) {
        self.0.insert((protocol, original), Known { is_reply: false, opened_ns });
        let reply = FlowTuple {
            src: translated.dst,
            src_port: translated.dst_port,
            dst: translated.src,
            dst_port: translated.src_port,
        };
        self.0.insert((protocol, reply), Known { is_reply: true, opened_ns });
    }

    /// Is there one that a packet is of?
    #[must_use]
    pub fn has(&self, packet: &Packet) -> bool {
        self.0.contains_key(&(packet.protocol, packet.tuple))
    }

    /// Under which reason a packet was redirected that was seen before the program at that time.
    fn reason(&self, seen: &Seen) -> Option<Reason> {
        let known = self.0.get(&(seen.packet.protocol, seen.packet.tuple))?;
        let new =
            seen.time_ns <= known.opened_ns && known.opened_ns - seen.time_ns < OPENED_WITHIN_NS;
        Some(match known {
            Known { is_reply: true, .. } => Reason::ForwardedReply,
            _ if new => Reason::FlowCreated,
            Known { .. } => Reason::Forwarded,
        })
    }
}

/// Describes a packet.
#[must_use]
pub fn packet(journey: &Journey, number: u64, scene: &Scene) -> PacketDoc {
    let first = journey.first();
    let begin = journey.time_ns();
    let mut stations = Vec::new();
    let mut left: Vec<&Ended> = journey.ended.iter().collect();
    left.retain(|ended| ended.reason != Reason::NeighbourAsked);
    let visits: Vec<&Seen> =
        journey.seen.iter().filter(|seen| !is_copys(seen, journey, scene)).collect();
    for (index, seen) in visits.iter().enumerate() {
        let Some(station) = scene.stations.get(seen.station) else { continue };
        stations.push(at(seen, station, begin));
        let next = visits.get(index + 1);
        let rank = station.rank(seen.out);
        let next_rank = next.and_then(|next| Some((next, scene.stations.get(next.station)?)));
        let crosses = next_rank.is_some_and(|(next, station)| station.rank(next.out) >= 3);
        let changed = next.map(|next| changes(&seen.packet, &next.packet)).unwrap_or_default();
        if matches!(rank, 1 | 2) {
            let told = left.iter().position(|ended| station.is_here(ended.ifindex));
            if let Some(told) = told {
                let ended = left.remove(told);
                // A reply that goes through the kernel is translated before.
                let by_program = if crosses { Vec::new() } else { changed.clone() };
                stations.push(program(ended.reason, by_program));
                if ended.reason.verdict() != Verdict::Pass || !crosses {
                    continue;
                }
            }
            // What was left to the kernel at a port comes by the bridge as the kernel's.
            let is_attached =
                scene.attached.contains(&station.ifindex) && !passed_before(journey, station);
            let redirected = told.is_none()
                && is_attached
                && (scene.flows.has(&seen.packet) || (scene.is_told && !changed.is_empty()));
            if crosses && redirected {
                let reason = scene.flows.reason(seen).unwrap_or(Reason::Forwarded);
                stations.push(program(reason, changed));
            } else if redirected && next.is_none() && journey.refusal().is_none() {
                // It waits for its neighbour, or waited in vain.
                stations.extend(scene.flows.reason(seen).map(|reason| program(reason, changed)));
            } else if crosses && !changed.is_empty() {
                stations.push(StationDoc {
                    kind: "kernel".into(),
                    changed,
                    ..StationDoc::default()
                });
            }
        }
    }
    // At egress the program runs before the interface has sent anything.
    stations.extend(left.iter().map(|ended| program(ended.reason, Vec::new())));
    PacketDoc {
        number,
        time: rfc3339(SystemTime::UNIX_EPOCH + Duration::from_nanos(begin)),
        way: if journey.way == Way::There { "there" } else { "back" }.into(),
        proto: first.map(Packet::protocol_name).unwrap_or_default(),
        what: first.map(|packet| packet.what.clone()).unwrap_or_default(),
        length: first.map_or(0, |packet| packet.length),
        stations,
        end: end(journey, scene),
    }
}

/// Has the program left it to the kernel, at another station?
fn passed_before(journey: &Journey, station: &Station) -> bool {
    let passes = |ended: &Ended| ended.reason.verdict() == Verdict::Pass;
    journey.ended.iter().any(|ended| passes(ended) && !station.is_here(ended.ifindex))
}

/// Was it the copy that was seen there, by which the kernel asks for a neighbour? It goes on from the port
/// to its bridge, where the packet itself does not come by.
fn is_copys(seen: &Seen, journey: &Journey, scene: &Scene) -> bool {
    let is = |seen: &Seen, kind| {
        !seen.out && scene.stations.get(seen.station).is_some_and(|station| station.kind == kind)
    };
    journey.is_copied
        && is(seen, Kind::Bridge)
        && journey.seen.iter().any(|other| is(other, Kind::Port))
}

fn at(seen: &Seen, station: &Station, begin: u64) -> StationDoc {
    StationDoc {
        kind: kind(station.kind).into(),
        interface: Some(station.interface.clone()),
        inside: station.inside.as_ref().map(|(_, name)| name.clone()),
        direction: Some(if seen.out { "out" } else { "in" }.into()),
        after_ns: Some(seen.time_ns.saturating_sub(begin)),
        tuple: Some(seen.packet.tuple),
        ttl: Some(seen.packet.ttl),
        ..StationDoc::default()
    }
}

/// What a station is called.
#[must_use]
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => "container",
        Kind::Port => "port",
        Kind::Bridge => "bridge",
        Kind::Interface => "interface",
    }
}

fn program(reason: Reason, changed: Vec<String>) -> StationDoc {
    StationDoc {
        kind: "program".into(),
        reason: Some(reason.name().into()),
        verdict: Some(reason.verdict().name().into()),
        changed,
        ..StationDoc::default()
    }
}

/// What is different, in words.
#[must_use]
pub fn changes(before: &Packet, after: &Packet) -> Vec<String> {
    let mut changes = Vec::new();
    let (old, new) = (before.tuple, after.tuple);
    let mut end = |which: &str, old: (IpAddr, u16), new: (IpAddr, u16)| {
        if old == new {
            return;
        }
        let both = |(address, port): (IpAddr, u16)| match port {
            0 => address.to_string(),
            id if matches!(before.protocol, ICMP | ICMP_V6) => format!("{address} id {id}"),
            port => SocketAddr::from((address, port)).to_string(),
        };
        changes.push(format!("{which} {} -> {}", both(old), both(new)));
    };
    end("source", (old.src, old.src_port), (new.src, new.src_port));
    end("destination", (old.dst, old.dst_port), (new.dst, new.dst_port));
    if before.ttl != after.ttl {
        changes.push(format!("TTL {} -> {}", before.ttl, after.ttl));
    }
    changes
}

fn end(journey: &Journey, scene: &Scene) -> EndDoc {
    if let Some(ended) = journey.refusal() {
        return dropped_by_us(ended, scene);
    }
    if let Some(drop) = journey.loss(scene.namespace) {
        let at = where_dropped(drop.netns, drop.ifindex, scene);
        let by = match &*drop.reason {
            "NETFILTER_DROP" => "netfilter",
            _ if drop.is_by_program() => "program",
            _ => "kernel",
        };
        return EndDoc {
            state: "dropped".into(),
            at,
            by: Some(by.into()),
            meaning: meaning(&drop.reason).map(str::to_owned),
            reason: Some(drop.reason.clone()),
            function: drop.function.clone(),
            ..EndDoc::default()
        };
    }
    let Some((last, station)) =
        journey.seen.last().and_then(|last| Some((last, scene.stations.get(last.station)?)))
    else {
        return EndDoc { state: "lost".into(), ..EndDoc::default() };
    };
    let name = station.inside.as_ref().map_or(&station.interface, |(_, name)| name).clone();
    let state = |state: &str, at: String| EndDoc { state: state.into(), at, ..EndDoc::default() };
    let for_host = scene.parties.iter().any(|party| {
        party.place == Place::Host && party.address == last.packet.tuple.dst && !last.out
    });
    match (station.kind, last.out) {
        (Kind::Container, false) => state("arrived", name),
        (Kind::Interface, true) => state("left", name),
        _ if for_host => state("arrived", "host".into()),
        _ => {
            let why = match (scene.drops_are_told, scene.is_told || scene.attached.is_empty()) {
                _ if journey.is_cut => "The trace ended while it was on its way.",
                (true, true) => "It was seen no more, and nobody has said that it was dropped.",
                (true, false) => "It was seen no more; without its daemon bridgefwd says nothing.",
                (false, _) => "It was seen no more; the kernel does not say what it drops.",
            };
            EndDoc { meaning: Some(why.into()), ..state("lost", name) }
        }
    }
}

fn dropped_by_us(ended: &Ended, scene: &Scene) -> EndDoc {
    let station = scene.stations.iter().find(|station| station.is_here(ended.ifindex));
    EndDoc {
        state: "dropped".into(),
        at: station.map_or_else(|| "host".into(), |station| station.interface.clone()),
        by: Some("bridgefwd".into()),
        reason: Some(ended.reason.name().into()),
        meaning: Some(ended.reason.explanation().into()),
        ..EndDoc::default()
    }
}

/// The container whose kernel did it, else the host's interface, else the host.
fn where_dropped(netns: u64, ifindex: u32, scene: &Scene) -> String {
    let inside = scene.parties.iter().find(|party| party.is_in(netns));
    if let Some(party) = inside {
        return party.name().into();
    }
    let station = scene.stations.iter().find(|station| station.is_here(ifindex));
    station.map_or_else(|| "host".into(), |station| station.interface.clone())
}

/// What the commonest of the kernel's reasons mean.
fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NO_SOCKET" => "It got there, and no program listens on that port.",
        "SOCKET_RCVBUFF" => "It got there, and the program does not read fast enough.",
        "NETFILTER_DROP" => "A firewall rule drops it.",
        "NEIGH_FAILED" => "Nobody answers for that address: its neighbour's MAC is not known.",
        "NEIGH_QUEUEFULL" => "Too many packets wait for that neighbour's MAC.",
        "IP_RPFILTER" => {
            "Its source is not routed back by the interface that it came by (rp_filter)."
        }
        "IP_INNOROUTES" | "IP_OUTNOROUTES" => "There is no route to its destination.",
        "IP_INADDRERRORS" | "IP_INVALID_DEST" => "Its destination is not accepted here.",
        "OTHERHOST" => "It is addressed to another MAC.",
        "PKT_TOO_BIG" => "It is larger than the MTU, and may not be cut.",
        "IP_CSUM" | "TCP_CSUM" | "UDP_CSUM" | "ICMP_CSUM" => "Its checksum is wrong.",
        "QDISC_DROP" => "A queue was full.",
        "CPU_BACKLOG" => "The kernel was too busy to take it in.",
        "TC_INGRESS" | "TC_EGRESS" => {
            "A program or filter at traffic control drops it; of bridgefwd's its daemon says why."
        }
        _ => return None,
    })
}
