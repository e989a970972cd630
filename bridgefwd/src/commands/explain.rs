//! `bridgefwd explain`: the host's rules and networks, or those of files, in words.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::{ask_daemon, enter_netns, output};
use crate::api::types::{Pair, PairState, Status};
use crate::cli::ExplainOptions;
use crate::datapath::offline::Reader;
use crate::explain::ends::{End, Facts, Network, World};
use crate::explain::model::Table;
use crate::explain::report::Report;
use crate::explain::running::Running;
use crate::explain::{self, ParseError, describe, matrix, networks, walk};
use crate::failure::{Failure, Result};
use crate::host::netlink::Snapshot;
use crate::host::{firewall, sysctl};
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &ExplainOptions, instance: &Instance) -> Result<()> {
    let live = options.rules.is_empty();
    let running = if live { running(instance)? } else { None };
    let (world, mut more) = world(options, instance)?;
    let running = running.unwrap_or_default();
    if let (Some(from), Some(to)) = (&options.from, &options.to) {
        let party = |said| walk::party(&world, said).map_err(Failure::usage);
        let (from, to) = (party(from)?, party(to)?);
        let sent = options.packet.as_deref();
        let sent = sent.map(|said| walk::service(said).map(|service| (said, service)));
        let sent = sent.transpose().map_err(Failure::usage)?;
        let mut walk = walk::walk(&world, &from, &to, sent).map_err(Failure::usage)?;
        running.add_to_walk(&mut walk, interface(&world, from.end), interface(&world, to.end));
        walk.notes.append(&mut more);
        return output::answer(&walk, options.output, views::explain_walk::walk);
    }
    let mut report = describe::report(&world, &matrix::cells(&world));
    report.notes.append(&mut more);
    if options.import {
        return import(&report);
    }
    running.add(&mut report);
    output::answer(&report, options.output, views::explain::matrix)
}

fn interface(world: &World, end: End) -> Option<&str> {
    match end {
        End::Network(index) => world.network(index).map(|network| network.bridge.as_str()),
        End::Outside => world.facts.outside.as_deref(),
        End::Host => None,
    }
}

/// The host, or what files say of one; and what should be said beside the answer.
fn world(options: &ExplainOptions, instance: &Instance) -> Result<(World, Vec<String>)> {
    let mut notes = Vec::new();
    let mut facts = Facts::default();
    let tables = if options.rules.is_empty() {
        enter_netns(instance)?;
        facts = host()?;
        let rules = firewall::read()?;
        notes.extend(rules.notes);
        rules.tables
    } else {
        let tables = options.rules.iter().map(|path| rules(path)).collect::<Result<Vec<_>>>()?;
        explain::together(tables.concat())
    };
    if let Some(path) = &options.networks {
        let found = read(path)?;
        facts.networks = networks::inspected(&found).map_err(|error| wrong(path, &error))?;
    } else if !options.rules.is_empty() {
        facts.networks = networks::from_rules(&tables);
        if !facts.networks.is_empty() {
            notes.push(
                "the networks are read from the rules, each gateway taken for the first address; \
                 --networks FILE says what they are"
                    .into(),
            );
        }
    }
    if facts.networks.is_empty() {
        return Err(Failure::failed(if options.rules.is_empty() {
            "there is no bridge with an IPv4 address here, so nobody to explain"
        } else {
            "the rules do not tell which networks there are; give them with --networks FILE, as \
             docker network inspect prints them"
        }));
    }
    if let Some(bridge_nf) = &options.bridge_nf {
        facts.bridge_nf = Some(bridge_nf == "1");
    }
    if let Some(outside) = &options.outside {
        facts.outside = Some(outside.clone());
    }
    Ok((World::new(tables, facts), notes))
}

/// What the host is, beside its rules: seen from the calling thread's network namespace.
fn host() -> Result<Facts> {
    let snapshot = Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list the interfaces: {error}")))?;
    let mut facts = Facts {
        outside: firewall::default_route(),
        bridge_nf: sysctl::bridge_nf(),
        forwarding: sysctl::forwards(bridgefwd_common::contract::Family::V4),
        ..Facts::default()
    };
    for link in snapshot.links.values() {
        let v4 = link.addresses.iter().filter_map(|address| match address.address {
            IpAddr::V4(v4) => Some((v4, address.prefix_len)),
            IpAddr::V6(_) => None,
        });
        let v4: Vec<(Ipv4Addr, u8)> = v4.collect();
        if let Some(&(gateway, length)) = v4.first().filter(|_| link.is_bridge) {
            facts.networks.push(Network {
                name: link.name.clone(),
                bridge: link.name.clone(),
                subnet: Some((gateway, length)),
                gateway: Some(gateway),
                containers: Vec::new(),
            });
        }
        facts.addresses.extend(v4.into_iter().map(|(address, _)| address));
    }
    Ok(facts)
}

/// The rules in a file.
fn rules(path: &Path) -> Result<Vec<Table>> {
    explain::parse(&read(path)?).map_err(|error| wrong(path, &error))
}

/// A file's text, that of standard input for `-`.
fn read(path: &Path) -> Result<String> {
    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(cannot)
}

fn wrong(path: &Path, error: &ParseError) -> Failure {
    Failure::usage(format!("{}, {error}", path.display()))
}

/// What the instance's daemon does, or what it has left pinned; `None` where there is neither.
fn running(instance: &Instance) -> Result<Option<Running>> {
    let asked =
        ask_daemon(instance, async |client| Ok((client.pairs().await?, client.status().await?)));
    match asked {
        Ok((pairs, status)) => return Ok(Some(as_running(pairs, &status))),
        Err(Failure::NoDaemon(_)) => {}
        Err(failure) => return Err(failure),
    }
    enter_netns(instance)?;
    let reader = match Reader::open(&instance.pin_dir) {
        Ok(reader) => reader,
        // Rules can be explained without: by somebody who may not read pins, or where there is no bpffs.
        Err(failure) => {
            output::note(&format!("what is pinned is not taken into account: {failure}"));
            None
        }
    };
    let Some(reader) = reader else { return Ok(None) };
    Ok(Some(as_running(reader.pairs()?, &reader.status(instance)?)))
}

fn as_running(pairs: Vec<Pair>, status: &Status) -> Running {
    let present = pairs.into_iter().filter(|pair| pair.present);
    Running {
        pairs: present
            .map(|pair| ((pair.from, pair.to), pair.state == PairState::Allowed))
            .collect(),
        managed: [&status.bridges[..], &status.uplinks].concat(),
        unlisted_denied: status.unlisted == "deny",
    }
}

/// The pairs of a configuration file.
fn import(report: &Report) -> Result<()> {
    if report.recipes.is_empty() {
        return Err(Failure::failed(
            "nothing to import: no line in DOCKER-ISOLATION-STAGE-1 or DOCKER-USER lets one bridge reach another",
        ));
    }
    output::print(&views::explain::configuration(report))
}
