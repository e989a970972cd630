//! The lessons of the lab: small networks of their own, made, walked through and taken away by the
//! commands that a person would type.

pub mod command;
pub mod outcome;
pub mod script;
pub mod walk;

use clap::ValueEnum;

use crate::failure::Result;
use script::Script;

/// Which lesson.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Lesson {
    /// Two namespaces and a router between them
    Namespaces,
    /// Containers on one bridge: veth pairs, ports, forwarding database and ARP
    Bridge,
    /// What the network modes look like from inside, side by side
    Modes,
    /// Docker's rules between four networks, the recipe against them, and one pair instead
    Isolation,
    /// A translated packet, seen at each station, and from outside
    Nat,
    /// A container of a Docker engine: pid, namespace, cable, bridge, routes and settings
    Container,
}

impl Lesson {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Bridge => "bridge",
            Self::Modes => "modes",
            Self::Isolation => "isolation",
            Self::Nat => "nat",
            Self::Container => "container",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Namespaces => include_str!("namespaces.toml"),
            Self::Bridge => include_str!("bridge.toml"),
            Self::Modes => include_str!("modes.toml"),
            Self::Isolation => include_str!("isolation.toml"),
            Self::Nat => include_str!("nat.toml"),
            Self::Container => include_str!("container.toml"),
        }
    }

    /// What it consists of.
    ///
    /// # Errors
    /// It is not written as a lesson is: a defect of this program.
    pub fn script(self) -> Result<Script> {
        Script::parse(self.name(), self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lesson_can_be_read_and_says_what_each_step_means() {
        for lesson in Lesson::value_variants() {
            let script = lesson.script().unwrap();
            assert!(script.parts.len() > 1, "{lesson:?}");
            for step in script.parts.iter().flat_map(|part| &part.steps) {
                let commands = step.build.iter().chain([&step.run]);
                let commands = commands.chain(step.watch.iter().map(|watch| &watch.run));
                for command in commands {
                    assert!(!command.contains(['{', '}']), "{lesson:?}: {command}");
                }
                assert_ne!(step.build.is_empty(), step.run.is_empty(), "{lesson:?}: {step:?}");
                assert!(step.run.is_empty() || !step.means.is_empty(), "{lesson:?}: {step:?}");
            }
        }
    }
}
