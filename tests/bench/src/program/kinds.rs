//! The kinds of packets that are measured, and the world in which they are: flows in the table, pairs
//! in the list.

use std::net::{SocketAddrV4, SocketAddrV6};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Address, Flow, NatMode, PairKey, PairPolicy, PairState, TcpSide, Tuple,
};
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::program::{Counters, Program, REDIRECT};
use bridgefwd_tests::topology::Router;

use super::front::{FIRST_SEQUENCE, Order, Spread};

/// Offset of the transport header behind Ethernet and IPv4.
const V4: i16 = 14 + 20;
/// The same of IPv6.
const V6: i16 = 14 + 40;
/// Offset of the TCP header that an ICMP error quotes.
const QUOTED: i16 = V4 + 8 + 20;
/// Generation of every pair.
const GENERATION: u32 = 11;

/// One kind of packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A segment with data of a connection, from the client.
    Established,
    /// The same from the server.
    Reply,
    /// A datagram of a flow, from the client.
    Udp,
    /// A segment of an IPv6 connection, from the client.
    Ipv6,
    /// An error about a connection, from beyond the server's side.
    IcmpError,
    /// A datagram that opens a flow.
    NewFlow,
    /// A datagram of a pair that is denied.
    Denied,
    /// A datagram that is left to the kernel: where it goes is not managed.
    Pass,
}

/// What has to be there for a kind: which flows are in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Population {
    /// TCP over IPv4.
    Tcp,
    /// UDP over IPv4.
    Udp,
    /// TCP over IPv6.
    Tcp6,
}

impl Kind {
    /// All of them, by population.
    pub const ALL: [(Population, &'static [Self]); 3] = [
        (
            Population::Tcp,
            &[
                Self::Established,
                Self::Reply,
                Self::IcmpError,
                Self::NewFlow,
                Self::Denied,
                Self::Pass,
            ],
        ),
        (Population::Udp, &[Self::Udp]),
        (Population::Tcp6, &[Self::Ipv6]),
    ];

    /// In tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established TCP",
            Self::Reply => "TCP reply",
            Self::Udp => "UDP",
            Self::Ipv6 => "established TCP, IPv6",
            Self::IcmpError => "ICMP error",
            Self::NewFlow => "new flow (UDP)",
            Self::Denied => "denied",
            Self::Pass => "left to the kernel",
        }
    }

    /// Under which every packet of it has to be counted.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Established | Self::Udp | Self::Ipv6 => Reason::Forwarded,
            Self::Reply => Reason::ForwardedReply,
            Self::IcmpError => Reason::ForwardedIcmpError,
            Self::NewFlow => Reason::FlowCreated,
            Self::Denied => Reason::PairDenied,
            Self::Pass => Reason::TargetNotManaged,
        }
    }

    /// Panics unless there were so many packets in between, all of this kind: a figure of another kind of
    /// packet than it says is worse than none.
    #[track_caller]
    pub fn assert_counted(self, before: &Counters, after: &Counters, packets: u64) {
        let seen = after.seen().packets - before.seen().packets;
        assert_eq!(seen, packets, "packets seen of {self:?}");
        let reason = self.reason();
        let ended = after.of(reason).packets - before.of(reason).packets;
        assert_eq!(ended, packets, "of {self:?} ended under {reason:?}");
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Flows in the table.
    pub flows: u32,
    /// Pairs in the list, which the flows belong to in turn.
    pub pairs: u32,
}

/// The program with so many flows and pairs, between `br-a` and `br-b`; the calling thread is in the
/// router's namespace.
pub struct World<'r> {
    router: &'r Router,
    /// The program.
    pub program: Program,
    population: Population,
    size: Size,
}

impl<'r> World<'r> {
    /// Loads the program, with room for `more` flows than there are.
    pub fn new(router: &'r Router, population: Population, size: Size, more: u32) -> Self {
        let mut program = Program::load(size.flows + more);
        program.manage_bridge(router, "br-a", |_| ());
        program.manage_bridge(router, "br-b", |_| ());
        // As with a daemon; where that cannot be, every packet asks the kernel, there too.
        if let Err(error) = program.keep_ways() {
            eprintln!("flows keep no ways: {error}");
        }
        let mut world = Self { router, program, population, size };
        world.list_pairs();
        world.populate(population);
        world
    }

    fn key(&self, from: &str, to: &str) -> PairKey {
        PairKey { from: self.router.bridge(from).ifindex, to: self.router.bridge(to).ifindex }
    }

    fn list_pairs(&mut self) {
        let policy = |state: PairState| PairPolicy {
            state: state as u8,
            nat: NatMode::Masquerade as u8,
            nat_v6: NatMode::None as u8,
            ..PairPolicy::default()
        };
        let key = self.key("br-a", "br-b");
        self.program.pair(0, key, policy(PairState::Allowed), GENERATION);
        for index in 1..self.size.pairs {
            // Of interfaces that are not there; flows lead to a pair by its index.
            let key = PairKey { from: 1_000_000 + index, to: key.to };
            self.program.pair(index, key, policy(PairState::Allowed), GENERATION);
        }
        let key = self.key("br-b", "br-a");
        self.program.pair(self.size.pairs, key, policy(PairState::Denied), GENERATION);
    }

    /// One flow by its packets, the others after it.
    fn populate(&mut self, population: Population) {
        let (a, b) = (&self.router.hosts[0], &self.router.hosts[1]);
        let [client, server] = Spread::ports(0);
        let (v4, v6) = ((a.at(client), b.at(server)), (a.at6(client), b.at6(server)));
        let gateway = self.router.bridge("br-b").address;
        let seen = SocketAddrV4::new(gateway, client);
        let (opening, answer) = match population {
            Population::Udp => (self.sent_by_a(&Packet::udp(v4.0, v4.1)), Packet::udp(v4.1, seen)),
            Population::Tcp | Population::Tcp6 => (
                self.sent_by_a(&Packet::tcp(v4.0, v4.1, flags::SYN)),
                Packet::tcp(v4.1, seen, flags::SYN | flags::ACK),
            ),
        };
        let answer = self.sent_by_b(&answer);
        let mut frames = vec![(a.port_index, opening), (b.port_index, answer)];
        if population == Population::Tcp {
            frames.push((a.port_index, self.sent_by_a(&Packet::tcp(v4.0, v4.1, flags::ACK))));
        }
        if population == Population::Tcp6 {
            let mac = |host: &bridgefwd_tests::topology::Host| {
                (host.mac, self.router.bridge(host.bridge).mac)
            };
            let frame = |packet: Packet6, (src, dst)| packet.macs(src, dst).build();
            let (out, back) = (mac(a), mac(b));
            frames = vec![
                (a.port_index, frame(Packet6::tcp(v6.0, v6.1, flags::SYN), out)),
                (b.port_index, frame(Packet6::tcp(v6.1, v6.0, flags::SYN | flags::ACK), back)),
                (a.port_index, frame(Packet6::tcp(v6.0, v6.1, flags::ACK), out)),
            ];
        }
        for (port, frame) in frames {
            let outcome = self.program.run(port, &frame);
            assert_eq!(outcome.verdict, REDIRECT, "{outcome:?}");
        }
        let (_, template) = self.program.flows().pop().expect("the flow that was opened");
        let pairs = self.size.pairs;
        // Slot 0 is the first one's, who keeps its ports.
        let flows = (0..self.size.flows).map(|number| (number, copy(template, number, pairs)));
        let first = copy(template, 0, 1);
        self.program.put_flows(flows.skip(1));
        self.program.edit_flow(0, |flow| flow.tcp = first.tcp);
    }

    /// The addresses of the hosts that packets are between; of IPv6, in a world of IPv6.
    pub fn addresses(&self) -> [Address; 2] {
        [0, 1].map(|host| {
            let host = &self.router.hosts[host];
            match self.population {
                Population::Tcp6 => Address::v6(host.address6.octets()),
                Population::Tcp | Population::Udp => Address::v4(host.address.octets()),
            }
        })
    }

    fn sent_by_a(&self, packet: &Packet) -> Vec<u8> {
        packet.clone().macs(self.router.hosts[0].mac, self.router.bridge("br-a").mac).build()
    }

    fn sent_by_b(&self, packet: &Packet) -> Vec<u8> {
        packet.clone().macs(self.router.hosts[1].mac, self.router.bridge("br-b").mac).build()
    }

    /// The port by which packets of a kind come in, one of them, and how those of other flows differ.
    pub fn packets(&self, kind: Kind) -> (u32, Vec<u8>, Option<Spread>) {
        let (a, b, c) = (&self.router.hosts[0], &self.router.hosts[1], &self.router.hosts[2]);
        let [client_port, server_port] = Spread::ports(0);
        let (client, server) = (a.at(client_port), b.at(server_port));
        let seen = SocketAddrV4::new(self.router.bridge("br-b").address, client_port);
        let known = Spread {
            order: Order::Any(self.size.flows),
            client_port: V4,
            server_port: V4 + 2,
            complement: None,
            sequence: None,
        };
        let segment = flags::ACK | flags::PSH;
        match kind {
            Kind::Established => {
                let packet = Packet::tcp(client, server, segment).payload(b"data");
                let spread = Spread { sequence: Some(V4 + 4), ..known };
                (a.port_index, self.sent_by_a(&packet), Some(spread))
            }
            Kind::Reply => {
                let packet = Packet::tcp(server, seen, segment).payload(b"data");
                let spread = Spread {
                    client_port: V4 + 2,
                    server_port: V4,
                    sequence: Some(V4 + 4),
                    ..known
                };
                (b.port_index, self.sent_by_b(&packet), Some(spread))
            }
            Kind::Udp => (a.port_index, self.sent_by_a(&Packet::udp(client, server)), Some(known)),
            Kind::Ipv6 => {
                let at = |host: &bridgefwd_tests::topology::Host, port| -> SocketAddrV6 {
                    host.at6(port)
                };
                let packet = Packet6::tcp(at(a, client_port), at(b, server_port), segment)
                    .payload(b"data")
                    .macs(a.mac, self.router.bridge("br-a").mac);
                let spread = Spread {
                    client_port: V6,
                    server_port: V6 + 2,
                    sequence: Some(V6 + 4),
                    ..known
                };
                (a.port_index, packet.build(), Some(spread))
            }
            Kind::IcmpError => {
                // The complement of the ports stands in the sequence number that is quoted.
                let quote = Packet::tcp(seen, server, segment).with(|packet| {
                    if let bridgefwd_tests::packets::Transport::Tcp { seq, .. } =
                        &mut packet.transport
                    {
                        *seq = complement(0);
                    }
                });
                let quote = &quote.build()[14..];
                let beyond = std::net::Ipv4Addr::new(10, 2, 0, 99);
                let packet = Packet::icmp(beyond, *seen.ip(), 11, 0, [0; 4]).payload(quote);
                let spread = Spread {
                    client_port: QUOTED,
                    server_port: QUOTED + 2,
                    complement: Some(QUOTED + 4),
                    ..known
                };
                (b.port_index, self.sent_by_b(&packet), Some(spread))
            }
            Kind::NewFlow => {
                let first = self.size.flows;
                let [client_port, server_port] = Spread::ports(first);
                let payload = [&complement(first).to_be_bytes()[..], b"more"].concat();
                let packet = Packet::udp(a.at(client_port), b.at(server_port)).payload(&payload);
                let spread =
                    Spread { order: Order::From(first), complement: Some(V4 + 8), ..known };
                (a.port_index, self.sent_by_a(&packet), Some(spread))
            }
            Kind::Denied => {
                let packet = Packet::udp(b.at(5000), a.at(5001));
                (b.port_index, self.sent_by_b(&packet), None)
            }
            Kind::Pass => (a.port_index, self.sent_by_a(&Packet::udp(client, c.at(53))), None),
        }
    }
}

/// What stands where a frame has the complements of its ports.
fn complement(flow: u32) -> u32 {
    let [client, server] = Spread::ports(flow);
    !(u32::from(client) << 16 | u32::from(server))
}

/// The flow of that number, like the first one.
fn copy(first: Flow, number: u32, pairs: u32) -> Flow {
    let [client, server] = Spread::ports(number).map(u16::to_be_bytes);
    // A gigabyte may be under way in either direction.
    let side = TcpSide {
        next: FIRST_SEQUENCE,
        edge: FIRST_SEQUENCE + (1 << 30),
        window: u16::MAX,
        bits: first.tcp[0].bits & !0xf | 14,
    };
    let mut flow = Flow { pair: number % pairs, ..first };
    if flow.protocol == 6 {
        flow.tcp = [side; 2];
    }
    let [original, translated] = [first.original(), first.translated()].map(|tuple| Tuple {
        src_port: client,
        dst_port: server,
        ..tuple
    });
    flow.between(&original, &translated)
}
