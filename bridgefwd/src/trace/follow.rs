//! From what was seen here and there to packets on their way: observations are put together by what no
//! translation changes, in the order of time and of the stations that a packet can go by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::drops::KernelDrop;
use super::journey::{Ended, Journey, Seen, Way};
use super::packet::Packet;
use super::stations::{Kind, Station};
use crate::api::types::FlowTuple;

/// After so long without another word of it a packet that has an end is told.
const SETTLED: Duration = Duration::from_millis(150);
/// How long a word of the program or the kernel waits for the packet that it is about.
const ORPHANED: Duration = Duration::from_millis(500);
/// How much later than at the next station a packet may be told of by the program, in ns: times are of
/// two clocks.
const SLACK_NS: u64 = 2_000_000;

/// Whose packets are followed.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who sends.
    pub from: IpAddr,
    /// Whom to.
    pub to: IpAddr,
    /// Only this protocol, where one is asked for.
    pub protocol: Option<u8>,
    /// Only with this port on one of the sides, likewise.
    pub port: Option<u16>,
}

/// Follows packets.
pub struct Follower {
    wanted: Wanted,
    stations: Vec<Station>,
    /// How long to wait for one that is nowhere any more.
    patience: Duration,
    open: Vec<Journey>,
    /// What the program and the kernel said, for which no packet was there yet.
    ended: Vec<(Ended, Instant)>,
    drops: Vec<(KernelDrop, Instant)>,
    /// What conversations look like after translation, and which way that goes.
    aliases: HashMap<(u8, FlowTuple), Way>,
    /// Inode number of the host's network namespace.
    host: u64,
    /// Those of the two that are the host's own.
    hosts: Vec<IpAddr>,
}

impl Follower {
    /// Nothing was seen yet. `host` is the inode number of the host's network namespace, `hosts` are those of
    /// the two that are its own.
    #[must_use]
    pub fn new(
        wanted: Wanted,
        stations: Vec<Station>,
        patience: Duration,
        (host, hosts): (u64, Vec<IpAddr>),
    ) -> Self {
        let (open, ended, drops) = (Vec::new(), Vec::new(), Vec::new());
        let aliases = HashMap::new();
        Self { wanted, stations, patience, open, ended, drops, aliases, host, hosts }
    }

    /// Is nothing under way?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty() && self.drops.is_empty()
    }

    /// Takes in that a conversation between the two looks so elsewhere: both ways.
    pub fn alias(&mut self, protocol: u8, original: FlowTuple, translated: FlowTuple) {
        let Some(way) = self.direct((original.src, original.dst)) else { return };
        let back = if way == Way::There { Way::Back } else { Way::There };
        for (tuple, way) in [(translated, way), (reversed(translated), back)] {
            self.aliases.insert((protocol, tuple), way);
        }
    }

    /// Takes in that a packet was seen somewhere.
    pub fn seen(&mut self, seen: Seen, now: Instant) {
        let rank = self.rank(&seen);
        // The newest that can get there from where it was last: packets do not overtake each other much.
        let fits = |journey: &&mut Journey| {
            journey.print() == Some(seen.packet.print)
                && journey.seen.last().is_none_or(|last| {
                    self.stations.get(last.station).is_some_and(|station| {
                        station.rank(last.out) < rank || journey_is_behind(last, &seen)
                    })
                })
                && !journey.seen.iter().any(|it| (it.station, it.out) == (seen.station, seen.out))
        };
        match self.open.iter_mut().rev().find(fits) {
            Some(journey) => {
                journey.seen.push(seen);
                journey.last = now;
                let stations = &self.stations;
                let key = |seen: &Seen| {
                    let rank = stations.get(seen.station).map_or(0, |it| it.rank(seen.out));
                    (seen.time_ns, rank)
                };
                journey.seen.sort_by_key(key);
            }
            None => {
                if !self.is_back(&seen, now) {
                    self.open.push(Journey { seen: vec![seen], ..Journey::new(now) });
                }
            }
        }
    }

    /// Is it a packet that was there before, and that the program has put back: a piece that waited for
    /// others, or a copy by which the kernel asks for a neighbour?
    fn is_back(&mut self, seen: &Seen, now: Instant) -> bool {
        if !matches!(self.rank(seen), 1 | 2) {
            return false;
        }
        let same = |journey: &&mut Journey| journey.print() == Some(seen.packet.print);
        let Some(journey) = self.open.iter_mut().rev().find(same) else { return false };
        let was_here = |it: &&Seen| (it.station, it.out) == (seen.station, seen.out);
        let Some(before) = journey.seen.iter().find(was_here) else { return false };
        // What was sent twice comes out of the container twice, where that is watched.
        let from_inside = journey.seen.first().is_some_and(|first| {
            self.stations.get(first.station).is_some_and(|station| station.rank(first.out) == 0)
        });
        let is_back = from_inside || seen.time_ns.abs_diff(before.time_ns) < AT_ONCE_NS;
        journey.is_copied |= is_back;
        if is_back {
            journey.last = now;
        }
        is_back
    }

    /// Takes in what the program said.
    pub fn ended(&mut self, ended: Ended, now: Instant) {
        self.ended.push((ended, now));
    }

    /// Takes in what the kernel said; its time is that since 1970 here.
    pub fn dropped(&mut self, drop: KernelDrop, now: Instant) {
        self.drops.push((drop, now));
    }

    /// The packets of which no more is to be expected, in order of time.
    pub fn done(&mut self, now: Instant) -> Vec<Journey> {
        self.take(now, false)
    }

    /// All that are left.
    pub fn rest(&mut self) -> Vec<Journey> {
        self.take(Instant::now(), true)
    }

    fn take(&mut self, now: Instant, all: bool) -> Vec<Journey> {
        self.claim(now, all);
        let (mut done, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|journey| {
                let quiet = now.saturating_duration_since(journey.last);
                let patience = if self.is_over(journey) { SETTLED } else { self.patience };
                all || quiet >= patience
            });
        self.open = open;
        for journey in &mut done {
            let quiet = now.saturating_duration_since(journey.last);
            journey.is_cut = all && quiet < self.patience;
        }
        // One that began before, and of which all is known but a last word, is told first.
        let settling = self.open.iter().filter(|journey| self.is_over(journey));
        if let Some(first) = settling.map(Journey::time_ns).min() {
            let (early, late) = done.into_iter().partition(|journey| journey.time_ns() < first);
            self.open.extend::<Vec<_>>(late);
            done = early;
        }
        done.sort_by_key(Journey::time_ns);
        // A first look at all of them teaches what replies look like before they are translated.
        for journey in &done {
            self.learn(journey);
        }
        done.retain_mut(|journey| match self.way(journey) {
            Some(way) => {
                journey.way = way;
                journey.first().is_some_and(|packet| self.is_asked(packet))
            }
            None => false,
        });
        done
    }

    /// Gives what was said to the packets that it is about.
    fn claim(&mut self, now: Instant, all: bool) {
        for (ended, since) in std::mem::take(&mut self.ended) {
            let fits = |journey: &&mut Journey| {
                journey.print() == Some(ended.packet.print)
                    && journey.ended.iter().all(|other| other.ifindex != ended.ifindex)
                    && journey.time_ns() <= ended.time_ns + SLACK_NS
            };
            match self.open.iter_mut().rev().find(fits) {
                Some(journey) => {
                    journey.ended.push(ended);
                    journey.last = now;
                }
                None if !all && now.saturating_duration_since(since) < ORPHANED => {
                    self.ended.push((ended, since));
                }
                None => {}
            }
        }
        for (drop, since) in std::mem::take(&mut self.drops) {
            let fits = |journey: &&mut Journey| {
                journey.print() == Some(drop.packet.print)
                    && journey.time_ns() <= drop.time_ns + SLACK_NS
            };
            match self.open.iter_mut().rev().find(fits) {
                Some(journey) => {
                    journey.drops.push(drop);
                    journey.last = now;
                }
                None if !all && now.saturating_duration_since(since) < ORPHANED => {
                    self.drops.push((drop, since));
                }
                // Somebody's, somewhere.
                None if drop.netns == 0 => {}
                // It came by no station: its own sender's firewall may have had it.
                None => self.open.push(Journey { drops: vec![drop], ..Journey::new(now) }),
            }
        }
    }

    /// Is nothing to be expected of it but a last word?
    fn is_over(&self, journey: &Journey) -> bool {
        let arrived = journey.seen.last().is_some_and(|last| {
            let for_host = !last.out && self.hosts.contains(&last.packet.tuple.dst);
            let station = self.stations.get(last.station);
            for_host || station.is_some_and(|station| station.is_last(last.out))
        });
        arrived
            || journey.refusal().is_some()
            || journey.loss(self.host).is_some()
            // Of others, of which there may be many, nothing is remembered.
            || self.way(journey).is_none()
    }

    /// Which way it goes; `None` where it is none of theirs.
    fn way(&self, journey: &Journey) -> Option<Way> {
        journey.packets().find_map(|packet| {
            let other = |way| if way == Way::There { Way::Back } else { Way::There };
            let known = |tuple: FlowTuple| {
                self.direct((tuple.src, tuple.dst))
                    .or_else(|| self.aliases.get(&(packet.protocol, tuple)).copied())
            };
            // An error goes to the one who has sent what it quotes.
            known(packet.tuple).or_else(|| {
                let quoted = packet.quoted?;
                let protocols = self.aliases.keys().map(|(protocol, _)| *protocol);
                let alias = protocols
                    .filter_map(|protocol| self.aliases.get(&(protocol, quoted)).copied())
                    .next();
                self.direct((quoted.src, quoted.dst)).or(alias).map(other)
            })
        })
    }

    /// Which way a packet between these two addresses goes.
    fn direct(&self, between: (IpAddr, IpAddr)) -> Option<Way> {
        let Wanted { from, to, .. } = self.wanted;
        match between {
            it if it == (from, to) => Some(Way::There),
            it if it == (to, from) => Some(Way::Back),
            _ => None,
        }
    }

    /// What a packet that is theirs looked like elsewhere is theirs, too, and so is the answer.
    fn learn(&mut self, journey: &Journey) {
        let Some(way) = self.way(journey) else { return };
        let other = if way == Way::There { Way::Back } else { Way::There };
        for packet in journey.packets().filter(|packet| packet.quoted.is_none()) {
            let tuple = packet.tuple;
            if self.direct((tuple.src, tuple.dst)).is_none() && self.aliases.len() < MOST_ALIASES {
                self.aliases.insert((packet.protocol, tuple), way);
                self.aliases.insert((packet.protocol, reversed(tuple)), other);
            }
        }
    }

    fn is_asked(&self, packet: &Packet) -> bool {
        let Wanted { protocol, port, .. } = self.wanted;
        protocol.is_none_or(|protocol| packet.protocol == protocol || packet.quoted.is_some())
            && port.is_none_or(|port| {
                let of_quoted =
                    packet.quoted.is_some_and(|it| it.src_port == port || it.dst_port == port);
                packet.has_port(port) || of_quoted
            })
    }

    fn rank(&self, seen: &Seen) -> u8 {
        self.stations.get(seen.station).map_or(0, |station| station.rank(seen.out))
    }
}

/// What comes again so soon was put back, in ns.
const AT_ONCE_NS: u64 = 2_000_000;
/// How many translations are remembered.
const MOST_ALIASES: usize = 65_536;

/// Was it seen there before it was seen where it is known to have been? Each station is read by itself.
const fn journey_is_behind(last: &Seen, seen: &Seen) -> bool {
    seen.time_ns < last.time_ns
}

/// The other way round. An echo's identifier is where the client's port is.
const fn reversed(tuple: FlowTuple) -> FlowTuple {
    FlowTuple { src: tuple.dst, src_port: tuple.dst_port, dst: tuple.src, dst_port: tuple.src_port }
}

impl Station {
    /// Is it the end of the way: the interface of the one whom it is for?
    fn is_last(&self, out: bool) -> bool {
        match self.kind {
            Kind::Container => !out,
            Kind::Interface => out,
            Kind::Port | Kind::Bridge => false,
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
