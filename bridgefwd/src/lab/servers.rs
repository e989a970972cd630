//! The lab's servers: each host has one, which says who it is and whom it sees.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use futures_util::stream;
use tokio::net::{TcpListener, UdpSocket};

use super::processes::{self, Process};
use super::topology::{self, ECHO_PORT, HOSTS, HTTP_PORT, LabHost};
use crate::failure::{Failure, Result};
use crate::host::netns;

/// How long servers may take until they accept.
const ACCEPT_WITHIN: Duration = Duration::from_secs(10);

/// Time between two lines of `/stream`.
const STREAM_EVERY: Duration = Duration::from_millis(200);

/// What a server answers.
#[must_use]
pub fn greeting(host: &LabHost, peer: SocketAddr) -> String {
    format!("hello from {} ({}); you are {peer}\n", host.name, host.address)
}

/// Starts a server in each host's namespace and waits until all accept.
///
/// # Errors
/// One could not be started, or does not accept in time; with what it said.
pub fn start() -> Result<()> {
    for host in HOSTS {
        spawn(host).map_err(|error| {
            Failure::failed(format!("cannot start the server of {}: {error}", host.name))
        })?;
    }
    let deadline = Instant::now() + ACCEPT_WITHIN;
    while !all_accept() {
        if Instant::now() > deadline {
            let silent = HOSTS.iter().find(|host| !accepts(host)).unwrap_or(&HOSTS[0]);
            let said = fs::read_to_string(silent.log()).unwrap_or_default();
            return Err(Failure::failed(format!(
                "the server of {} does not accept at {}:{HTTP_PORT}; it said: {}",
                silent.name,
                silent.address,
                if said.is_empty() { "nothing" } else { said.trim() }
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Do all servers accept connections from the router?
#[must_use]
pub fn all_accept() -> bool {
    HOSTS.iter().all(|host| accepts(host))
}

/// Ends all servers.
///
/// # Errors
/// One could not be ended.
pub fn stop() -> Result<()> {
    for host in HOSTS {
        for server in of(host)? {
            server.kill()?;
        }
    }
    Ok(())
}

/// Process ids of the servers of `host`: one, where the lab is whole.
///
/// # Errors
/// Processes cannot be listed.
pub fn pids(host: &LabHost) -> Result<Vec<i32>> {
    Ok(of(host)?.iter().map(|server| server.pid.as_raw_nonzero().get()).collect())
}

/// Is the server of `host`: detached, in its namespace, until it is ended.
///
/// # Errors
/// There is no such host, or it cannot listen there.
pub fn serve(name: &str) -> Result<()> {
    let host = LabHost::named(name).ok_or_else(|| {
        let names: Vec<_> = HOSTS.iter().map(|host| host.name).collect();
        Failure::usage(format!("the lab has no host {name:?}, only {}", names.join(", ")))
    })?;
    // Out of the terminal's reach; a session leader (started by hand) is so already.
    let _ = rustix::process::setsid();
    netns::enter(&host.netns_path())?;
    let failed =
        |error: io::Error| Failure::failed(format!("the server of {name} cannot go on: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(listen(host)).map_err(failed)
}

fn accepts(host: &LabHost) -> bool {
    let address = SocketAddr::from((host.address, HTTP_PORT));
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
    netns::run_in(&topology::router_path(), connect).unwrap_or(false)
}

fn of(host: &LabHost) -> Result<Vec<Process>> {
    if !netns::exists(&host.netns()) {
        return Ok(Vec::new());
    }
    let mut found = processes::in_namespace(netns::inode(&host.netns_path())?)?;
    found.retain(|process| process.args.starts_with(&["lab".into(), "serve".into()]));
    Ok(found)
}

fn spawn(host: &LabHost) -> io::Result<()> {
    let log = File::create(host.log())?;
    Command::new(std::env::current_exe()?)
        .args(["lab", "serve", "--name", host.name])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map(drop)
}

/// Answers on all ports; returns only with an error.
async fn listen(host: &'static LabHost) -> io::Result<()> {
    let http = TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP_PORT)).await?;
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, ECHO_PORT)).await?;
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ECHO_PORT)).await?;
    let app = Router::new()
        .route("/", get(hello))
        .route("/stream", get(stream_lines))
        .with_state(host)
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::try_join!(
        async { axum::serve(http, app).await },
        echo_streams(tcp),
        echo_datagrams(udp, host)
    )?;
    Ok(())
}

async fn hello(
    State(host): State<&'static LabHost>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> String {
    greeting(host, peer)
}

/// A line at once and then one every [`STREAM_EVERY`], for as long as the client listens.
async fn stream_lines(
    State(host): State<&'static LabHost>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Body {
    let ticks = tokio::time::interval(STREAM_EVERY);
    Body::from_stream(stream::unfold((0_u64, ticks), move |(number, mut ticks)| async move {
        ticks.tick().await;
        let line = format!("line {number}: {}", greeting(host, peer));
        Some((Ok::<_, Infallible>(line), (number + 1, ticks)))
    }))
}

/// What comes goes back, byte for byte.
async fn echo_streams(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            // A peer that breaks off ends its own connection only.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

/// What comes goes back after the greeting.
async fn echo_datagrams(socket: UdpSocket, host: &LabHost) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        // Errors here are those of earlier answers: nobody listens there any more.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let mut answer = greeting(host, peer).into_bytes();
        answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let _ = socket.send_to(&answer, peer).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_names_both_sides() {
        let peer = SocketAddr::from(([172, 19, 0, 1], 43210));
        assert_eq!(
            greeting(&topology::DB1, peer),
            "hello from db1 (172.19.0.2); you are 172.19.0.1:43210\n"
        );
    }

    #[test]
    fn only_hosts_of_the_lab_serve() {
        let failure = serve("db9").unwrap_err();
        assert_eq!(failure.exit_status(), 2);
        assert!(failure.to_string().contains("front1, front2, db1, db2, office1"));
    }
}
