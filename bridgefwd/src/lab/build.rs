//! Makes the lab's namespaces and what is in them, and takes them away. All or nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};
use rustix::fs::FlockOperation;

use super::topology::{self, HOSTS, LabBridge, LabHost, PREFIX_LENGTH, ROUTER, RUN_DIR};
use super::{daemon, servers};
use crate::failure::{Failure, Result};
use crate::host::netns;

/// What [`up`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Up {
    /// Nothing; it is up now.
    Made,
    /// It was up already, whole.
    Already,
}

/// Brings the lab up; returns when all its servers accept.
///
/// # Errors
/// It could not be made, and nothing is left of it; or a lab is there that is not whole.
pub fn up() -> Result<Up> {
    let lock = Lock::take()?;
    let there = topology::namespaces().filter(|name| netns::exists(name)).count();
    if there == topology::namespaces().count() && servers::all_accept() {
        return Ok(Up::Already);
    }
    if there > 0 {
        return Err(Failure::failed(
            "a lab is there, but it is not whole: take it down with `bridgefwd lab down` first",
        ));
    }
    match make() {
        Ok(()) => Ok(Up::Made),
        Err(failure) => Err(match take_down(&lock) {
            Ok(_) => failure,
            Err(left) => {
                Failure::failed(format!("{failure}; and it could not be taken down again: {left}"))
            }
        }),
    }
}

/// Takes the lab down with its servers, what a daemon in it left in the kernel, and its files.
/// False where there was none.
///
/// # Errors
/// A daemon runs in it, or something could not be removed.
pub fn down() -> Result<bool> {
    if !is_up() && !Path::new(RUN_DIR).exists() {
        return Ok(false);
    }
    let lock = Lock::take()?;
    if let Some(pid) = daemon::running()? {
        return Err(Failure::failed(format!(
            "a daemon (process {pid}) runs in the lab: end it with `bridgefwd --netns {ROUTER} \
             down` first"
        )));
    }
    take_down(&lock)
}

/// Is there a lab, or a part of one?
#[must_use]
pub fn is_up() -> bool {
    topology::namespaces().any(|name| netns::exists(&name))
}

/// Only one at a time makes the lab or takes it away.
struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

impl Lock {
    fn take() -> Result<Self> {
        let failed = |error: io::Error| {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => ": run it as root",
                _ => "",
            };
            Failure::failed(format!("cannot lock {RUN_DIR}: {error}{hint}"))
        };
        loop {
            fs::create_dir_all(RUN_DIR).map_err(failed)?;
            let dir = match File::open(RUN_DIR) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            rustix::fs::flock(&dir, FlockOperation::LockExclusive)
                .map_err(|errno| failed(errno.into()))?;
            // Whoever had the lock may have removed the folder meanwhile.
            let locked = dir.metadata().map_err(failed)?.ino();
            if fs::metadata(RUN_DIR).is_ok_and(|now| now.ino() == locked) {
                return Ok(Self(dir));
            }
        }
    }
}

fn take_down(_lock: &Lock) -> Result<bool> {
    let was_up = is_up();
    servers::stop()?;
    daemon::remove_leftovers()?;
    for name in topology::namespaces() {
        netns::delete(&name)?;
    }
    match fs::remove_dir_all(RUN_DIR) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::failed(format!("cannot remove {RUN_DIR}: {error}")))
        }
        _ => Ok(was_up),
    }
}

fn make() -> Result<()> {
    for name in topology::namespaces() {
        netns::create(&name)?;
    }
    netns::run_in(&topology::router_path(), make_router)??;
    for host in HOSTS {
        netns::run_in(&host.netns_path(), || configure_host(host))??;
    }
    servers::start()
}

/// Bridges and their ports; the other ends of those go into the hosts' namespaces.
fn make_router() -> Result<()> {
    // No firewall: this kernel forwards everything.
    set_sysctl("net/ipv4/ip_forward", "1")?;
    with_netlink(async |netlink| {
        for bridge in topology::BRIDGES {
            add_bridge(&netlink, bridge).await.map_err(|error| cannot_add(bridge.name, &error))?;
        }
        for host in HOSTS {
            add_port(&netlink, host).await.map_err(|error| cannot_add(&host.port(), &error))?;
        }
        Ok(())
    })
}

async fn add_bridge(netlink: &Handle, bridge: &LabBridge) -> io::Result<()> {
    let link = LinkBridge::new(bridge.name).address(bridge.mac().to_vec()).up().build();
    netlink.link().add(link).execute().await.map_err(io::Error::other)?;
    let index = index_of(netlink, bridge.name).await?;
    add_address(netlink, index, bridge.gateway).await
}

async fn add_port(netlink: &Handle, host: &LabHost) -> io::Result<()> {
    let inside = File::open(host.netns_path())?;
    let peer = LinkUnspec::new_with_name("eth0").setns_by_fd(inside.as_raw_fd()).build();
    let port = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(host.port())
        .controller(index_of(netlink, host.bridge.name).await?)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    netlink.link().add(port).execute().await.map_err(io::Error::other)
}

/// Address, default route, and what Docker, too, sets in a container.
fn configure_host(host: &LabHost) -> Result<()> {
    set_sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
    with_netlink(async |netlink| {
        let configured = async {
            let index = index_of(&netlink, "eth0").await?;
            add_address(&netlink, index, host.address).await?;
            let up = LinkUnspec::new_with_index(index).up().build();
            netlink.link().set(up).execute().await.map_err(io::Error::other)?;
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(host.bridge.gateway).build();
            netlink.route().add(route).execute().await.map_err(io::Error::other)
        };
        configured.await.map_err(|error| {
            Failure::failed(format!("cannot configure eth0 of {}: {error}", host.netns()))
        })
    })
}

async fn add_address(netlink: &Handle, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let request = netlink.address().add(index, IpAddr::V4(address), PREFIX_LENGTH);
    request.execute().await.map_err(io::Error::other)
}

async fn index_of(netlink: &Handle, name: &str) -> io::Result<u32> {
    let mut links = netlink.link().get().match_name(name).execute();
    let link = links.try_next().await.map_err(io::Error::other)?;
    link.map(|link| link.header.index).ok_or_else(|| ErrorKind::NotFound.into())
}

/// Runs `work` with rtnetlink in the network namespace of the calling thread.
fn with_netlink(work: impl AsyncFnOnce(Handle) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Failure::failed(format!("cannot use rtnetlink: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        tokio::spawn(connection);
        work(handle).await
    })
}

/// Sets a setting of the calling thread's network namespace.
fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    fs::write(&path, value).map_err(|error| {
        Failure::failed(format!("cannot set {} to {value}: {error}", path.display()))
    })
}

fn cannot_add(interface: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot make {interface} in {ROUTER}: {error}"))
}
