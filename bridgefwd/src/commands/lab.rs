//! `bridgefwd lab`: a network to try bridgefwd in.

use clap::Subcommand;
use comfy_table::{Table, presets};
use schemars::JsonSchema;
use serde::Serialize;

use super::output;
use crate::failure::{Failure, Result};
use crate::host::netns;
use crate::lab::build::{self, Up};
use crate::lab::lesson::{Lesson, walk};
use crate::lab::report::Report;
use crate::lab::topology::{self, HOSTS, HTTP_PORT, LabHost, PREFIX_LENGTH, ROUTER};
use crate::lab::{servers, tour};

/// What to do with the lab.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum LabCommand {
    /// Make the lab: a router with three bridges, five hosts, a server in each
    Up,
    /// Take the lab away
    Down,
    /// Show hosts, addresses, bridges and servers
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the lab, show bridgefwd at work in it step by step, and take it away
    Tour,
    /// Lesson: two namespaces and a router between them
    #[command(subcommand)]
    Namespaces(LessonCommand),
    /// Lesson: containers on one bridge, its ports, what it learns, and ARP
    #[command(subcommand)]
    Bridge(LessonCommand),
    /// Lesson: what host, none, bridge, container, macvlan and overlay look like from inside
    #[command(subcommand)]
    Modes(LessonCommand),
    /// Lesson: Docker's rules between four networks, the recipe against them, one pair instead
    #[command(subcommand)]
    Isolation(LessonCommand),
    /// Lesson: a translated packet at each station, and from outside
    #[command(subcommand)]
    Nat(LessonCommand),
    /// Lesson: a container of your Docker engine, from its process to its bridge
    #[command(subcommand)]
    Container(LessonCommand),
    /// Be the server of a host (the lab starts these itself)
    #[command(hide = true)]
    Serve {
        /// Short name of the host
        #[arg(long)]
        name: String,
    },
}

/// What to do with a lesson.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Subcommand)]
pub enum LessonCommand {
    /// Make its network as it is at its end, to look around in
    Up,
    /// Make its network anew, step by step, each command with what it prints here; it stays
    Walk {
        /// Print JSON: an array of steps with their commands, outputs, and whether they hold
        #[arg(long)]
        json: bool,
    },
    /// Take its network away
    Down,
}

/// One line of `lab list`.
#[derive(JsonSchema, Serialize)]
pub(super) struct Listed {
    name: &'static str,
    netns: String,
    bridge: &'static str,
    port: String,
    address: String,
    gateway: String,
    server: String,
    server_pid: Option<i32>,
}

/// Runs it. Starts runtimes of its own: call it outside of any.
///
/// # Errors
/// What was asked could not be done; of the tour also that a step did not hold.
pub fn run(command: &LabCommand) -> Result<()> {
    match command {
        LabCommand::Up => up(),
        LabCommand::Down => down(),
        LabCommand::List { json } => list(*json),
        LabCommand::Tour => tour::run(),
        LabCommand::Namespaces(command) => lesson(Lesson::Namespaces, *command),
        LabCommand::Bridge(command) => lesson(Lesson::Bridge, *command),
        LabCommand::Modes(command) => lesson(Lesson::Modes, *command),
        LabCommand::Isolation(command) => lesson(Lesson::Isolation, *command),
        LabCommand::Nat(command) => lesson(Lesson::Nat, *command),
        LabCommand::Container(command) => lesson(Lesson::Container, *command),
        LabCommand::Serve { name } => servers::serve(name),
    }
}

fn up() -> Result<()> {
    match build::up()? {
        Up::Made => println!(
            "The lab is up: router {ROUTER}, {} hosts. See `bridgefwd lab list`.",
            HOSTS.len()
        ),
        Up::Already => println!("The lab is up already. See `bridgefwd lab list`."),
    }
    Ok(())
}

fn down() -> Result<()> {
    println!("{}", if build::down()? { "The lab is down." } else { "There is no lab." });
    Ok(())
}

fn lesson(lesson: Lesson, command: LessonCommand) -> Result<()> {
    let name = lesson.name();
    match command {
        LessonCommand::Up => {
            let mut report = Report::to_stdout();
            let made = walk::up(lesson, &mut report)?;
            report.line(if made {
                "It is up: look around, and take it away with the same command and `down`."
            } else {
                "It is up already."
            });
            Ok(())
        }
        LessonCommand::Walk { json: false } => {
            let mut report = Report::to_stdout();
            report.line(&lesson.script()?.title);
            walk::walk(lesson, &mut report)?;
            report.finish()?;
            println!("It stays for you to look around: `bridgefwd lab {name} down` takes it away.");
            Ok(())
        }
        LessonCommand::Walk { json: true } => {
            let mut outcomes = Vec::new();
            walk::walk(lesson, &mut outcomes)?;
            output::json(&outcomes)?;
            let failed = outcomes.iter().filter(|outcome| !outcome.holds).count();
            if failed == 0 {
                return Ok(());
            }
            Err(Failure::failed(format!("{failed} of {} steps did not hold", outcomes.len())))
        }
        LessonCommand::Down => {
            println!("{}", if walk::down(lesson)? { "It is down." } else { "It is not there." });
            Ok(())
        }
    }
}

fn list(json: bool) -> Result<()> {
    let hosts: Vec<Listed> = HOSTS
        .iter()
        .filter(|host| netns::exists(&host.netns()))
        .map(|host| listed(host))
        .collect::<Result<_>>()?;
    if json {
        output::json(&hosts)?;
    } else if hosts.is_empty() {
        println!("There is no lab: make one with `bridgefwd lab up`.");
    } else {
        println!("{}", table(&hosts));
        println!("Router: {ROUTER}, with {}.", bridges());
    }
    Ok(())
}

fn listed(host: &LabHost) -> Result<Listed> {
    Ok(Listed {
        name: host.name,
        netns: host.netns(),
        bridge: host.bridge.name,
        port: host.port(),
        address: host.address.to_string(),
        gateway: host.bridge.gateway.to_string(),
        server: format!("http://{}:{HTTP_PORT}/", host.address),
        server_pid: servers::pids(host)?.first().copied(),
    })
}

fn table(hosts: &[Listed]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["HOST", "NAMESPACE", "ADDRESS", "BRIDGE", "PORT", "SERVER"]);
    for host in hosts {
        let server = host.server_pid.map_or_else(|| "none".into(), |pid| format!("process {pid}"));
        let row = [host.name, &host.netns, &host.address, host.bridge, &host.port, server.as_str()];
        table.add_row(row);
    }
    table
}

fn bridges() -> String {
    let bridges = topology::BRIDGES.iter();
    let named: Vec<_> =
        bridges.map(|b| format!("{} {}/{PREFIX_LENGTH}", b.name, b.gateway)).collect();
    named.join(", ")
}
