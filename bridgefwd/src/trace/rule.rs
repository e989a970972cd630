//! Which netfilter rule dropped a packet: the rules where it was dropped, followed with that packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::packet::{ICMP, Packet, TCP, UDP};
use crate::api::types::FlowTuple;
use crate::explain::ends::World;
use crate::explain::report::{RuleDoc, WalkDoc};
use crate::explain::walk;
use crate::failure::Result;
use crate::host::{facts, firewall, netns};

/// How long an answer holds: rules change, and packets are many.
const FRESH: Duration = Duration::from_secs(3);

/// Where, and of which conversation.
type Key = (Option<PathBuf>, u8, FlowTuple);

/// Answers that are still fresh.
#[derive(Default)]
pub struct Rules(HashMap<Key, (Instant, std::result::Result<RuleDoc, String>)>);

impl Rules {
    /// The rule of the namespace `path`, or that of the calling thread, that drops `packet`, or why it is
    /// not known.
    pub fn deciding(
        &mut self,
        path: Option<&Path>,
        packet: &Packet,
    ) -> std::result::Result<RuleDoc, String> {
        let key = (path.map(Path::to_owned), packet.protocol, packet.tuple);
        let now = Instant::now();
        self.0.retain(|_, (since, _)| now.saturating_duration_since(*since) < FRESH);
        let answer = self.0.entry(key).or_insert_with(|| (now, ask(path, packet)));
        answer.1.clone()
    }
}

fn ask(path: Option<&Path>, packet: &Packet) -> std::result::Result<RuleDoc, String> {
    let world = || -> Result<World> { Ok(World::new(firewall::read()?.tables, facts::here(&[])?)) };
    let world = match path {
        None => world(),
        Some(path) => netns::run_in(path, world).and_then(|world| world),
    };
    let world = world.map_err(|failure| failure.to_string())?;
    let tuple = packet.tuple;
    // Who has opened the conversation? If not the sender, then it is the answer that is dropped.
    let sent = walked(&world, packet.protocol, (tuple.src, tuple.dst, tuple.dst_port))?;
    if let Some(rule) = of_parts(&sent, false) {
        return Ok(rule);
    }
    let answered = walked(&world, packet.protocol, (tuple.dst, tuple.src, tuple.src_port))?;
    of_parts(&answered, true).ok_or_else(|| {
        let unknown = sent.parts.iter().flat_map(|part| &part.unknown).next();
        match unknown {
            Some(rule) => {
                format!("that depends on what is not known: {} {}", rule.chain, rule.text)
            }
            None => "no rule of iptables or nftables that is understood would drop it".into(),
        }
    })
}

fn walked(
    world: &World,
    protocol: u8,
    (from, to, port): (IpAddr, IpAddr, u16),
) -> std::result::Result<WalkDoc, String> {
    if !from.is_ipv4() {
        return Err("rules are followed for IPv4 only".into());
    }
    let said = match protocol {
        TCP => format!("tcp/{port}"),
        UDP => format!("udp/{port}"),
        ICMP => "icmp".into(),
        other => other.to_string(),
    };
    let party = |address: IpAddr| walk::party(world, &address.to_string());
    let service = walk::service(&said)?;
    walk::walk(world, &party(from)?, &party(to)?, Some((&said, service)))
}

/// The rule that drops what is sent, or the answer to it.
fn of_parts(walk: &WalkDoc, answer: bool) -> Option<RuleDoc> {
    let dropped = |part: &&crate::explain::report::PartDoc| {
        part.answer == "no" && part.answers_lost == answer
    };
    walk.parts.iter().filter(dropped).find_map(|part| part.rule.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::ends::Facts;
    use crate::explain::parse;

    /// A container with an address of its own, behind which everybody is outside.
    fn container(rules: &str) -> World {
        let facts = Facts {
            addresses: vec![[172, 19, 0, 2].into()],
            outside: Some("eth0".into()),
            ..Facts::default()
        };
        World::new(parse(rules).unwrap(), facts)
    }

    #[test]
    fn a_containers_own_rule_is_named() {
        let world = container(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
             -A INPUT -p tcp --dport 80 -j DROP\nCOMMIT\n",
        );
        let (client, server) = ([172, 19, 0, 1].into(), [172, 19, 0, 2].into());
        let walk = walked(&world, TCP, (client, server, 80)).unwrap();
        let rule = of_parts(&walk, false).unwrap();
        assert_eq!((&*rule.chain, rule.number), ("INPUT", Some(1)));
        assert!(rule.text.contains("--dport 80"), "{rule:?}");
        let other = walked(&world, TCP, (client, server, 443)).unwrap();
        assert_eq!(of_parts(&other, false), None);
        assert!(walked(&world, TCP, ("fd00::1".parse().unwrap(), server, 80)).is_err());
    }
}
