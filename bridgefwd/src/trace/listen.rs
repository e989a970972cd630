//! Who is listened to while packets are traced, each by a thread of its own: the taps, the kernel, the
//! daemon, and whoever presses Ctrl-C. The threads end with the process, or when nobody hears them.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::runtime::Builder;

use super::drops::{Drops, KernelDrop};
use super::journey::Seen;
use super::packet::Packet;
use super::tap::{self, Tap};
use crate::api::client::Client;
use crate::api::trace::{Told, TraceQuery};
use crate::failure::{Failure, Result};

/// Something that was heard.
pub enum Heard {
    /// A packet at a station.
    Seen(Seen),
    /// What the program says.
    Told(Told),
    /// The daemon tells no more, and why.
    Untold(Failure),
    /// What the kernel dropped.
    Dropped(KernelDrop),
    /// The taps missed so many frames.
    Missed(u32),
    /// Somebody ends it.
    Stop,
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
}

/// Reads all taps, until nobody listens.
pub fn to_taps(taps: Vec<Tap>, keep: bool, sender: Sender<Heard>) -> Result<()> {
    start("taps", move || {
        let mut buffer = vec![0; tap::LARGEST_FRAME];
        loop {
            let mut ready: Vec<_> =
                taps.iter().map(|tap| PollFd::new(tap, PollFlags::IN)).collect();
            wait(&mut ready);
            for (station, tap) in taps.iter().enumerate() {
                // An interface that goes away takes its packets along: others go on.
                while let Ok(Some(frame)) = tap.read(&mut buffer) {
                    let bytes = buffer.get(..frame.length).unwrap_or_default();
                    let packet =
                        if frame.ethernet { Packet::of_frame(bytes) } else { Packet::of_ip(bytes) };
                    let Some(packet) = packet else { continue };
                    let seen = Seen {
                        station,
                        out: frame.out,
                        time_ns: frame.time_ns,
                        packet,
                        frame: if keep { bytes.to_owned() } else { Vec::new() },
                    };
                    if sender.send(Heard::Seen(seen)).is_err() {
                        return;
                    }
                }
                let missed = tap.missed();
                if missed > 0 && sender.send(Heard::Missed(missed)).is_err() {
                    return;
                }
            }
        }
    })
}

pub fn to_drops(mut drops: Drops, sender: Sender<Heard>) -> Result<()> {
    start("drops", move || {
        loop {
            wait(&mut [PollFd::from_borrowed_fd(drops.as_fd(), PollFlags::IN)]);
            while let Some(drop) = drops.read() {
                if sender.send(Heard::Dropped(drop)).is_err() {
                    return;
                }
            }
        }
    })
}

/// Until something is there to read, or for a while.
fn wait(ready: &mut [PollFd<'_>]) {
    const WHILE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // An error is one of the next read, if it is one.
    let _ = rustix::event::poll(ready, Some(&WHILE));
}

pub fn to_daemon(socket: &Path, of: [IpAddr; 2], sender: Sender<Heard>) -> Result<()> {
    let client = Client::new(socket);
    start("daemon", move || {
        let [a, b] = of;
        let each = |line: &str| {
            // What this version does not know it can do without.
            let Ok(told) = serde_json::from_str(line) else { return Ok(ControlFlow::Continue(())) };
            let gone = sender.send(Heard::Told(told)).is_err();
            Ok(if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(client.trace(TraceQuery { a, b }, each)),
            Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
        };
        let why = ended.err().unwrap_or_else(|| Failure::failed("its daemon has ended"));
        let _ = sender.send(Heard::Untold(why));
    })
}

/// Ctrl-C and SIGTERM end a session as its own conditions do: with all that was seen until then.
pub fn to_signals(sender: Sender<Heard>) -> Result<()> {
    let failed = |error| Failure::failed(format!("cannot wait for signals: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut end = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?
    };
    start("signals", move || {
        runtime.block_on(async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = end.recv() => {}
            }
        });
        let _ = sender.send(Heard::Stop);
    })
}
