//! Questions asked from inside a host's namespace. All of them block, for no longer than told; no
//! answer is [`io::ErrorKind::TimedOut`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::net::{AddressFamily, SocketType, ipproto};

use super::topology::{ECHO_PORT, HTTP_PORT, LabHost};
use crate::failure::Failure;
use crate::host::netns;

/// A client's own address beside the one that the server saw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Of the client's socket.
    pub own: SocketAddr,
    /// As the server said.
    pub seen: SocketAddrV4,
}

/// Fetches `/` from the server of `to`.
pub fn http(from: &LabHost, to: &LabHost, patience: Duration) -> io::Result<Seen> {
    inside(from, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::time::timeout(patience, fetch(to))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    })
}

/// Sends a datagram to the echo of `to` and takes the answer.
pub fn udp(from: &LabHost, to: &LabHost, patience: Duration) -> io::Result<Seen> {
    const PAYLOAD: &[u8] = b"a datagram";
    let socket = inside(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.connect((to.address, ECHO_PORT))?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(PAYLOAD)?;
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).map_err(no_answer)?;
    let answer = buffer.get(..length).unwrap_or_default();
    if !answer.ends_with(PAYLOAD) {
        return Err(io::Error::other("the datagram came back changed"));
    }
    let seen = seen_in(&String::from_utf8_lossy(answer))?;
    Ok(Seen { own: socket.local_addr()?, seen })
}

/// Sends one ICMP echo request to `to`; how long the reply took.
pub fn ping(from: &LabHost, to: &LabHost, patience: Duration) -> io::Result<Duration> {
    // Type, code, and a checksum and an identifier that the kernel fills in; sequence number 1.
    const REQUEST: [u8; 16] = *b"\x08\0\0\0\0\0\0\x01pingpong";
    const REPLY: u8 = 0;
    let socket = inside(from, || {
        let icmp = Some(ipproto::ICMP);
        rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, icmp).map_err(io::Error::from)
    })?;
    // The calls of a datagram socket are the same whatever the protocol.
    let socket = UdpSocket::from(socket);
    socket.connect((to.address, 0))?;
    socket.set_read_timeout(Some(patience))?;
    let start = Instant::now();
    socket.send(&REQUEST)?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).map_err(no_answer)?;
    match buffer.get(..length) {
        Some([REPLY, 0, .., b'p', b'i', b'n', b'g', b'p', b'o', b'n', b'g']) => Ok(start.elapsed()),
        _ => Err(io::Error::other("the answer is no echo reply to the request")),
    }
}

/// Connects to the echo of `to`.
pub fn echo_stream(from: &LabHost, to: &LabHost, patience: Duration) -> io::Result<TcpStream> {
    let address = SocketAddr::from((to.address, ECHO_PORT));
    let stream = inside(from, || TcpStream::connect_timeout(&address, patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Did nobody answer, as against a refusal or an error of our own?
pub fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A socket stays in the namespace that it was made in, so only its making happens there.
fn inside<T: Send>(host: &LabHost, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    netns::run_in(&host.netns_path(), work).map_err(|failure: Failure| io::Error::other(failure))?
}

async fn fetch(to: &LabHost) -> io::Result<Seen> {
    let address = SocketAddrV4::new(to.address, HTTP_PORT);
    let stream = tokio::net::TcpStream::connect(address).await?;
    let own = stream.local_addr()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/")
        .header(hyper::header::HOST, to.address.to_string())
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    // Lets the connection close in order, so that no packet of it comes late.
    drop(sender);
    connection.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    if status != StatusCode::OK {
        return Err(io::Error::other(format!("the server answers {status}")));
    }
    Ok(Seen { own, seen: seen_in(&String::from_utf8_lossy(&body))? })
}

/// The address that a server's greeting says it sees.
fn seen_in(greeting: &str) -> io::Result<SocketAddrV4> {
    greeting
        .lines()
        .next()
        .and_then(|line| line.split_once("; you are "))
        .and_then(|(_, address)| address.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not the answer of a lab server: {greeting:?}")))
}

/// A receive that timed out says "would block"; callers shall see one kind only.
fn no_answer(error: io::Error) -> io::Error {
    if is_silence(&error) { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::servers::greeting;
    use crate::lab::topology::DB1;

    #[test]
    fn greetings_are_understood() {
        let peer = SocketAddrV4::new(Ipv4Addr::new(172, 19, 0, 1), 43210);
        assert_eq!(seen_in(&greeting(&DB1, peer.into())).unwrap(), peer);
        let datagram = format!("{}a datagram", greeting(&DB1, peer.into()));
        assert_eq!(seen_in(&datagram).unwrap(), peer);
        assert!(seen_in("hello").is_err());
        assert!(seen_in("").is_err());
    }

    #[test]
    fn silence_has_one_kind() {
        let would_block = io::Error::from(io::ErrorKind::WouldBlock);
        assert_eq!(no_answer(would_block).kind(), io::ErrorKind::TimedOut);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(no_answer(refused).kind(), io::ErrorKind::ConnectionRefused);
    }
}
