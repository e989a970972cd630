//! Rules of others: what Docker writes for its networks, and the same job in nftables.

use std::fmt::Write as _;

/// A network of Docker's, as its rules name it.
#[derive(Clone, Debug)]
struct Network {
    bridge: String,
    subnet: String,
    containers: Vec<String>,
}

/// Containers that each of the other networks has.
const CONTAINERS: u32 = 2;

/// Rules as Docker Engine 28 makes them, in the form that iptables-restore takes: for `others`
/// networks that have nothing to do with it, and then for `br-a` and `br-b`. The user's own rule lets
/// `br-a` open connections to `br-b`.
///
/// Of `br-b` the raw rules are left out, by which Docker keeps everybody else from its containers: with
/// them there would be nothing to measure.
pub fn docker(others: u32) -> String {
    let network = |bridge: &str, subnet: String, containers: Vec<String>| Network {
        bridge: bridge.into(),
        subnet,
        containers,
    };
    let mut networks: Vec<Network> = (0..others)
        .map(|number| {
            let (high, low) = (number / 256, number % 256);
            let containers =
                (2..2 + CONTAINERS).map(|last| format!("172.{}.{low}.{last}", 20 + high));
            network(
                &format!("br-{number:012x}"),
                format!("172.{}.{low}.0/24", 20 + high),
                containers.collect(),
            )
        })
        .collect();
    networks.push(network("br-a", "10.1.0.0/24".into(), Vec::new()));
    networks.push(network("br-b", "10.2.0.0/24".into(), Vec::new()));

    let mut text = String::from("*raw\n");
    for network in &networks {
        for container in &network.containers {
            line(
                &mut text,
                format_args!("-A PREROUTING -d {container}/32 ! -i {} -j DROP", network.bridge),
            );
        }
    }
    text += "COMMIT\n*filter\n:FORWARD DROP\n";
    for chain in [
        "DOCKER",
        "DOCKER-BRIDGE",
        "DOCKER-CT",
        "DOCKER-FORWARD",
        "DOCKER-ISOLATION-STAGE-1",
        "DOCKER-ISOLATION-STAGE-2",
        "DOCKER-USER",
    ] {
        line(&mut text, format_args!(":{chain} -"));
    }
    text += "-A FORWARD -j DOCKER-USER\n\
             -A FORWARD -j DOCKER-FORWARD\n\
             -A DOCKER-USER -i br-a -o br-b -j ACCEPT\n\
             -A DOCKER-FORWARD -j DOCKER-CT\n\
             -A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1\n\
             -A DOCKER-FORWARD -j DOCKER-BRIDGE\n";
    for network in &networks {
        let bridge = &network.bridge;
        for container in &network.containers {
            line(
                &mut text,
                format_args!(
                    "-A DOCKER -d {container}/32 ! -i {bridge} -o {bridge} -p tcp -m tcp --dport 80 -j ACCEPT"
                ),
            );
        }
        for rule in [
            format_args!("-A DOCKER ! -i {bridge} -o {bridge} -j DROP"),
            format_args!("-A DOCKER-BRIDGE -o {bridge} -j DOCKER"),
            format_args!(
                "-A DOCKER-CT -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            ),
            format_args!("-A DOCKER-FORWARD -i {bridge} -j ACCEPT"),
            format_args!(
                "-A DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2"
            ),
            format_args!("-A DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP"),
        ] {
            line(&mut text, rule);
        }
    }
    text += "COMMIT\n*nat\n:DOCKER -\n\
             -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
             -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n";
    for Network { bridge, subnet, .. } in &networks {
        line(&mut text, format_args!("-A POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"));
    }
    for (number, network) in (0_u32..).zip(&networks) {
        for container in &network.containers {
            let (bridge, port) = (&network.bridge, 20_000 + number);
            line(
                &mut text,
                format_args!(
                    "-A DOCKER ! -i {bridge} -p tcp -m tcp --dport {port} -j DNAT --to-destination {container}:80"
                ),
            );
        }
    }
    text + "COMMIT\n"
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

/// The same job in nftables; with a flowtable, which established connections take past the rules.
pub fn nftables(flowtable: bool) -> String {
    let (table, add) = if flowtable {
        (
            "  flowtable fast { hook ingress priority 0; devices = { br-a, br-b }; }\n",
            "    ip protocol { tcp, udp } flow add @fast\n",
        )
    } else {
        ("", "")
    };
    format!(
        "table ip bench {{\n\
         {table}  chain forward {{\n    \
         type filter hook forward priority 0; policy drop;\n\
         {add}    ct state established,related accept\n    \
         iifname \"br-a\" oifname \"br-b\" accept\n  \
         }}\n  \
         chain leaving {{\n    \
         type nat hook postrouting priority 100;\n    \
         ip saddr 10.1.0.0/24 oifname \"br-b\" masquerade\n  \
         }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_all_its_rules_and_others_come_first() {
        let (none, many) = (docker(0), docker(100));
        let count = |text: &str| text.lines().filter(|line| line.starts_with("-A ")).count();
        // Two raw rules, two for published ports, six of the network, one to masquerade, two to map.
        assert_eq!(count(&many) - count(&none), 100 * (2 + 2 + 6 + 1 + 2));
        assert_eq!(many.matches("COMMIT\n").count(), 3);
        let place = |what: &str| many.find(what).unwrap();
        assert!(place("DOCKER-CT -o br-000000000063") < place("DOCKER-CT -o br-b"));
        // Nothing forbids what is measured.
        assert!(!none.contains("*raw\n-A"));
        assert!(many.lines().all(|line| line.len() < 120));
    }

    #[test]
    fn a_flowtable_is_there_where_it_is_asked_for() {
        assert!(!nftables(false).contains("flow"));
        let with = nftables(true);
        assert!(with.contains("flowtable fast") && with.contains("flow add @fast"), "{with}");
        assert_eq!(with.matches('{').count(), with.matches('}').count());
    }
}
