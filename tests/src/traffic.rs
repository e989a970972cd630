//! Real sockets between namespaces.

use std::hash::{DefaultHasher, Hasher as _};
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::namespaces::Namespace;
use crate::topology::Host;
use crate::view::internet_checksum;
use crate::wait::{PATIENCE, bound};

/// Listens in `ns`.
#[must_use]
#[track_caller]
pub fn listen(ns: &Namespace, at: SocketAddrV4) -> TcpListener {
    ns.run(|| bound(|| TcpListener::bind(at)).expect("listen"))
}

/// Connects from `ns`, from `port` or, with 0, from one that the kernel chooses.
pub fn connect(ns: &Namespace, port: u16, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    connect_within(PATIENCE, ns, port, to)
}

/// As [`connect`], for at most `patience`.
pub fn connect_within(
    patience: Duration,
    ns: &Namespace,
    port: u16,
    to: SocketAddrV4,
) -> std::io::Result<TcpStream> {
    ns.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into();
        bound(|| socket.bind(&from))?;
        socket.connect_timeout(&to.into(), patience)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

/// Connects to a listener and returns both ends, and the client's address as the server sees it.
#[track_caller]
pub fn pair_up(
    client: &Namespace,
    port: u16,
    listener: &TcpListener,
) -> (TcpStream, TcpStream, SocketAddrV4) {
    let to = v4(listener.local_addr().expect("address"));
    let near = connect(client, port, to).expect("connected");
    let (far, seen) = listener.accept().expect("accepted");
    far.set_read_timeout(Some(PATIENCE)).expect("timeout");
    far.set_write_timeout(Some(PATIENCE)).expect("timeout");
    far.set_nodelay(true).expect("nodelay");
    (near, far, v4(seen))
}

/// Sends `text` one way and waits for it to arrive whole.
#[track_caller]
pub fn say(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).expect("sent");
    let mut heard = vec![0; text.len()];
    to.read_exact(&mut heard).expect("heard");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// Both ends send `bytes` bytes at the same time and close; the digests of what was sent and what
/// arrived must be equal, both ways.
#[track_caller]
pub fn transfer(near: TcpStream, far: TcpStream, bytes: u64) {
    let sender = |stream: &TcpStream, seed| send(stream.try_clone().expect("handle"), seed, bytes);
    std::thread::scope(|scope| {
        let up = scope.spawn(|| sender(&near, 1));
        let down = scope.spawn(|| sender(&far, 2));
        let heard_near = scope.spawn(|| digest_to_end(&near));
        let heard_far = digest_to_end(&far);
        assert_eq!(heard_far, up.join().expect("sender"), "client to server");
        assert_eq!(
            heard_near.join().expect("receiver"),
            down.join().expect("sender"),
            "server to client"
        );
    });
}

/// Sends `bytes` pseudo-random bytes and closes that direction. Returns length and digest.
fn send(mut stream: TcpStream, seed: u64, bytes: u64) -> (u64, u64) {
    let (mut state, mut digest, mut left) = (seed, DefaultHasher::new(), bytes);
    let mut block = vec![0; 1 << 16];
    for byte in &mut block {
        *byte = next(&mut state) as u8;
    }
    while left > 0 {
        // A stamp in every block, so that a lost, doubled or moved one shows.
        block[..8].copy_from_slice(&next(&mut state).to_ne_bytes());
        let length = left.min(block.len() as u64);
        let piece = &block[..length as usize];
        stream.write_all(piece).expect("sent");
        digest.write(piece);
        left -= length;
    }
    stream.shutdown(Shutdown::Write).expect("closed");
    (bytes, digest.finish())
}

fn digest_to_end(mut stream: &TcpStream) -> (u64, u64) {
    let (mut digest, mut total) = (DefaultHasher::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match uninterrupted(|| stream.read(&mut buffer)).expect("received") {
            0 => return (total, digest.finish()),
            length => {
                digest.write(&buffer[..length]);
                total += length as u64;
            }
        }
    }
}

/// Calls again what a signal has interrupted: with a timeout, the kernel does not do so itself.
fn uninterrupted<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A UDP socket in `ns`.
#[must_use]
#[track_caller]
pub fn udp(ns: &Namespace, at: SocketAddrV4) -> UdpSocket {
    let socket = ns.run(|| bound(|| UdpSocket::bind(at)).expect("UDP socket"));
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

/// Sends `text` to the server and the same back. Returns the client's address as the server sees it.
#[track_caller]
pub fn udp_exchange(client: &UdpSocket, server: &UdpSocket, text: &str) -> SocketAddrV4 {
    let to = server.local_addr().expect("address");
    client.send_to(text.as_bytes(), to).expect("sent");
    let mut buffer = [0; 2048];
    let (length, seen) = uninterrupted(|| server.recv_from(&mut buffer)).expect("heard");
    assert_eq!(&buffer[..length], text.as_bytes());
    server.send_to(text.as_bytes(), seen).expect("answered");
    let (length, from) = uninterrupted(|| client.recv_from(&mut buffer)).expect("answer heard");
    assert_eq!((&buffer[..length], from), (text.as_bytes(), to));
    v4(seen)
}

/// A few words by TCP, from port 10000, and by UDP, from port 10001, between two hosts. Returns both ends
/// of the connection.
#[track_caller]
pub fn hello(from: &Host, to: &Host) -> (TcpStream, TcpStream) {
    let listener = listen(&to.ns, to.at(80));
    let (mut near, mut far, _) = pair_up(&from.ns, 10_000, &listener);
    say(&mut near, &mut far, "hello");
    let (server, client) = (udp(&to.ns, to.at(53)), udp(&from.ns, from.at(10_001)));
    udp_exchange(&client, &server, "hello");
    (near, far)
}

/// Does a datagram arrive within `patience`? For tests in which it must not.
pub fn arrives(socket: &UdpSocket, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patience)).expect("timeout");
    let arrived = uninterrupted(|| socket.recv_from(&mut [0; 2048])).is_ok();
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    arrived
}

/// Pings `to` from `ns` `count` times, one after the other. Returns how many were answered, each
/// within `patience`.
#[track_caller]
pub fn ping(ns: &Namespace, to: Ipv4Addr, id: u16, count: u16, patience: Duration) -> u16 {
    let socket = ns
        .run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("ICMP socket"));
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
    (1..=count).filter(|&sequence| ping_once(&socket, to, id, sequence, patience)).count() as u16
}

fn ping_once(socket: &Socket, to: Ipv4Addr, id: u16, sequence: u16, patience: Duration) -> bool {
    let mut request = vec![8, 0, 0, 0];
    request.extend([id, sequence].map(u16::to_be_bytes).concat());
    request.extend(b"are you there?  ");
    let sum = internet_checksum(&[&request]);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    socket.send_to(&request, &SocketAddrV4::new(to, 0).into()).expect("request sent");
    request[0] = 0;
    let deadline = Instant::now() + patience;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    while Instant::now() < deadline {
        match uninterrupted(|| socket.recv(&mut buffer)) {
            Ok(length) => {
                let bytes = buffer[..length].iter();
                // SAFETY: the kernel has written the first `length` bytes.
                let bytes: Vec<u8> = bytes.map(|byte| unsafe { byte.assume_init() }).collect();
                let header = usize::from(bytes[0] & 15) * 4;
                let answer = &bytes[header..];
                // The checksum differs, by the type alone.
                if bytes[12..16] == to.octets()
                    && answer[..2] == request[..2]
                    && answer[4..] == request[4..]
                {
                    return true;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("ping {to}: {error}"),
        }
    }
    false
}

fn v4(address: std::net::SocketAddr) -> SocketAddrV4 {
    match address {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(address) => panic!("{address} is no IPv4 address"),
    }
}
