//! `bridgefwd trace`: who is meant and where that is, then packets as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::{ask_daemon, enter_netns, inspect, labels, open_pins_or_note, output, snapshot};
use crate::api::bridges::Bridge;
use crate::api::types::{Flow, FlowFilter};
use crate::cli::TraceOptions;
use crate::failure::{Failure, Result};
use crate::host::netns;
use crate::inspect::subject::Subject;
use crate::instance::Instance;
use crate::trace::describe::{self, Flows, Scene};
use crate::trace::follow::Wanted;
use crate::trace::packet::{ICMP, ICMP_V6, TCP, UDP};
use crate::trace::pcap::Pcap;
use crate::trace::probe::Probe;
use crate::trace::report::{PartyDoc, TraceDoc, WatchedDoc};
use crate::trace::stations::{Party, Place, Surroundings, source_towards};
use crate::trace::{Session, Until};
use crate::views;

/// Exit status where a probe got nowhere.
const GOT_NOWHERE: u8 = 1;

pub(super) fn run(options: &TraceOptions, instance: &Instance) -> Result<u8> {
    if options.proto.as_deref() == Some("icmp") && options.port.is_some() {
        return Err(Failure::usage("--port says nothing of icmp, which has no ports"));
    }
    if options.probe && options.port.is_none() && matches!(protocol(options), Some(TCP | UDP)) {
        return Err(Failure::usage("--probe by tcp or udp needs to know to which --port"));
    }
    enter_netns(instance)?;
    let (bridges, flows, daemon) = known(instance)?;
    let surroundings = Surroundings::look(&names(&bridges))?;
    let [from, to] = parties(options, &surroundings, instance)?;
    let stations = surroundings.stations(&from, &to);
    if stations.is_empty() {
        return Err(Failure::failed(format!(
            "packets between {} and {} come by no interface of this network namespace: name another \
             one with --netns",
            from.address, to.address
        )));
    }
    let is_v6 = from.address.is_ipv6();
    let wanted = Wanted {
        from: from.address,
        to: to.address,
        protocol: protocol(options).map(|it| if it == ICMP && is_v6 { ICMP_V6 } else { it }),
        port: options.port,
    };
    let probe = options.probe.then(|| probe(options, &from, &to)).transpose()?;
    let pcap = options.pcap.as_deref().map(|path| Pcap::create(path, &stations)).transpose()?;
    let scene = Scene {
        namespace: netns::inode(Path::new("/proc/thread-self/ns/net"))?,
        parties: [from, to],
        stations,
        attached: attached(&bridges)?,
        is_told: false,
        flows: Flows::default(),
        drops_are_told: false,
    };
    let has_daemon = daemon.is_some();
    let (mut session, mut notes) = Session::start(scene, wanted, daemon, pcap)?;
    if !has_daemon && !session.scene().attached.is_empty() {
        notes.push(
            "the daemon is not running: why bridgefwd drops or leaves a packet it alone says"
                .into(),
        );
    }
    for flow in flows(session.scene().parties[0].address)? {
        session.flow(number(&flow.proto), flow.original, flow.translated);
    }
    let document = document(session.scene(), notes);
    if show(options, &document, views::trace::begin)?.is_break() {
        return Ok(0);
    }
    let until = Until {
        count: options.count,
        deadline: options.seconds.map(|seconds| Instant::now() + seconds),
        quiet: probe.is_some() && options.count.is_none() && options.seconds.is_none(),
    };
    let sent = probe.map(|(probe, path)| session.meanwhile(move || probe.send(path.as_deref())));
    let mut got_there = false;
    session.run(until, sent.transpose()?, |packet| {
        got_there |= packet.way == "there" && packet.end.got_there();
        show(options, packet, views::trace::packet)
    })?;
    if session.missed() > 0 {
        output::note(&format!(
            "{} packets were not looked at: too many at a time",
            session.missed()
        ));
    }
    Ok(if options.probe && !got_there { GOT_NOWHERE } else { 0 })
}

fn show<T: Serialize>(
    options: &TraceOptions,
    document: &T,
    view: impl FnOnce(&T) -> String,
) -> Result<ControlFlow<()>> {
    if !options.json {
        return output::stream(&view(document));
    }
    let line = serde_json::to_string(document)
        .map_err(|error| Failure::failed(format!("that cannot be written as JSON: {error}")))?;
    output::stream(&format!("{line}\n"))
}

/// Asks for the flows of an address.
type AskFlows<'a> = Box<dyn FnOnce(IpAddr) -> Result<Vec<Flow>> + 'a>;

/// What there is on the host, the flows of an address, and the daemon's socket: from the daemon, else
/// from what it left pinned.
fn known(instance: &Instance) -> Result<(Vec<Bridge>, AskFlows<'_>, Option<PathBuf>)> {
    match ask_daemon(instance, async |client| client.bridges().await) {
        Ok(bridges) => {
            let flows = move |address| {
                let filter = FlowFilter { address: Some(address), ..FlowFilter::default() };
                ask_daemon(instance, async |client| client.flows(&filter).await)
            };
            return Ok((bridges, Box::new(flows), Some(instance.socket.clone())));
        }
        Err(Failure::NoDaemon(_)) => {}
        Err(failure) => return Err(failure),
    }
    let pins = open_pins_or_note(instance);
    let managed = pins.as_ref().map_or_else(|| Ok(Vec::new()), |pins| pins.bridges())?;
    let bridges = labels(instance)?.bridges(&snapshot()?, managed);
    let flows =
        move |address| pins.map_or_else(|| Ok(Vec::new()), |pins| pins.flows_with(address, None));
    Ok((bridges, Box::new(flows), None))
}

/// Names of containers by their addresses.
fn names(bridges: &[Bridge]) -> BTreeMap<IpAddr, String> {
    let containers = bridges.iter().flat_map(|bridge| &bridge.containers);
    let each = containers.flat_map(|container| {
        let addresses = container.addresses.iter().filter_map(|address| address.parse().ok());
        addresses.map(|address| (address, container.name.clone()))
    });
    each.collect()
}

/// ifindexes of the interfaces where bridgefwd is attached at ingress.
fn attached(bridges: &[Bridge]) -> Result<BTreeSet<u32>> {
    let links = snapshot()?;
    let managed = bridges.iter().filter(|bridge| bridge.managed);
    let each = managed.flat_map(|bridge| {
        let ports = bridge.ports.iter().filter_map(|port| links.by_name(port));
        ports.map(|port| port.ifindex).chain([bridge.ifindex])
    });
    Ok(each.collect())
}

fn protocol(options: &TraceOptions) -> Option<u8> {
    match (options.proto.as_deref(), options.port) {
        (Some(proto), _) => Some(number(proto)),
        // Whoever names a port and wants something sent means a connection.
        (None, Some(_)) if options.probe => Some(TCP),
        (None, _) => None,
    }
}

fn number(proto: &str) -> u8 {
    match proto {
        "tcp" => TCP,
        "udp" => UDP,
        "icmp" => ICMP,
        "icmpv6" => ICMP_V6,
        "sctp" => 132,
        other => other.parse().unwrap_or_default(),
    }
}

/// The two, as they are asked for, with addresses of one family.
fn parties(
    options: &TraceOptions,
    surroundings: &Surroundings,
    instance: &Instance,
) -> Result<[Party; 2]> {
    let find = |who: &str| -> Result<(Vec<IpAddr>, Option<PathBuf>)> {
        if let Ok(address) = who.parse() {
            return Ok((vec![address], None));
        }
        let path = find(who, instance)?.path();
        let addresses = surroundings.addresses_of(who, &path)?;
        if addresses.is_empty() {
            return Err(Failure::failed(format!("{who} has no address that could be reached")));
        }
        Ok((addresses, Some(path)))
    };
    let (from, from_path) = find(&options.from)?;
    let (to, _) = find(&options.to)?;
    let meet = |to: &&IpAddr| from.iter().any(|it| it.is_ipv4() == to.is_ipv4());
    let Some(&to) = to.iter().find(meet) else {
        return Err(Failure::usage(format!(
            "{} and {} have no addresses of the same family",
            options.from, options.to
        )));
    };
    let of_family = from.iter().filter(|it| it.is_ipv4() == to.is_ipv4());
    let of_family: Vec<IpAddr> = of_family.copied().collect();
    // One that is on several networks has the source that its route says.
    let source = match (&of_family[..], &from_path) {
        ([_, _, ..], Some(path)) => netns::run_in(path, || source_towards(to))?,
        _ => None,
    };
    let source = source.filter(|source| of_family.contains(source));
    let from = source.or(of_family.first().copied()).unwrap_or(to);
    if from == to {
        return Err(Failure::usage(format!("{from} is one address: name two")));
    }
    Ok([surroundings.party(&options.from, from), surroundings.party(&options.to, to)])
}

fn find(who: &str, instance: &Instance) -> Result<Subject> {
    let (_, followed) = inspect::ends(instance)?;
    inspect::find(who, inspect::socket(followed, instance).as_deref())
}

/// What is sent, and from which namespace.
fn probe(options: &TraceOptions, from: &Party, to: &Party) -> Result<(Probe, Option<PathBuf>)> {
    let path = match &from.place {
        Place::Inside { path, .. } => Some(path.clone()),
        Place::Host => None,
        Place::Beyond => {
            return Err(Failure::failed(format!(
                "{} is not plugged in here, so nothing can be sent from it: leave --probe away, and \
                 send from there",
                from.said
            )));
        }
    };
    let protocol = protocol(options).unwrap_or(ICMP);
    Ok((Probe { protocol, to: to.address, port: options.port.unwrap_or_default() }, path))
}

fn document(scene: &Scene, notes: Vec<String>) -> TraceDoc {
    let party = |party: &Party| PartyDoc {
        name: party.name().into(),
        address: party.address.to_string(),
        place: match party.place {
            Place::Inside { .. } => "inside",
            Place::Host => "host",
            Place::Beyond => "beyond",
        }
        .into(),
    };
    let [from, to] = &scene.parties;
    let watched = scene.stations.iter().map(|station| WatchedDoc {
        kind: describe::kind(station.kind).into(),
        interface: station.interface.clone(),
        inside: station.inside.as_ref().map(|(_, name)| name.clone()),
        attached: station.inside.is_none() && scene.attached.contains(&station.ifindex),
    });
    TraceDoc { from: party(from), to: party(to), watched: watched.collect(), notes }
}
