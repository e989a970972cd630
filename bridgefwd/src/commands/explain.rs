//! `bridgefwd explain`: the host's rules and networks, or those of files, in words.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::{ask_daemon, enter_netns, labels, open_pins_or_note, output, snapshot};
use crate::api::bridges::Bridge;
use crate::api::types::{Pair, PairState, Status};
use crate::cli::ExplainOptions;
use crate::explain::ends::{End, Facts, World};
use crate::explain::model::Table;
use crate::explain::report::Report;
use crate::explain::running::Running;
use crate::explain::{self, ParseError, describe, matrix, networks as documents, walk};
use crate::failure::{Failure, Result};
use crate::host::{facts, firewall};
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &ExplainOptions, instance: &Instance) -> Result<()> {
    let live = options.rules.is_empty();
    let (running, ends) = if live { running(instance)? } else { Default::default() };
    let (world, mut more) = world(options, instance, &ends)?;
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
fn world(
    options: &ExplainOptions,
    instance: &Instance,
    ends: &[Bridge],
) -> Result<(World, Vec<String>)> {
    let mut notes = Vec::new();
    let mut facts = Facts::default();
    let tables = if options.rules.is_empty() {
        enter_netns(instance)?;
        facts = facts::here(ends)?;
        let rules = firewall::read()?;
        notes.extend(rules.notes);
        rules.tables
    } else {
        let tables = options.rules.iter().map(|path| rules(path)).collect::<Result<Vec<_>>>()?;
        explain::together(tables.concat())
    };
    if let Some(path) = &options.networks {
        let found = read(path)?;
        facts.networks = documents::inspected(&found).map_err(|error| wrong(path, &error))?;
    } else if !options.rules.is_empty() {
        facts.networks = documents::from_rules(&tables);
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

/// What the instance's daemon does, or what it has left pinned: nothing where there is neither; and what
/// there is on the host, by its names.
fn running(instance: &Instance) -> Result<(Running, Vec<Bridge>)> {
    let asked = ask_daemon(instance, async |client| {
        Ok((client.pairs().await?, client.status().await?, client.bridges().await?))
    });
    match asked {
        Ok((pairs, status, ends)) => return Ok((as_running(pairs, &status, &ends), ends)),
        Err(Failure::NoDaemon(_)) => {}
        Err(failure) => return Err(failure),
    }
    enter_netns(instance)?;
    let ends = labels(instance)?.bridges(&snapshot()?, Vec::new());
    let Some(reader) = open_pins_or_note(instance) else { return Ok((Running::default(), ends)) };
    // There every end goes by its interface.
    Ok((as_running(reader.pairs()?, &reader.status(instance)?, &[]), ends))
}

/// By the interfaces of the ends, whatever their names are.
fn as_running(pairs: Vec<Pair>, status: &Status, ends: &[Bridge]) -> Running {
    let interface = |name: &String| {
        let end = ends.iter().find(|end| end.managed && end.name == *name);
        end.and_then(|end| end.interface.as_ref()).unwrap_or(name).clone()
    };
    let present = pairs.into_iter().filter(|pair| pair.present);
    Running {
        pairs: present
            .map(|pair| {
                let ends = (interface(&pair.from), interface(&pair.to));
                (ends, pair.state == PairState::Allowed)
            })
            .collect(),
        managed: status.bridges.iter().chain(&status.uplinks).map(interface).collect(),
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
