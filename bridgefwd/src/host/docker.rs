//! What a Docker engine on this host says of its networks and the containers in them, and the news
//! that something changed.
//!
//! As with interfaces, news is only ever a reason to look again: [`Engine::networks`] asks for
//! everything, so an event that is lost, or that we do not know, costs nothing but a look.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, EndpointResource, EventMessage, IpamConfig, NetworkInspect,
};
use bollard::query_parameters::{
    EventsOptions, InspectContainerOptions, InspectNetworkOptions, ListNetworksOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _};
use tokio::net::UnixStream;

/// Where engines listen unless they are told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How long an engine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The option that says how the bridge of a network is called.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// How much of its id is in the name of a network's bridge.
const ID_IN_BRIDGE_NAME: usize = 12;

/// A network of the engine.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// Its id: 64 digits.
    pub id: String,
    /// Its name, which another one may have as well. Compose calls it `project_network`.
    pub name: String,
    /// The driver that makes it: `bridge`, `host`, `macvlan`, ...
    pub driver: String,
    /// Its containers are to have no way out.
    pub internal: bool,
    /// How its bridge is called, where it has one.
    pub bridge: String,
    /// The interface that it is put on, of `macvlan` and `ipvlan`.
    pub parent: Option<String>,
    /// Its subnets, as `172.18.0.0/16`.
    pub subnets: Vec<String>,
    /// The host's addresses in it.
    pub gateways: Vec<IpAddr>,
    /// What is plugged into it, in order of the containers' names.
    pub endpoints: Vec<Endpoint>,
}

/// A running container's place in a network.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    /// The container's name.
    pub container: String,
    /// The endpoint's id: another one each time that the container is started.
    pub id: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}

impl Network {
    /// As `docker network ls` shows its id.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id.get(..ID_IN_BRIDGE_NAME).unwrap_or(&self.id)
    }
}

/// A container, running or not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Container {
    /// Its id: 64 digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Process that it was started with, as the engine counts them; `None` where it does not run.
    pub pid: Option<u32>,
}

/// The engine behind a socket.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    /// The process that listens, as we count them; `None` where that cannot be seen.
    process: Option<u32>,
}

impl Engine {
    /// Connects, and finds out which version of the API it speaks.
    ///
    /// # Errors
    ///
    /// What is in the way: no socket, no permission, an engine of another network namespace, or none
    /// that answers.
    pub async fn connect(socket: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
        check_namespace(&stream)?;
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let process = process.and_then(|pid| u32::try_from(pid).ok());
        drop(stream);
        let path = socket.to_str().ok_or("its name is not text")?;
        let docker = Docker::connect_with_unix(path, PATIENCE.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| error.to_string())?;
        let docker = within(docker.negotiate_version()).await?;
        Ok(Self { docker, process })
    }

    /// All networks, with what is in them, in order of name and id.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer, or with what nobody understands.
    pub async fn networks(&self) -> Result<Vec<Network>, String> {
        let listed = within(self.docker.list_networks(None::<ListNetworksOptions>)).await?;
        // Only one by one do they say what is in them.
        let ids = listed.into_iter().filter_map(|network| network.id);
        let each = ids.map(async |id| {
            let asked = self.docker.inspect_network(&id, None::<InspectNetworkOptions>);
            match within_raw(asked).await {
                Ok(found) => Ok(Some(network(found))),
                // Gone since it was listed.
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        });
        let networks: Result<Vec<_>, String> = join_all(each).await.into_iter().collect();
        let mut networks: Vec<_> = networks?.into_iter().flatten().collect();
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(networks)
    }

    /// The container of that name, or whose id begins so; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn container(&self, name: &str) -> Result<Option<Container>, String> {
        let asked = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        match within_raw(asked).await {
            Ok(found) => Ok(Some(container(found))),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The network namespace of a process as the engine counts them: it may count others than we do.
    #[must_use]
    pub fn namespace_of(&self, pid: u32) -> PathBuf {
        let as_it_sees = self.process.map_or_else(PathBuf::new, |process| {
            PathBuf::from(format!("/proc/{process}/root/proc/{pid}/ns/net"))
        });
        if as_it_sees.exists() { as_it_sees } else { format!("/proc/{pid}/ns/net").into() }
    }

    /// Yields whenever something may have changed, and ends where the engine is gone. What has
    /// happened in the last second before is told again, so that nothing is missed by whoever listens
    /// first and then asks.
    pub fn news(&self) -> impl Stream<Item = ()> + use<> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let kinds = ["network", "container", "daemon"].map(String::from);
        let options = EventsOptions {
            since: Some(now.as_secs().saturating_sub(1).to_string()),
            filters: Some(HashMap::from([("type".into(), kinds.into())])),
            ..EventsOptions::default()
        };
        // An event that cannot be read is one, too.
        let concerns_us = |event: &Result<EventMessage, Error>| {
            let action = event.as_ref().ok().and_then(|event| event.action.as_deref());
            !action.is_some_and(is_irrelevant)
        };
        let events = self.docker.events(Some(options));
        events.filter(move |event| std::future::ready(concerns_us(event))).map(drop)
    }
}

/// What containers do by the dozen, and what changes no network: health checks and the like.
fn is_irrelevant(action: &str) -> bool {
    ["exec_", "health_status", "top", "attach", "resize"]
        .iter()
        .any(|begin| action.starts_with(begin))
}

/// The sockets on which an engine of this network namespace may listen: that of `DOCKER_HOST`, or the
/// default.
#[must_use]
pub fn usual_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or(DEFAULT_SOCKET).into()
}

/// An engine of another network namespace speaks of bridges that are not here.
fn check_namespace(stream: &UnixStream) -> Result<(), String> {
    let Some(pid) = stream.peer_cred().ok().and_then(|peer| peer.pid()) else { return Ok(()) };
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/net"));
    let ours = std::fs::read_link("/proc/thread-self/ns/net");
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours != theirs => Err(format!(
            "its engine is in another network namespace: run bridgefwd there, with \
             --netns /proc/{pid}/ns/net"
        )),
        // Who may not look cannot tell.
        _ => Ok(()),
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    within_raw(asked).await.map_err(|error| error.to_string())
}

async fn within_raw<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Error::RequestTimeoutError))
}

fn network(found: NetworkInspect) -> Network {
    let options = found.options.unwrap_or_default();
    let id = found.id.unwrap_or_default();
    let bridge = options.get(BRIDGE_NAME).filter(|name| !name.is_empty()).cloned();
    let bridge =
        bridge.unwrap_or_else(|| format!("br-{}", id.get(..ID_IN_BRIDGE_NAME).unwrap_or(&id)));
    let pools = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let mut endpoints: Vec<_> =
        found.containers.unwrap_or_default().into_values().map(endpoint).collect();
    endpoints.sort();
    Network {
        id,
        name: found.name.unwrap_or_default(),
        driver: found.driver.unwrap_or_default(),
        internal: found.internal.unwrap_or_default(),
        bridge,
        parent: options.get("parent").cloned(),
        subnets: pools.iter().filter_map(|pool| pool.subnet.clone()).collect(),
        gateways: pools.iter().filter_map(gateway).collect(),
        endpoints,
    }
}

fn container(found: ContainerInspectResponse) -> Container {
    let pid = found.state.and_then(|state| state.pid);
    let name = found.name.unwrap_or_default();
    Container {
        id: found.id.unwrap_or_default(),
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        // Of one that does not run it is 0.
        pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
    }
}

fn gateway(pool: &IpamConfig) -> Option<IpAddr> {
    bare(pool.gateway.as_deref()?)
}

fn endpoint(resource: EndpointResource) -> Endpoint {
    let addresses = [resource.ipv4_address, resource.ipv6_address];
    Endpoint {
        container: resource.name.unwrap_or_default(),
        id: resource.endpoint_id.unwrap_or_default(),
        addresses: addresses.into_iter().flatten().filter_map(|text| bare(&text)).collect(),
    }
}

/// An address that may have its prefix length behind it.
fn bare(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Network {
        network(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_network_as_engines_tell_of_it() {
        let id = "3fa9c12345abdeadbeef3fa9c12345abdeadbeef3fa9c12345abdeadbeef0000";
        let network = read(&format!(
            r#"{{"Name": "shop_front", "Id": "{id}", "Driver": "bridge", "Internal": false,
               "Created": "2026-11-25T12:06:42.269770530Z", "EnableIPv6": true,
               "IPAM": {{"Driver": "default", "Options": null, "Config":
                   [{{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}},
                    {{"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1/64"}}]}},
               "Containers": {{
                   "c2": {{"Name": "web", "EndpointID": "e2", "MacAddress": "02:42:ac:12:00:03",
                           "IPv4Address": "172.18.0.3/16", "IPv6Address": "fd00:1::3/64"}},
                   "c1": {{"Name": "api", "EndpointID": "e1", "MacAddress": "02:42:ac:12:00:02",
                           "IPv4Address": "172.18.0.2/16", "IPv6Address": ""}}}},
               "Options": {{}}, "Labels": {{"com.docker.compose.network": "front"}}}}"#
        ));
        assert_eq!((&*network.bridge, network.short_id()), ("br-3fa9c12345ab", "3fa9c12345ab"));
        assert_eq!(network.subnets, ["172.18.0.0/16", "fd00:1::/64"]);
        let gateways = ["172.18.0.1", "fd00:1::1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(network.gateways, gateways);
        let names: Vec<_> = network.endpoints.iter().map(|end| &*end.container).collect();
        assert_eq!(names, ["api", "web"]);
        assert_eq!(
            (network.endpoints[0].addresses.len(), network.endpoints[1].addresses.len()),
            (1, 2)
        );
    }

    #[test]
    fn a_bridge_may_be_called_otherwise() {
        let network = read(
            r#"{"Name": "bridge", "Id": "f00", "Driver": "bridge", "Containers": null,
               "IPAM": {"Driver": "default", "Config": null},
               "Options": {"com.docker.network.bridge.name": "docker0"}}"#,
        );
        assert_eq!(network.bridge, "docker0");
        assert_eq!(read(r#"{"Id": "f00", "Options": null}"#).bridge, "br-f00");
    }
}
