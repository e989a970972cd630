//! Load that notices everything: connections on which something is said all the time, and a stream of
//! datagrams with a number each.

use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::{PATIENCE, poll};

/// Datagrams that are on their way at one time: no more than the sockets hold.
const ON_THEIR_WAY: u64 = 32;

/// What the load has done so far.
#[derive(Default)]
pub struct Load {
    over: AtomicBool,
    rounds: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Load {
    /// Says something on each connection, there and back, again and again.
    pub fn connections(&self, ends: &mut [(TcpStream, TcpStream)]) {
        while !self.over.load(Ordering::Relaxed) {
            let round = self.rounds.load(Ordering::Relaxed);
            for (near, far) in &mut *ends {
                say(near, far, &format!("{round:08}"));
                say(far, near, &format!("{round:08}"));
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends datagrams with a number each, and has every one of them answered in order.
    pub fn datagrams(&self, client: &UdpSocket, server: &UdpSocket) {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 8];
                for number in 0.. {
                    let (length, from) = server.recv_from(&mut buffer).expect("a datagram is lost");
                    let heard = u64::from_ne_bytes(buffer);
                    if heard == u64::MAX {
                        return;
                    }
                    assert_eq!((length, heard), (8, number), "a datagram is lost on its way");
                    server.send_to(&buffer, from).expect("answered");
                }
            });
            let mut buffer = [0; 8];
            let mut sent = 0;
            loop {
                while sent < self.answered.load(Ordering::Relaxed) + ON_THEIR_WAY
                    && !self.over.load(Ordering::Relaxed)
                {
                    client.send(&sent.to_ne_bytes()).expect("sent");
                    sent += 1;
                    self.asked.store(sent, Ordering::Relaxed);
                }
                let answered = self.answered.load(Ordering::Relaxed);
                if answered == sent {
                    break;
                }
                client.recv(&mut buffer).expect("an answer is lost");
                assert_eq!(u64::from_ne_bytes(buffer), answered, "an answer is lost on its way");
                self.answered.store(answered + 1, Ordering::Relaxed);
            }
            client.send(&u64::MAX.to_ne_bytes()).expect("sent");
        });
    }

    /// How many datagrams were sent so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How often all connections have said something so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits until every connection, and a datagram, got through after now. `false` where one did not.
    pub fn goes_on(&self) -> bool {
        let (rounds, answered) =
            (self.rounds.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed));
        let both = || {
            self.rounds.load(Ordering::Relaxed) > rounds
                && self.answered.load(Ordering::Relaxed) > answered
        };
        poll(PATIENCE, || both().then_some(())).is_some()
    }
}

/// Ends the load also where the test panics, so that its threads end.
pub struct Over<'a>(pub &'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}
