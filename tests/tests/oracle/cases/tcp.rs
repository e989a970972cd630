//! TCP: the life of a connection, and what must not end it.

use bridgefwd_tests::packets::{Transport, flags::*};

use crate::case::{Case, Step, a};
use crate::net::{Net, Wire};

/// One connection from the client to the server's port 80, with its sequence numbers.
pub struct Connection<W: Wire> {
    net: Net<W>,
    port: u16,
    client: u32,
    server: u32,
    steps: Vec<Step>,
}

impl<W: Wire> Connection<W> {
    /// Nothing is sent yet.
    #[must_use]
    pub fn new(net: Net<W>, port: u16) -> Self {
        Self { net, port, client: 1000, server: 5000, steps: Vec::new() }
    }

    /// After the handshake.
    #[must_use]
    pub fn open(net: Net<W>, port: u16) -> Self {
        Self::new(net, port).client(SYN, b"").server(SYN | ACK, b"").client(ACK, b"")
    }

    /// As [`Connection::open`], with these first sequence numbers.
    #[must_use]
    pub fn open_at(net: Net<W>, port: u16, client: u32, server: u32) -> Self {
        let fresh = Self { client, server, ..Self::new(net, port) };
        fresh.client(SYN, b"").server(SYN | ACK, b"").client(ACK, b"")
    }

    /// A segment of the client, which is not sent.
    #[must_use]
    pub fn of_client(&self, flags: u8, payload: &[u8]) -> W {
        let packet = W::tcp((self.net.client, self.port), (self.net.server, 80), flags);
        segment(packet, self.client, self.server).bytes(payload)
    }

    /// A segment of the server, which is not sent.
    #[must_use]
    pub fn of_server(&self, flags: u8, payload: &[u8]) -> W {
        let client = self.net.seen(self.net.client);
        let packet = W::tcp((self.net.server, 80), (client, self.port), flags);
        segment(packet, self.server, self.client).bytes(payload)
    }

    /// The server sends a segment of [`Connection::of_server`].
    #[must_use]
    pub fn b(self, packet: W) -> Self {
        let step = self.net.b(packet);
        self.and(step)
    }

    /// The client sends a segment.
    #[must_use]
    pub fn client(mut self, flags: u8, payload: &[u8]) -> Self {
        self.steps.push(a(self.of_client(flags, payload)));
        self.client = self.client.wrapping_add(consumed(flags, payload));
        self
    }

    /// The server sends a segment.
    #[must_use]
    pub fn server(mut self, flags: u8, payload: &[u8]) -> Self {
        self.steps.push(self.net.b(self.of_server(flags, payload)));
        self.server = self.server.wrapping_add(consumed(flags, payload));
        self
    }

    /// A step besides.
    #[must_use]
    pub fn and(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Data both ways.
    #[must_use]
    pub fn data(self) -> Self {
        self.client(PSH | ACK, b"question").server(PSH | ACK, b"answer").client(ACK, b"")
    }

    /// All of it.
    #[must_use]
    pub fn steps(self) -> Vec<Step> {
        self.steps
    }
}

fn consumed(flags: u8, payload: &[u8]) -> u32 {
    payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0)
}

/// With these numbers.
pub fn segment<W: Wire>(mut packet: W, number: u32, acknowledged: u32) -> W {
    if let Transport::Tcp { flags, seq, ack, .. } = packet.transport() {
        *seq = number;
        *ack = if *flags & ACK == 0 { 0 } else { acknowledged };
    }
    packet
}

/// What is done with a connection.
type Life<W> = fn(Connection<W>) -> Connection<W>;

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let case = |name: &str, steps: Life<W>| {
        let name = net.name(&format!("tcp/{name}"));
        Case::new(name, move |port| steps(Connection::open(net, port)).steps())
    };
    let fresh = |name: &str, steps: Life<W>| {
        let name = net.name(&format!("tcp/{name}"));
        Case::new(name, move |port| steps(Connection::new(net, port)).steps())
    };
    let mut cases = vec![
        case("handshake and data", Connection::data),
        case("closed by the client", |c| {
            c.data().client(FIN | ACK, b"").server(FIN | ACK, b"").client(ACK, b"")
        }),
        case("closed by the server", |c| {
            c.data().server(FIN | ACK, b"").client(FIN | ACK, b"").server(ACK, b"")
        }),
        case("half closed, data the other way", |c| {
            c.client(FIN | ACK, b"")
                .server(ACK, b"")
                .server(PSH | ACK, b"there is more")
                .client(ACK, b"")
                .server(FIN | ACK, b"")
                .client(ACK, b"")
        }),
        case("closed at the same time", |c| {
            let fin = c.of_server(FIN | ACK, b"");
            c.client(FIN | ACK, b"").b(fin).client(ACK, b"")
        }),
        case("reset by the client", |c| c.data().client(RST | ACK, b"")),
        case("reset by the server", |c| c.data().server(RST | ACK, b"")),
        case("a new connection after close", |c| {
            let (net, port) = (c.net, c.port);
            let old = c.client(FIN | ACK, b"").server(FIN | ACK, b"").client(ACK, b"");
            let mut again = Connection::new(net, port);
            (again.client, again.server) = (90_000, 70_000);
            again.client(SYN, b"").server(SYN | ACK, b"").client(ACK, b"").data().after(old)
        }),
        case("a new connection after a reset", |c| {
            let (net, port) = (c.net, c.port);
            let old = c.server(RST | ACK, b"");
            let mut again = Connection::new(net, port);
            (again.client, again.server) = (90_000, 70_000);
            again.client(SYN, b"").server(SYN | ACK, b"").client(ACK, b"").data().after(old)
        }),
        case("a segment again", |c| {
            let (there, back) = (c.of_client(PSH | ACK, b"again"), c.of_server(PSH | ACK, b"more"));
            c.client(PSH | ACK, b"again").and(a(there)).server(PSH | ACK, b"more").b(back)
        }),
        case("a keep-alive", |c| {
            let probe = segment(c.of_client(ACK, b""), c.client - 1, c.server);
            c.and(a(probe)).server(ACK, b"").data()
        }),
        case("a reset outside the window does not end it", |c| {
            let stray = segment(c.of_server(RST, b""), c.server.wrapping_sub(2_000_000), 0);
            c.b(stray).data()
        }),
        case("a SYN of the client inside", |c| {
            let stray = c.of_client(SYN, b"");
            c.and(a(stray)).data()
        }),
        case("data outside the window", |c| {
            let stray = segment(c.of_server(PSH | ACK, b"stray"), c.server + 900_000_000, c.client);
            c.b(stray).data()
        }),
        fresh("the SYN again", |c| {
            let syn = c.of_client(SYN, b"");
            c.client(SYN, b"").and(a(syn)).server(SYN | ACK, b"").client(ACK, b"").data()
        }),
        fresh("the SYN-ACK again", |c| {
            let c = c.client(SYN, b"");
            let answer = c.of_server(SYN | ACK, b"");
            c.server(SYN | ACK, b"").b(answer).client(ACK, b"").data()
        }),
        fresh("refused by the server", |c| c.client(SYN, b"").server(RST | ACK, b"")),
        fresh("opened at the same time", |c| {
            let c = c.client(SYN, b"");
            let syn = c.of_server(SYN, b"");
            let mut c = c.b(syn);
            c.client -= 1;
            c.server += 1;
            let c = c.client(SYN | ACK, b"");
            let mut late = Connection::new(c.net, c.port);
            (late.client, late.server) = (c.client, c.server - 1);
            late.server(SYN | ACK, b"").client(ACK, b"").data().after(c)
        }),
        fresh("an ECN set-up", |c| c.client(SYN | 0xc0, b"").server(SYN | ACK | 0x40, b"")),
        fresh("data in the SYN", |c| c.client(SYN, b"early")),
        fresh("a SYN-ACK of the server for nothing", |c| c.server(SYN | ACK, b"")),
        fresh("a SYN of the server for nothing", |c| c.server(SYN, b"")),
        fresh("a well-known source port", |mut c| {
            c.port = 80 + c.port % 16;
            c.client(SYN, b"")
        }),
        fresh("a source port of the host's range", |mut c| {
            c.port += 32_768;
            let syn_ack = c.of_server(SYN | ACK, b"");
            let mut c = c.client(SYN, b"").answer(segment(syn_ack, 5000, 1001));
            c.server += 1;
            let data = segment(c.of_server(PSH | ACK, b"answer"), 5001, 1001);
            c.client(ACK, b"").answer(data)
        }),
    ];
    let odd: [(&str, u8); 9] = [
        ("no flag", 0),
        ("ACK", ACK),
        ("FIN", FIN),
        ("FIN and ACK", FIN | ACK),
        ("RST", RST),
        ("RST and ACK", RST | ACK),
        ("SYN and FIN", SYN | FIN),
        ("SYN and RST", SYN | RST),
        ("all flags", 0x3f),
    ];
    for (name, flags) in odd {
        cases.push(Case::new(net.name(&format!("tcp/opening with {name}")), move |port| {
            vec![a(Connection::new(net, port).of_client(flags, b""))]
        }));
    }
    for (name, flags) in [
        ("no flag", 0),
        ("SYN and FIN", SYN | FIN),
        ("SYN and RST", SYN | RST),
        ("all flags", 0x3f),
    ] {
        cases.push(Case::new(net.name(&format!("tcp/inside with {name}")), move |port| {
            let open = Connection::open(net, port);
            let odd = open.of_client(flags, b"");
            open.and(a(odd)).data().steps()
        }));
    }
    cases
}

impl<W: Wire> Connection<W> {
    /// The server answers to the port that it last saw.
    fn answer(self, packet: W) -> Self {
        let step = self.net.answer(packet);
        self.and(step)
    }

    /// With the steps of another one before.
    fn after(mut self, mut earlier: Self) -> Self {
        earlier.steps.append(&mut self.steps);
        self.steps = earlier.steps;
        self
    }
}
