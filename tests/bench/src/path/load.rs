//! The load generator: each kind of load for a while, between a client and a server whose threads
//! share one CPU, so that what the way costs is what is measured.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridgefwd_tests::traffic::{connect, listen, pair_up, udp};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::ways::Way;
use crate::statistics::{quantile, sorted};

/// Ports of the servers.
const ECHO: u16 = 7000;
const SHORT: u16 = 7001;
const DATAGRAMS: u16 = 7002;
const BULK: u16 = 7003;
/// What ends an echo.
const END: u8 = 0xff;
/// Datagrams that are sent before those that arrived are counted; they fit the receiver's buffer.
const BATCH: usize = 64;
/// Payload of a datagram: 64 bytes of IP packet.
const PAYLOAD: usize = 64 - 20 - 8;
/// How long something may take that should be there at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The CPU of all load: the last one, where least else is done.
pub fn cpu() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) - 1
}

/// Binds the calling thread to that CPU.
pub fn pin() {
    let mut set = CpuSet::new();
    set.set(cpu());
    // Where it may not be, the figures spread more.
    let _ = sched_setaffinity(None, &set);
}

/// Latencies of a round, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Half of the exchanges took less.
    pub median: f64,
    /// 99 of 100 took less.
    pub p99: f64,
}

/// What a round of datagrams came to.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Received a second.
    pub a_second: f64,
    /// CPU time for each that was received, in ns: sending, the way, and receiving.
    pub cpu_ns: f64,
}

/// The sockets of a way, opened once.
pub struct Load {
    near: TcpStream,
    far: TcpStream,
    short: TcpListener,
    bulk: TcpListener,
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Load {
    /// Opens them.
    #[track_caller]
    pub fn new(way: &Way) -> Self {
        let (client, server) = (way.client(), way.server());
        let (near, far, _) = pair_up(client, 0, &listen(server, way.at(ECHO)));
        let sender = udp(client, "0.0.0.0:0".parse().expect("an address"));
        sender.connect(way.at(DATAGRAMS)).expect("connected");
        let receiver = udp(server, way.at(DATAGRAMS));
        receiver.set_nonblocking(true).expect("non-blocking");
        Self {
            near,
            far,
            short: listen(server, way.at(SHORT)),
            bulk: listen(server, way.at(BULK)),
            sender,
            receiver,
        }
    }

    /// One byte there and back, again and again: a thread waits at either end.
    #[track_caller]
    pub fn ping_pong(&self, time: Duration) -> Latency {
        let (mut near, mut far) = (&self.near, &self.far);
        let mut times = Vec::with_capacity(1 << 16);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                pin();
                let mut byte = [0];
                while far.read_exact(&mut byte).is_ok() && byte[0] != END {
                    far.write_all(&byte).expect("answered");
                }
            });
            scope.spawn(|| {
                pin();
                let end = Instant::now() + time;
                let mut byte = [1];
                loop {
                    let begun = Instant::now();
                    near.write_all(&byte).expect("sent");
                    near.read_exact(&mut byte).expect("answered");
                    let now = Instant::now();
                    times.push((now - begun).as_nanos() as f64 / 1000.0);
                    if now >= end {
                        break;
                    }
                }
                near.write_all(&[END]).expect("sent");
            });
        });
        let times = sorted(&times);
        let at = |part| quantile(&times, part).expect("an exchange");
        Latency { median: at(0.5), p99: at(0.99) }
    }

    /// Connections one after the other: connect, one byte there and back, close. How many a second. (With
    /// no answer to wait for the client would run ahead, until the server's queue is full.)
    #[track_caller]
    pub fn connections(&self, way: &Way, time: Duration) -> f64 {
        let stop = AtomicBool::new(false);
        let (from, to) = (way.client(), way.at(SHORT));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin();
                while let Ok((mut stream, _)) = self.short.accept() {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    let mut byte = [0];
                    // The client closes first: ports that wait are many hosts' there.
                    let _ = stream.read_exact(&mut byte);
                    let _ = stream.write_all(&byte);
                    let _ = stream.read(&mut byte);
                }
            });
            let client = scope.spawn(|| {
                from.run(|| {
                    pin();
                    let begun = Instant::now();
                    let mut count = 0_u32;
                    while begun.elapsed() < time {
                        let mut stream = TcpStream::connect(to).expect("connected");
                        stream.write_all(&[1]).expect("sent");
                        stream.read_exact(&mut [0]).expect("answered");
                        drop(stream);
                        count += 1;
                    }
                    f64::from(count) / begun.elapsed().as_secs_f64()
                })
            });
            let rate = client.join().expect("the client");
            stop.store(true, Ordering::Release);
            // Wakes the server, which stops.
            drop(connect(from, 0, to));
            rate
        })
    }

    /// Datagrams by one thread, which sends some and then takes those that arrived.
    #[track_caller]
    pub fn datagrams(&self, time: Duration) -> Datagrams {
        let run = || {
            pin();
            let mut buffer = [0; 128];
            let drain = |buffer: &mut [u8]| {
                let mut count = 0_u64;
                while self.receiver.recv(buffer).is_ok() {
                    count += 1;
                }
                count
            };
            drain(&mut buffer);
            let (begun, busy) = (Instant::now(), clock_gettime(ClockId::ThreadCPUTime));
            let (mut received, payload) = (0, [7; PAYLOAD]);
            while begun.elapsed() < time {
                for _ in 0..BATCH {
                    match self.sender.send(&payload) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                        Err(error) => panic!("sending: {error}"),
                    }
                }
                received += drain(&mut buffer);
            }
            let time = begun.elapsed().as_secs_f64();
            let ns = |time: rustix::time::Timespec| time.tv_sec as f64 * 1e9 + time.tv_nsec as f64;
            let busy = ns(clock_gettime(ClockId::ThreadCPUTime)) - ns(busy);
            assert!(received > 0, "no datagram arrived");
            Datagrams { a_second: received as f64 / time, cpu_ns: busy / received as f64 }
        };
        // A thread of its own, so that the caller is not bound to the CPU.
        std::thread::scope(|scope| scope.spawn(run).join().expect("the load"))
    }

    /// One connection as fast as it goes; megabytes received a second.
    #[track_caller]
    pub fn bulk(&self, way: &Way, time: Duration) -> f64 {
        let (near, far, _) = pair_up(way.client(), 0, &self.bulk);
        let far = &far;
        std::thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                pin();
                let mut far = far;
                let mut buffer = vec![0; 1 << 18];
                let (begun, mut bytes) = (Instant::now(), 0);
                loop {
                    match far.read(&mut buffer).expect("received") {
                        0 => return bytes as f64 / begun.elapsed().as_secs_f64() / 1e6,
                        length => bytes += length,
                    }
                }
            });
            scope.spawn(move || {
                pin();
                let mut near = near;
                near.set_write_timeout(Some(PATIENCE)).expect("timeout");
                let block = vec![7; 1 << 16];
                let begun = Instant::now();
                while begun.elapsed() < time {
                    near.write_all(&block).expect("sent");
                }
            });
            receiver.join().expect("the receiver")
        })
    }
}
