//! Real sockets of either family, and what programs ask of them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::namespaces::Namespace;
use crate::wait::{PATIENCE, bound};

/// Lets this process have as many open files as the system allows it. They are enough for one test
/// of thousands of sockets at a time: the next one waits until what this returns is dropped.
pub fn allow_many_files() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed meanwhile has taken nothing with it.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("more files");
    turn
}

/// Listens in `ns`, with room for a crowd at the door.
#[must_use]
#[track_caller]
pub fn tcp_listen(ns: &Namespace, at: SocketAddr) -> TcpListener {
    ns.run(|| {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).expect("socket");
        socket.set_reuse_address(true).expect("reuse");
        bound(|| socket.bind(&at.into())).unwrap_or_else(|error| panic!("bind {at}: {error}"));
        socket.listen(4096).expect("listen");
        socket.into()
    })
}

/// Connects, from an address or, with `None`, from one that the kernel chooses.
pub fn tcp_connect(
    ns: &Namespace,
    from: Option<SocketAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    ns.run(|| tcp_connect_here(from, to, patience))
}

/// As [`tcp_connect`], in the namespace of the calling thread.
pub fn tcp_connect_here(
    from: Option<SocketAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(from) = from {
        socket.set_reuse_address(true)?;
        bound(|| socket.bind(&from.into()))?;
    }
    socket.connect_timeout(&to.into(), patience)?;
    let stream = TcpStream::from(socket);
    set_up(&stream)?;
    Ok(stream)
}

/// Timeouts, and no waiting for more to send.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)
}

/// Connects to a listener. Returns both ends, and the client's address as the server sees it.
#[track_caller]
pub fn tcp_pair(
    ns: &Namespace,
    from: Option<SocketAddr>,
    listener: &TcpListener,
) -> (TcpStream, TcpStream, SocketAddr) {
    let to = listener.local_addr().expect("address");
    let near = tcp_connect(ns, from, to, PATIENCE)
        .unwrap_or_else(|error| panic!("connect {from:?} to {to}: {error}"));
    let (far, seen) = accept(listener);
    (near, far, seen)
}

/// Accepts the connection that is already there.
#[must_use]
#[track_caller]
pub fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (far, seen) = listener.accept().expect("accepted");
    set_up(&far).expect("set up");
    (far, seen)
}

/// A UDP socket in `ns`.
#[must_use]
#[track_caller]
pub fn udp_bind(ns: &Namespace, at: SocketAddr) -> UdpSocket {
    ns.run(|| udp_bind_here(at))
}

/// As [`udp_bind`], in the namespace of the calling thread.
#[must_use]
#[track_caller]
pub fn udp_bind_here(at: SocketAddr) -> UdpSocket {
    let socket = bound(|| UdpSocket::bind(at)).unwrap_or_else(|error| panic!("bind {at}: {error}"));
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

/// Sends a question and waits for it at the server, and for the answer at the client. Returns the
/// client's address as the server sees it.
#[track_caller]
pub fn udp_ask(client: &UdpSocket, server: &UdpSocket, text: &[u8]) -> SocketAddr {
    let to = server.local_addr().expect("address");
    client.send_to(text, to).expect("sent");
    let (question, seen) = udp_receive(server);
    assert_eq!(question, text, "the question");
    server.send_to(text, seen).expect("answered");
    let (answer, from) = udp_receive(client);
    assert_eq!((&answer[..], from), (text, to), "the answer");
    seen
}

/// The next datagram, within [`PATIENCE`].
#[must_use]
#[track_caller]
pub fn udp_receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) = uninterrupted(|| socket.recv_from(&mut buffer))
        .unwrap_or_else(|error| panic!("nothing for {:?}: {error}", socket.local_addr()));
    buffer.truncate(length);
    (buffer, from)
}

/// Calls again what a signal has interrupted.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A socket option of type int.
#[derive(Clone, Copy, Debug)]
pub struct IntOption(libc::c_int, libc::c_int);

impl IntOption {
    /// The MTU of the way that a connected socket has.
    pub fn mtu(of: IpAddr) -> Self {
        match of {
            IpAddr::V4(_) => Self(libc::IPPROTO_IP, libc::IP_MTU),
            IpAddr::V6(_) => Self(libc::IPPROTO_IPV6, libc::IPV6_MTU),
        }
    }

    /// Path MTU discovery: [`DISCOVER_NOT`], [`DISCOVER_ALWAYS`].
    pub fn discovery(of: IpAddr) -> Self {
        match of {
            IpAddr::V4(_) => Self(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            IpAddr::V6(_) => Self(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        }
    }

    /// TTL or hop limit of what is sent.
    pub fn hops(of: IpAddr) -> Self {
        match of {
            IpAddr::V4(_) => Self(libc::IPPROTO_IP, libc::IP_TTL),
            IpAddr::V6(_) => Self(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        }
    }

    /// Length of the datagrams that one write is cut into.
    pub const UDP_SEGMENT: Self = Self(libc::SOL_UDP, libc::UDP_SEGMENT);
    /// Datagrams of one flow may be received as one.
    pub const UDP_GRO: Self = Self(libc::SOL_UDP, libc::UDP_GRO);

    /// Sets it.
    #[track_caller]
    pub fn set(self, socket: &impl AsRawFd, value: i32) {
        // SAFETY: `value` lives for the call, and its size is passed.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                self.0,
                self.1,
                std::ptr::from_ref(&value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        assert_eq!(result, 0, "{self:?} = {value}: {}", io::Error::last_os_error());
    }

    /// Reads it.
    #[must_use]
    #[track_caller]
    pub fn get(self, socket: &impl AsRawFd) -> i32 {
        let mut value = MaybeUninit::<i32>::uninit();
        let mut length = size_of::<i32>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, which is what there is room for.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                self.0,
                self.1,
                value.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert_eq!(result, 0, "{self:?}: {}", io::Error::last_os_error());
        // SAFETY: the call has succeeded, so it is written.
        unsafe { value.assume_init() }
    }
}

/// Don't-fragment is never set.
pub const DISCOVER_NOT: i32 = libc::IP_PMTUDISC_DONT;
/// Don't-fragment is always set.
pub const DISCOVER_ALWAYS: i32 = libc::IP_PMTUDISC_DO;
