//! SYNs and echoes from every end to every other, all at a time, and whether they were answered.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bridgefwd::explain::ends::{End, World};
use bridgefwd::explain::matrix::{self, Answer};
use bridgefwd::explain::space::{Field, ICMP, Packets, Span, TCP};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::sockets::tcp_listen;
use bridgefwd_tests::topology::Router;
use bridgefwd_tests::uplink::UPLINK;
use bridgefwd_tests::wait::{PATIENCE, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// How long something that should not be answered has, once everything else is.
const GRACE: Duration = Duration::from_millis(25);
/// Ports that somebody listens on everywhere.
const PORTS: [u16; 2] = [80, 443];

/// Sockets that stay from one rule set to the next.
pub struct Probes {
    _listeners: Vec<TcpListener>,
    /// Ports and identifiers that nobody has had yet.
    next: AtomicU16,
}

/// One question.
struct Probe {
    from: End,
    to: End,
    what: String,
    socket: Socket,
    /// The identifier, of an echo.
    echo: Option<(u16, Ipv4Addr)>,
    expected: Option<bool>,
    answered: bool,
}

/// Somebody who asks and is asked.
struct Party<'a> {
    end: End,
    ns: &'a Namespace,
    /// Its address; the router has one on each network.
    address: Option<Ipv4Addr>,
}

fn parties<'a>(router: &'a Router, outside: Ipv4Addr) -> Vec<Party<'a>> {
    let number = |bridge| match bridge {
        "br-a" => 0,
        "br-b" => 1,
        _ => 2,
    };
    let hosts = router.hosts.iter().map(|host| Party {
        end: End::Network(number(host.bridge)),
        ns: &host.ns,
        address: Some(host.address),
    });
    let uplink = router.uplink.as_ref().expect("an uplink");
    let outside = Party { end: End::Outside, ns: &uplink.ns, address: Some(outside) };
    let host = Party { end: End::Host, ns: &router.ns, address: None };
    hosts.chain([outside, host]).collect()
}

impl Probes {
    /// Listens everywhere.
    pub fn new(router: &Router) -> Self {
        let uplink = router.uplink.as_ref().expect("an uplink");
        let all = router.hosts.iter().map(|host| &host.ns).chain([&uplink.ns, &router.ns]);
        let at = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listeners = all.flat_map(|ns| PORTS.map(|port| tcp_listen(ns, at(port)))).collect();
        Self { _listeners: listeners, next: AtomicU16::new(0) }
    }

    /// Asks everybody everything. Returns how many questions there were, and of how many the answer
    /// was not known. Panics where one is answered otherwise than expected.
    pub fn compare(
        &self,
        router: &Router,
        world: &World,
        outside: Ipv4Addr,
        told: &str,
    ) -> (usize, usize) {
        let parties = parties(router, outside);
        let mut probes = Vec::new();
        for from in &parties {
            // One thread in the namespace for all that start there.
            probes.extend(from.ns.run(|| self.start(&parties, from, world)));
        }
        let all = |probes: &mut Vec<Probe>| {
            probes.iter_mut().for_each(Probe::look);
            probes.iter().all(|probe| probe.answered || probe.expected != Some(true)).then_some(())
        };
        let _ = poll(PATIENCE, || all(&mut probes));
        let more = |probes: &mut Vec<Probe>| {
            probes.iter_mut().for_each(Probe::look);
            probes.iter().any(|probe| probe.answered && probe.expected == Some(false)).then_some(())
        };
        let _ = poll(GRACE, || more(&mut probes));
        let name = |end| world.name(end);
        let wrong: Vec<String> = probes
            .iter()
            .filter(|probe| probe.expected.is_some_and(|expected| expected != probe.answered))
            .map(|probe| {
                let answered = if probe.answered { "answered" } else { "not answered" };
                format!("{} -> {} {}: {answered}", name(probe.from), name(probe.to), probe.what)
            })
            .collect();
        assert!(wrong.is_empty(), "{}\n{told}", wrong.join("\n"));
        (probes.len(), probes.iter().filter(|probe| probe.expected.is_none()).count())
    }

    fn start(&self, parties: &[Party], from: &Party, world: &World) -> Vec<Probe> {
        let mut probes = Vec::new();
        for to in parties.iter().filter(|to| !std::ptr::eq(*to, from)) {
            let gateway = |end| match end {
                End::Network(index) => world.network(index).and_then(|network| network.gateway),
                _ => Some(UPLINK),
            };
            let dst = to.address.or_else(|| gateway(from.end)).expect("an address");
            let src = from.address.or_else(|| gateway(to.end)).expect("an address");
            let cell = matrix::cell(world, from.end, to.end);
            let expected = |packet: Packets| {
                let alike = |fate: &&matrix::Fate| {
                    fate.packets.iter().any(|set| set.and(&packet).is_some())
                };
                let mut fates = cell.fates.iter().filter(alike);
                let fate =
                    fates.next().unwrap_or_else(|| panic!("no fate of {packet:?}: {cell:?}"));
                assert_eq!(fates.next(), None, "{packet:?} has two fates");
                match fate.answer {
                    Answer::Yes => Some(true),
                    Answer::No => Some(false),
                    Answer::Some | Answer::Unknown => None,
                }
            };
            let packet = Packets::ALL
                .with(Field::Src, Span::address(src))
                .with(Field::Dst, Span::address(dst));
            for port in PORTS {
                let own = self.fresh();
                let packet = packet
                    .with(Field::Proto, Span::one(TCP))
                    .with(Field::Sport, Span::one(own.into()))
                    .with(Field::Dport, Span::one(port.into()));
                let expected = expected(packet);
                let what = format!("tcp/{port} ({src} -> {dst})");
                let socket = connecting(own, SocketAddrV4::new(dst, port));
                let (from, to) = (from.end, to.end);
                probes.push(Probe {
                    from,
                    to,
                    what,
                    socket,
                    echo: None,
                    expected,
                    answered: false,
                });
            }
            let id = self.fresh();
            let packet =
                packet.with(Field::Proto, Span::one(ICMP)).with(Field::Dport, Span::one(8));
            let expected = expected(packet);
            let (from, to) = (from.end, to.end);
            let what = format!("echo ({src} -> {dst})");
            let echo = Some((id, dst));
            probes.push(Probe {
                from,
                to,
                what,
                socket: asking(id, dst),
                echo,
                expected,
                answered: false,
            });
        }
        probes
    }

    /// Never the same twice while the kernel could remember.
    fn fresh(&self) -> u16 {
        20_000 + self.next.fetch_add(1, Ordering::Relaxed) % 40_000
    }
}

impl Probe {
    /// Was it answered meanwhile?
    fn look(&mut self) {
        if self.answered {
            return;
        }
        let Some((id, dst)) = self.echo else {
            // Connected is who has a peer; a refusal is no answer that anybody wants.
            self.answered = self.socket.peer_addr().is_ok();
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 256];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            // SAFETY: the kernel has written the first `length` bytes.
            let bytes = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() });
            let bytes: Vec<u8> = bytes.skip(20).collect();
            let from = from.as_socket().map(|from| from.ip());
            let [kind, _, _, _, high, low, ..] = bytes[..] else { continue };
            let is_ours = kind == 0 && u16::from_be_bytes([high, low]) == id;
            self.answered |= is_ours && from == Some(IpAddr::V4(dst));
        }
    }
}

/// A socket that has sent its SYN.
fn connecting(own: u16, to: SocketAddrV4) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, own)).into()).expect("a free port");
    socket.set_nonblocking(true).expect("nonblocking");
    // Under way, or refused at once by a rule for what the host itself sends.
    let _ = socket.connect(&SocketAddr::V4(to).into());
    socket
}

/// A socket that has sent an echo request.
fn asking(id: u16, to: Ipv4Addr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("socket");
    socket.set_nonblocking(true).expect("nonblocking");
    let [high, low] = id.to_be_bytes();
    let mut message = [8, 0, 0, 0, high, low, 0, 1];
    let sum =
        message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let _ = socket.send_to(&message, &SocketAddr::from((to, 0)).into());
    socket
}
