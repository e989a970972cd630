//! The Docker engine: is there one, does it answer, and do its rules stand beside us as it means them?

use super::report::Finding;
use super::surroundings::{Docker, Surroundings};
use crate::explain::docker::{Generation, are_asked, generations};
use crate::host::docker::{About, Unreachable};
use crate::host::{firewall, sysctl};

const ENGINE: &str = "docker";
const RULES: &str = "docker_rules";

/// What of us stands where Docker's rules might be in the way.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    /// Do bridges ask netfilter? `None` where that cannot be read.
    bridge_nf: Option<bool>,
    /// Ports of managed bridges that are not attached.
    unattached: u64,
    /// Is what is in no pair dropped?
    unlisted_denied: bool,
}

/// Which engine is there, and, of one that answers, what its rules are.
pub fn engine(here: &Surroundings) -> Vec<Finding> {
    let Some(docker) = &here.docker else {
        return vec![Finding::ok(ENGINE, "none is asked (docker = \"no\")")];
    };
    let mut findings = vec![judge_engine(docker)];
    if let Ok(told) = &docker.told {
        let status = here.status();
        let beside = Beside {
            bridge_nf: sysctl::bridge_nf(),
            unattached: status.map_or(0, |status| status.ports_not_attached),
            unlisted_denied: status.is_some_and(|status| status.unlisted == "deny"),
        };
        findings.push(match firewall::read() {
            Ok(rules) if rules.notes.is_empty() => judge_rules(
                &told.about,
                &generations(&rules.tables),
                are_asked(&rules.tables),
                beside,
            ),
            Ok(rules) => Finding::unchecked(RULES, rules.notes.join("; ")),
            Err(failure) => Finding::unchecked(RULES, failure.to_string()),
        });
    }
    findings
}

fn judge_engine(docker: &Docker) -> Finding {
    let socket = docker.socket.display();
    let why = match &docker.told {
        Ok(told) => {
            let (about, count) = (told.about.text(), told.networks.len());
            return Finding::ok(ENGINE, format!("{about}, on {socket}: {count} networks"));
        }
        Err(why) => why,
    };
    match why {
        Unreachable::NoSocket if !docker.named => {
            Finding::ok(ENGINE, format!("none on {socket}: ends go by the names of their bridges"))
        }
        Unreachable::Elsewhere(_) if !docker.named => Finding::ok(
            ENGINE,
            format!("the one on {socket} is of another network namespace, none of this one's"),
        ),
        Unreachable::NoPermission => Finding::unchecked(ENGINE, format!("{socket}: {why}")),
        _ => Finding::attention(
            ENGINE,
            format!(
                "the engine on {socket} does not answer: {why}; networks that come and go meanwhile \
                 are known by the names of their bridges at most"
            ),
            "systemctl start docker, or name another one, or none (docker = \"SOCKET\" or \"no\")",
        ),
    }
}

fn judge_rules(about: &About, found: &[Generation], asked: bool, beside: Beside) -> Finding {
    let Some(major) = about.docker_major() else {
        let product = &about.product;
        return Finding::ok(RULES, format!("{product} {} has rules of its own", about.version));
    };
    let fits = |generation: &&Generation| generation.fits(major, about.by_nftables());
    let (own, others): (Vec<&Generation>, Vec<_>) = found.iter().partition(fits);
    let words = |found: &[&Generation]| {
        found.iter().map(|generation| generation.text()).collect::<Vec<_>>().join("; ")
    };
    let drops = own.iter().find(|generation| generation.drops_on_ports());
    match (&own[..], &others[..], drops) {
        _ if !asked && beside.unlisted_denied => {
            Finding::ok(RULES, "it keeps nothing apart; what is in no pair is dropped by bridgefwd")
        }
        _ if !asked => Finding::attention(
            RULES,
            "no packet is shown to rules of Docker's (it runs with iptables = false, or somebody \
             flushed them): between networks that no pair lists the kernel forwards what it likes",
            "systemctl restart docker, or have what is not listed dropped (unlisted = \"deny\")",
        ),
        (_, [], Some(generation)) if beside.unattached > 0 && beside.bridge_nf != Some(false) => {
            Finding::broken(
                RULES,
                format!(
                    "{}, and by br_netfilter does so on {} ports that are not attached: what pairs \
                     allow does not get as far as bridgefwd",
                    generation.text(),
                    beside.unattached
                ),
                "run with --ports yes (ports = true)",
            )
        }
        (own, [], _) if !own.is_empty() => {
            Finding::ok(RULES, format!("{}; what pairs allow does not meet them", words(own)))
        }
        (_, others, _) => Finding::attention(
            RULES,
            format!(
                "{} {} makes other ones than these: {}; what the kernel forwards for us, and what is \
                 in no pair, meets whatever an earlier engine or another firewall backend has left",
                about.product,
                about.version,
                words(others)
            ),
            "stop Docker, remove the rules that are left (iptables-save, nft list ruleset), start it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::doctor::Level;
    use crate::doctor::surroundings::Told;

    fn docker(version: &str, firewall: Option<&str>) -> About {
        About {
            product: "Docker".into(),
            version: version.into(),
            firewall: firewall.map(Into::into),
        }
    }

    #[test]
    fn an_engine_that_is_not_there_matters_where_it_is_named() {
        let finding =
            |named, told| judge_engine(&Docker { socket: "/run/docker.sock".into(), named, told });
        let told = Told { about: docker("28.5.2", Some("iptables")), networks: vec![] };
        let ok = finding(true, Ok(told));
        assert_eq!(ok.level, Level::Ok);
        assert_eq!(ok.text, "Docker 28.5.2, by iptables, on /run/docker.sock: 0 networks");
        for (why, unnamed, named) in [
            (Unreachable::NoSocket, Level::Ok, Level::Attention),
            (Unreachable::Elsewhere(7), Level::Ok, Level::Attention),
            (Unreachable::NoPermission, Level::Unchecked, Level::Unchecked),
            (
                io::Error::from(io::ErrorKind::ConnectionRefused).into(),
                Level::Attention,
                Level::Attention,
            ),
        ] {
            assert_eq!(finding(false, Err(why.clone())).level, unnamed, "{why}");
            assert_eq!(finding(true, Err(why.clone())).level, named, "{why}");
        }
    }

    #[test]
    fn each_release_and_its_rules() {
        let iptables = Some("iptables");
        for (about, generation) in [
            (docker("20.10.24+dfsg1", None), Generation::UpTo27),
            (docker("27.5.1", None), Generation::UpTo27),
            (docker("28.0.0", iptables), Generation::V28_0_0),
            (docker("28.5.2", iptables), Generation::V28_2),
            (docker("29.1.0", iptables), Generation::V29),
            (docker("29.1.0", Some("nftables")), Generation::V29Nftables),
        ] {
            let ok = judge_rules(&about, &[generation], true, Beside::default());
            assert_eq!(ok.level, Level::Ok, "{ok:?}");
            assert!(ok.text.starts_with(generation.text()), "{ok:?}");
            // What was left by another is told, whether its own are there or not.
            let other = if generation == Generation::UpTo27 {
                Generation::V28_2
            } else {
                Generation::UpTo27
            };
            for found in [&[generation, other][..], &[other]] {
                let left = judge_rules(&about, found, true, Beside::default());
                assert_eq!(left.level, Level::Attention, "{left:?}");
                assert!(left.text.contains(other.text()), "{left:?}");
                assert!(!left.text.contains(generation.text()), "{left:?}");
            }
        }
    }

    #[test]
    fn rules_that_nobody_asks_keep_nothing_apart() {
        let judge = |unlisted_denied| {
            let beside = Beside { unlisted_denied, ..Beside::default() };
            judge_rules(&docker("27.5.1", None), &[Generation::UpTo27], false, beside).level
        };
        assert_eq!((judge(false), judge(true)), (Level::Attention, Level::Ok));
    }

    #[test]
    fn drops_on_ports_that_we_are_not_at() {
        let judge = |version, generation, bridge_nf, unattached| {
            let beside = Beside { bridge_nf, unattached, unlisted_denied: false };
            judge_rules(&docker(version, Some("iptables")), &[generation], true, beside).level
        };
        assert_eq!(judge("28.5.2", Generation::V28_2, Some(true), 2), Level::Broken);
        assert_eq!(judge("29.0.0", Generation::V29, None, 2), Level::Broken);
        assert_eq!(judge("28.5.2", Generation::V28_2, Some(true), 0), Level::Ok);
        assert_eq!(judge("28.5.2", Generation::V28_2, Some(false), 2), Level::Ok);
        assert_eq!(judge("27.5.1", Generation::UpTo27, Some(true), 2), Level::Ok);
    }

    #[test]
    fn another_engine_has_rules_of_its_own() {
        let podman = About { product: "Podman".into(), version: "4.3.1".into(), firewall: None };
        assert_eq!(judge_rules(&podman, &[], false, Beside::default()).level, Level::Ok);
    }
}
