//! `bridgefwd trace`: the packets between two addresses, wherever they come by, as they are there, with
//! what bridgefwd or the kernel says of those that do not get through.
//!
//! A session listens at the interfaces on the way ([`tap`]), to the daemon, which reads what the program
//! says ([`crate::api::trace`]), and to the kernel ([`drops`]); [`follow`] makes packets of all that. It
//! changes nothing, but for one thing: while somebody watches a port or a bridge, packets do not go past
//! them straight into the container.

pub mod describe;
pub mod drops;
pub mod follow;
pub mod journey;
mod listen;
pub mod packet;
pub mod pcap;
pub mod probe;
pub mod report;
pub mod rule;
pub mod stations;
pub mod tap;

use std::fs::File;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bridgefwd_common::Reason;

use self::describe::Scene;
use self::drops::Drops;
use self::follow::{Follower, Wanted};
use self::journey::{Ended, Journey};
use self::listen::Heard;
use self::packet::Packet;
use self::pcap::Pcap;
use self::report::PacketDoc;
use self::rule::Rules;
use self::stations::Place;
use self::tap::Tap;
use crate::api::trace::Told;
use crate::api::types::FlowTuple;
use crate::datapath::now_exact_ns;
use crate::failure::{Failure, Result};

/// How long to wait for a packet that is nowhere any more where the kernel says what it drops: it gives up
/// on a neighbour after three seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same where it does not.
const PATIENCE_WITHOUT: Duration = Duration::from_millis(1500);
/// How often it is looked whether packets are done.
const TICK: Duration = Duration::from_millis(25);
/// Nothing comes any more: after a probe that is the end.
const QUIET: Duration = Duration::from_millis(400);

/// A session: everything listens.
pub struct Session {
    heard: Receiver<Heard>,
    /// Not the last one, whoever ends.
    _sender: Sender<Heard>,
    follower: Follower,
    scene: Scene,
    rules: Rules,
    pcap: Option<Pcap<BufWriter<File>>>,
    number: u64,
    missed: u64,
}

/// What a session ends by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After so many packets.
    pub count: Option<u64>,
    /// At that time.
    pub deadline: Option<Instant>,
    /// When nothing is under way any more.
    pub quiet: bool,
}

impl Session {
    /// Starts to listen: what comes after this returns is heard. `scene` is completed by it.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched.
    pub fn start(
        mut scene: Scene,
        wanted: Wanted,
        daemon: Option<PathBuf>,
        pcap: Option<Pcap<BufWriter<File>>>,
    ) -> Result<(Self, Vec<String>)> {
        let mut notes = Vec::new();
        let (sender, heard) = channel();
        let addresses = [wanted.from, wanted.to];
        let taps = scene.stations.iter().map(|station| {
            let path = station.inside.as_ref().map(|(path, _)| path.as_path());
            Tap::open(station.ifindex, path, &addresses)
        });
        let taps = taps.collect::<Result<Vec<_>>>()?;
        // First of all, so that its first word is the first that is heard.
        if let Some(socket) = daemon {
            listen::to_daemon(&socket, addresses, sender.clone())?;
            match heard.recv_timeout(Duration::from_secs(5)) {
                Ok(Heard::Told(Told::Listening { .. })) => scene.is_told = true,
                Ok(Heard::Untold(why)) => {
                    notes.push(format!("what bridgefwd says of packets is not known: {why}"));
                }
                _ => notes.push(
                    "what bridgefwd says of packets is not known: its daemon does not answer"
                        .into(),
                ),
            }
        }
        match Drops::start(&addresses) {
            Ok(drops) => {
                scene.drops_are_told = true;
                listen::to_drops(drops, sender.clone())?;
            }
            Err(why) => notes.push(format!("what the kernel drops is not known: {why}")),
        }
        listen::to_taps(taps, pcap.is_some(), sender.clone())?;
        listen::to_signals(sender.clone())?;
        let patience = if scene.drops_are_told { PATIENCE } else { PATIENCE_WITHOUT };
        let host = (scene.namespace, scene.hosts());
        let follower = Follower::new(wanted, scene.stations.clone(), patience, host);
        let session = Self {
            heard,
            _sender: sender,
            follower,
            scene,
            rules: Rules::default(),
            pcap,
            number: 0,
            missed: 0,
        };
        Ok((session, notes))
    }

    /// What is known of where packets go.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Takes in a flow of the two that is there already.
    pub fn flow(&mut self, protocol: u8, original: FlowTuple, translated: FlowTuple) {
        self.follower.alias(protocol, original, translated);
        self.scene.flows.add(protocol, original, translated, 0);
    }

    /// Has `send` done on a thread of its own; the session ends with its error.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn meanwhile(&self, send: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Sent> {
        let thread = thread::Builder::new().name("probe".into()).spawn(send);
        thread.map(Sent).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
    }

    /// Calls `each` with every packet that is done, until it has enough, or `until` says so, or somebody
    /// ends it.
    ///
    /// # Errors
    ///
    /// That of `each`, of the file, or of the probe `sent`.
    pub fn run(
        &mut self,
        until: Until,
        mut sent: Option<Sent>,
        mut each: impl FnMut(&PacketDoc) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut last = Instant::now();
        let mut stopped = false;
        loop {
            match self.heard.recv_timeout(TICK) {
                Ok(Heard::Stop) => stopped = true,
                Ok(heard) => {
                    last = Instant::now();
                    self.take(heard);
                    while let Ok(heard) = self.heard.try_recv() {
                        match heard {
                            Heard::Stop => stopped = true,
                            heard => self.take(heard),
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // It holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => stopped = true,
            }
            let now = Instant::now();
            let late = until.deadline.is_some_and(|deadline| now >= deadline);
            if sent.as_ref().is_some_and(Sent::is_done)
                && let Some(sent) = sent.take()
            {
                last = now;
                sent.outcome()?;
            }
            let ended = stopped || late;
            let done = if ended { self.follower.rest() } else { self.follower.done(now) };
            for journey in done {
                let document = self.describe(&journey)?;
                if each(&document)?.is_break() || until.count == Some(self.number) {
                    return Ok(());
                }
            }
            let quiet = until.quiet
                && sent.is_none()
                && self.follower.is_idle()
                && now.saturating_duration_since(last) > QUIET;
            if ended || quiet {
                return Ok(());
            }
        }
    }

    /// How many frames there were that nobody had time to look at.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    fn take(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Seen(seen) => self.follower.seen(seen, now),
            Heard::Dropped(mut drop) => {
                // What our own sockets let go of is no packet that is lost.
                if matches!(&*drop.reason, "PACKET_SOCK_ERROR" | "QUEUE_PURGE" | "SOCKET_FILTER")
                    || drop.is_of_ping()
                    || !self.scene.is_ours(drop.netns)
                {
                    return;
                }
                drop.time_ns = since_1970(drop.time_ns);
                self.follower.dropped(drop, now);
            }
            Heard::Told(Told::Ended(ended)) => {
                let reason = Reason::ALL.iter().find(|reason| reason.name() == ended.reason);
                let packet = unhex(&ended.headers).and_then(|frame| Packet::of_frame(&frame));
                if let (Some(&reason), Some(packet)) = (reason, packet) {
                    let time_ns = since_1970(ended.time_ns);
                    let ended = Ended { time_ns, reason, ifindex: ended.ifindex, packet };
                    self.follower.ended(ended, now);
                }
            }
            Heard::Told(Told::Opened(flow)) => {
                self.follower.alias(flow.protocol, flow.original, flow.translated);
                let opened = since_1970(flow.time_ns);
                self.scene.flows.add(flow.protocol, flow.original, flow.translated, opened);
            }
            Heard::Told(Told::Missed { lines }) => self.missed += lines,
            Heard::Missed(frames) => self.missed += u64::from(frames),
            Heard::Untold(_) => self.scene.is_told = false,
            Heard::Told(Told::Listening { .. }) | Heard::Stop => {}
        }
    }

    fn describe(&mut self, journey: &Journey) -> Result<PacketDoc> {
        self.number += 1;
        let mut document = describe::packet(journey, self.number, &self.scene);
        if document.end.by.as_deref() == Some("netfilter")
            && let Some(drop) = journey.loss(self.scene.namespace)
        {
            let inside = self.scene.parties.iter().find(|party| party.is_in(drop.netns));
            let path = inside.and_then(|party| match &party.place {
                Place::Inside { path, .. } => Some(path.as_path()),
                Place::Host | Place::Beyond => None,
            });
            // Where it was translated before, the rules saw it as it came in.
            let before = journey.seen.iter().rev().find(|seen| {
                inside.is_none()
                    && !seen.out
                    && self.scene.stations.get(seen.station).is_some_and(|it| it.inside.is_none())
            });
            let packet = before.map_or(&drop.packet, |seen| &seen.packet);
            match self.rules.deciding(path, packet) {
                Ok(rule) => document.end.rule = Some(rule),
                Err(why) => document.end.rule_unknown = Some(why),
            }
        }
        if let Some(pcap) = &mut self.pcap {
            pcap.packet(journey, &crate::views::trace::end(&document.end))?;
        }
        Ok(document)
    }
}

/// Work that is done meanwhile.
pub struct Sent(thread::JoinHandle<Result<()>>);

impl Sent {
    fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    fn outcome(self) -> Result<()> {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// From the program's clock to the calendar's.
fn since_1970(monotonic_ns: u64) -> u64 {
    let ago = now_exact_ns().saturating_sub(monotonic_ns);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default().saturating_sub(ago)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
