//! One conversation through every rule: who asks whom for what, as it is typed, and what comes of
//! it.

use std::net::Ipv4Addr;

use super::describe;
use super::ends::{End, World};
use super::matrix::{self, Cell};
use super::path::Path;
use super::report::WalkDoc;
use super::space::{Field, ICMP, Packets, Span, TCP, UDP};
use super::words;

/// An end, and maybe one address of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Party {
    /// The end.
    pub end: End,
    /// Its address, where one is meant.
    pub address: Option<Ipv4Addr>,
    /// As it was asked for.
    pub said: String,
}

/// Finds who is meant: a network, a bridge, a container, an address, `outside` or `host`.
///
/// # Errors
///
/// Nobody is called so; says who there is.
pub fn party(world: &World, said: &str) -> Result<Party, String> {
    let found = |end, address| Ok(Party { end, address, said: said.into() });
    let networks = || world.facts.networks.iter().enumerate();
    if let Some((index, _)) = networks().find(|(_, one)| one.name == said || one.bridge == said) {
        return found(End::Network(index), None);
    }
    if said == "host" {
        return found(End::Host, None);
    }
    if said == "outside" || world.facts.outside.as_deref() == Some(said) {
        return found(End::Outside, None);
    }
    if let Ok(address) = said.parse::<Ipv4Addr>() {
        return found(world.route(address.to_bits()), Some(address));
    }
    for (index, network) in networks() {
        if let Some(container) = network.containers.iter().find(|one| one.name == said) {
            return found(End::Network(index), Some(container.address));
        }
    }
    let mut names: Vec<String> = networks().map(|(_, network)| network.to_string()).collect();
    let containers = networks().flat_map(|(_, network)| &network.containers);
    names.extend(containers.map(|container| container.name.clone()));
    names.extend(["outside".into(), "host".into()]);
    names.dedup();
    Err(format!("nobody is called {said}; there are {}", names.join(", ")))
}

/// Reads what is sent: `tcp/80`, `udp`, `icmp` (an echo), or a protocol's number.
///
/// # Errors
///
/// Says what it can be.
pub fn service(said: &str) -> Result<(Span, Span), String> {
    let wrong = || {
        format!("{said:?} is not PROTOCOL/PORT: say tcp/80, udp/53, icmp, or a protocol's number")
    };
    let (name, port) = match said.split_once('/') {
        Some((name, port)) => (name, Some(port)),
        None => (said, None),
    };
    let proto = words::protocol(name).ok_or_else(wrong)?;
    let ports = match port {
        None if proto == ICMP => Span::one(8),
        None => Field::Dport.whole(),
        Some(port) if [TCP, UDP, 33, 132, 136].contains(&proto) => {
            Span::one(port.parse::<u16>().map_err(|_| wrong())?.into())
        }
        Some(_) => return Err(wrong()),
    };
    Ok((Span::one(proto), ports))
}

/// Follows what one party sends to another.
///
/// # Errors
///
/// Nothing can be sent: somebody has no IPv4 address, or both are the host or outside.
pub fn walk(
    world: &World,
    from: &Party,
    to: &Party,
    sent: Option<(&str, (Span, Span))>,
) -> Result<WalkDoc, String> {
    if from.end == to.end && !matches!(from.end, End::Network(_)) {
        return Err(format!("what {} sends to {} meets no bridge", from.said, to.said));
    }
    let chosen = |packets: Packets| {
        let src = from.address.map_or(packets.get(Field::Src), Span::address);
        let dst = to.address.map_or(packets.get(Field::Dst), Span::address);
        let (proto, port) =
            sent.map_or((Field::Proto.whole(), Field::Dport.whole()), |(_, service)| service);
        let packets = packets.with(Field::Src, src).with(Field::Dst, dst);
        packets.with(Field::Proto, proto).with(Field::Dport, port)
    };
    let mut packets: Vec<Packets> = Vec::new();
    for packet in matrix::packets(world, from.end, to.end).into_iter().map(chosen) {
        if !packets.contains(&packet) {
            packets.push(packet);
        }
    }
    let nobody = |party: &Party| format!("{} has no IPv4 address that is known", party.said);
    if packets.is_empty() {
        let empty = if world.members(from.end).is_empty() { from } else { to };
        return Err(nobody(empty));
    }
    let bridge_nf = world.facts.bridge_nf.unwrap_or(true);
    let path = Path::follow(world, from.end, packets.clone(), bridge_nf);
    let fates = matrix::fates(path.outcomes);
    let cell = Cell {
        from: from.end,
        to: to.end,
        answer: matrix::overall(&fates),
        by_bridge_nf: from.end == to.end && world.facts.bridge_nf.is_none(),
        fates,
    };
    let several = cell.fates.len() > 1;
    let parts = cell.fates.iter().enumerate().map(|(index, fate)| {
        let which = match (several, index) {
            (false, _) => Vec::new(),
            (true, 0) => vec!["everything else".into()],
            (true, _) => describe::described(&fate.packets, &packets),
        };
        describe::part(world, fate, which)
    });
    let parts = parts.collect();
    Ok(WalkDoc {
        from: from.said.clone(),
        to: to.said.clone(),
        packets: sent.map_or_else(|| "anything".into(), |(said, _)| said.into()),
        bridgefwd: None,
        answer: describe::answer(cell.answer).into(),
        steps: path.steps.iter().filter_map(|step| describe::step(world, step)).collect(),
        parts,
        notes: describe::notes(world, std::slice::from_ref(&cell)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::ends::{Container, Facts, Network};

    fn world() -> World {
        let container = Container { name: "web".into(), address: Ipv4Addr::new(10, 0, 0, 2) };
        let network = Network {
            name: "shop".into(),
            bridge: "br0".into(),
            subnet: Some((Ipv4Addr::new(10, 0, 0, 0), 24)),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            containers: vec![container],
        };
        let facts =
            Facts { networks: vec![network], outside: Some("eth0".into()), ..Facts::default() };
        World::new(Vec::new(), facts)
    }

    #[test]
    fn parties_by_every_name() {
        let world = world();
        let end = |said: &str| party(&world, said).map(|party| (party.end, party.address));
        let at = Ipv4Addr::new(10, 0, 0, 2);
        assert_eq!(end("shop"), Ok((End::Network(0), None)));
        assert_eq!(end("br0"), Ok((End::Network(0), None)));
        assert_eq!(end("web"), Ok((End::Network(0), Some(at))));
        assert_eq!(end("10.0.0.2"), Ok((End::Network(0), Some(at))));
        assert_eq!(end("10.0.0.1"), Ok((End::Host, Some(Ipv4Addr::new(10, 0, 0, 1)))));
        assert_eq!(end("eth0"), Ok((End::Outside, None)));
        let unknown = "nobody is called x; there are shop (br0), web, outside, host";
        assert_eq!(end("x"), Err(unknown.into()));
    }

    #[test]
    fn services() {
        assert_eq!(service("tcp/80"), Ok((Span::one(6), Span::one(80))));
        assert_eq!(service("icmp"), Ok((Span::one(1), Span::one(8))));
        assert_eq!(service("47"), Ok((Span::one(47), Span::new(0, 65_535))));
        for wrong in ["tcp/", "tcp/70000", "icmp/8", "http", "", "/"] {
            assert!(service(wrong).is_err(), "{wrong}");
        }
    }
}
