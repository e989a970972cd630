//! Short connections in a row, far more than there can be flows.
//!
//! Each succeeds, however the connections before it have ended.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bridgefwd_tests::for_both;
use bridgefwd_tests::site::{By, Plan, Site};
use bridgefwd_tests::sockets::{tcp_connect_here, tcp_listen, uninterrupted};
use bridgefwd_tests::wait::PATIENCE;
use socket2::SockRef;

for_both!(short_connections_in_a_row);

/// How many; `BRIDGEFWD_TEST_CONNECTIONS` says another number: 200000 is the promise.
const CONNECTIONS: u32 = 20_000;
/// Far fewer than there are connections, so that flows that are over are used again.
const MAX_FLOWS: &str = "2048";

/// The number that an environment variable says, or the usual one.
pub fn number_or(variable: &str, usual: u32) -> u32 {
    let text = std::env::var(variable);
    text.map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The client closes first: its socket waits a minute.
    ByClient,
    /// The server closes first: its socket waits.
    ByServer,
    /// The client resets it.
    Reset,
}

impl End {
    fn of(number: u32) -> Self {
        [Self::ByClient, Self::ByServer, Self::Reset][number as usize % 3]
    }
}

fn short_connections_in_a_row(by: By) {
    let site = Site::planned(by, Plan { args: &["--max-flows", MAX_FLOWS], ..Plan::default() });
    let count = number_or("BRIDGEFWD_TEST_CONNECTIONS", CONNECTIONS);
    let (a, b) = (site.a(), site.b());
    // A client with as many ports as there can be, which uses those again that only wait.
    a.ns.sysctl("net/ipv4/ip_local_port_range", "1024 65535");
    a.ns.sysctl("net/ipv4/tcp_tw_reuse", "1");
    let to = SocketAddr::from(b.at(80));
    let listener = tcp_listen(&b.ns, to);
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, count));
        a.ns.run(|| (0..count).find_map(|number| Some((number, one(number, to).err()?))))
    });
    if let Some((number, error)) = failed {
        panic!("connection {number} of {count}: {error}; {}", site.reasons());
    }
    let again = a.ns.netstat("TcpExt", "TCPSynRetrans");
    assert_eq!(again, 0, "SYNs that had to be sent again; {}", site.reasons());
    assert_eq!(site.counted("table_full").unwrap_or(0), 0);
    assert_eq!(site.counted("no_port_left").unwrap_or(0), 0);
}

/// One connection: the client says its number, the server repeats it.
fn one(number: u32, to: SocketAddr) -> std::io::Result<()> {
    let mut stream = tcp_connect_here(None, to, PATIENCE)?;
    let end = End::of(number);
    if end == End::Reset {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    stream.write_all(&number.to_be_bytes())?;
    let mut heard = [0; 4];
    stream.read_exact(&mut heard)?;
    assert_eq!(u32::from_be_bytes(heard), number);
    if end == End::ByServer {
        // Its end comes before ours.
        assert_eq!(uninterrupted(|| stream.read(&mut heard))?, 0);
    }
    Ok(())
}

/// Serves that many connections, or until the client has given up.
fn serve(listener: &TcpListener, count: u32) {
    listener.set_nonblocking(false).expect("blocking");
    SockRef::from(listener).set_read_timeout(Some(2 * PATIENCE)).expect("timeout");
    for _ in 0..count {
        let Ok((stream, _)) = listener.accept() else { return };
        repeat(stream);
    }
}

/// Repeats what the client says and waits for the end, unless it is the server's turn to end.
fn repeat(mut stream: TcpStream) {
    let mut number = [0; 4];
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    if stream.read_exact(&mut number).is_err() || stream.write_all(&number).is_err() {
        return;
    }
    if End::of(u32::from_be_bytes(number)) != End::ByServer {
        // The end or the reset.
        let _ = stream.read(&mut number);
    }
}
