//! Names, good and bad: what each leads to, or why it does not.

use std::net::IpAddr;

use super::*;
use crate::host::addresses::Address;
use crate::host::docker::Endpoint;

fn network(name: &str, id: &str, driver: &str) -> Network {
    Network {
        id: id.repeat(64 / id.len()),
        name: name.into(),
        driver: driver.into(),
        bridge: format!("br-{}", id.repeat(12 / id.len())),
        gateways: vec![IpAddr::from([172, 18, 0, id.as_bytes()[0]])],
        ..Network::default()
    }
}

fn bridge(ifindex: u32, name: &str, last: u8) -> Link {
    let address =
        Address { address: IpAddr::from([172, 18, 0, last]), prefix_len: 24, deprecated: false };
    Link {
        ifindex,
        name: name.into(),
        is_bridge: true,
        addresses: vec![address],
        ..Link::default()
    }
}

fn names(links: Vec<Link>, networks: &[Network]) -> Names {
    Names::new(&Snapshot::of(links), networks)
}

fn shop() -> Names {
    let internal = Network { internal: true, ..network("vault", "c0de", "bridge") };
    let lan = Network { parent: Some("eth0".into()), ..network("lan", "d1d1", "macvlan") };
    let default = Network { bridge: "docker0".into(), ..network("bridge", "e1e1", "bridge") };
    names(
        vec![
            bridge(3, "br-a1a1a1a1a1a1", 1),
            bridge(4, "br-b2b2b2b2b2b2", 2),
            bridge(5, "br-c0dec0dec0de", 3),
            bridge(6, "docker0", 4),
            bridge(7, "virbr0", 5),
            Link { addresses: Vec::new(), ..bridge(8, "bare", 6) },
        ],
        &[
            default,
            network("shop_db", "b2b2", "bridge"),
            network("shop_front", "a1a1", "bridge"),
            internal,
            lan,
            network("mesh", "f1f1", "overlay"),
            network("host", "f2f2", "host"),
            network("none", "f3f3", "null"),
            network("gone", "f4f4", "bridge"),
            network("odd", "f5f5", "weave"),
        ],
    )
}

#[track_caller]
fn leads(names: &Names, name: &str, end: &str, ifindex: u32) {
    let place = names.resolve(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((place.end_name(), place.bridge.as_ref().map(|at| at.0)), (end, Some(ifindex)));
}

#[track_caller]
fn refused(names: &Names, name: &str, parts: &[&str]) {
    let Err(Failure::Usage(why)) = names.resolve(name) else { panic!("{name} is not refused") };
    assert!(parts.iter().all(|part| why.contains(part)), "{why}");
}

#[test]
fn a_network_is_found_by_name_id_and_bridge() {
    let names = shop();
    for name in ["shop_front", "a1a1", "a1a1a1a1a1a1", &"a1a1".repeat(16), "br-a1a1a1a1a1a1"] {
        leads(&names, name, "shop_front", 3);
    }
    leads(&names, "bridge", "bridge", 6);
    leads(&names, "docker0", "bridge", 6);
    leads(&names, "virbr0", "virbr0", 7);
    leads(&names, "bare", "bare", 8);
    assert_eq!(names.of_interface(4).map(Place::end_name), Some("shop_db"));
}

#[test]
fn what_cannot_be_an_end_is_named() {
    let names = shop();
    refused(&names, "host", &["network host", "interfaces of the host", "docker network create"]);
    refused(&names, "none", &["network none", "no network at all", "docker network connect"]);
    refused(&names, "lan", &["network lan", "macvlan", "eth0"]);
    refused(&names, "mesh", &["network mesh", "overlay"]);
    refused(&names, "vault", &["network vault", "internal"]);
    refused(&names, "gone", &["network gone", "br-f4f4f4f4f4f4", "namespace"]);
    refused(&names, "odd", &["network odd", "weave"]);
    let all = "there are: bridge, shop_db, shop_front, virbr0";
    refused(&names, "shop_fron", &["no bridge or network shop_fron", all]);
    // Too short, and not an id.
    refused(&names, "a1a", &["no bridge or network a1a"]);
    refused(&names, "", &["no bridge or network"]);
    refused(&Names::default(), "x", &["none that could be"]);
}

#[test]
fn the_bridge_of_an_internal_network_is_a_bridge_all_the_same() {
    leads(&shop(), "br-c0dec0dec0de", "br-c0dec0dec0de", 5);
}

#[test]
fn all_ends_are_dockers_where_there_is_docker() {
    let of = |names: &Names| names.all_ends().map(|end| end.name.clone()).collect::<Vec<_>>();
    assert_eq!(of(&shop()), ["bridge", "shop_db", "shop_front"]);
    let plain = vec![bridge(1, "b", 1), bridge(2, "a", 2)];
    assert_eq!(of(&names(plain, &[])), ["a", "b"]);
}

#[test]
fn ambiguous_names_need_an_id() {
    let names = names(
        vec![bridge(1, "br-a1a1a1a1a1a1", 1), bridge(2, "br-a1b2a1b2a1b2", 2)],
        &[network("twin", "a1a1", "bridge"), network("twin", "a1b2", "bridge")],
    );
    refused(&names, "twin", &["twin", "2 networks", "a1a1a1a1a1a1 or a1b2a1b2a1b2"]);
    leads(&names, "a1b2", "a1b2a1b2a1b2", 2);
    leads(&names, "br-a1a1a1a1a1a1", "a1a1a1a1a1a1", 1);
    let both = network("abba", "abba", "bridge");
    let names = names_with(&[both, network("x", "abbb", "bridge")]);
    // A name goes before an id.
    leads(&names, "abba", "abba", 1);
}

fn names_with(networks: &[Network]) -> Names {
    let links = (1..).zip(networks).map(|(index, network)| bridge(index, &network.bridge, 9));
    names(links.collect(), networks)
}

#[test]
fn a_plain_bridge_goes_before_a_network_of_its_name() {
    let names = names(
        vec![bridge(1, "shop", 1), bridge(2, "br-a1a1a1a1a1a1", 2)],
        &[network("shop", "a1a1", "bridge")],
    );
    leads(&names, "shop", "shop", 1);
    leads(&names, "a1a1", "a1a1a1a1a1a1", 2);
}

#[test]
fn a_renamed_bridge_is_known_by_its_gateway() {
    let shop = network("shop", "a1a1", "bridge");
    let gateway = b'a';
    leads(
        &names(vec![bridge(1, "renamed", gateway)], std::slice::from_ref(&shop)),
        "shop",
        "shop",
        1,
    );
    let two = vec![bridge(1, "one", gateway), bridge(2, "two", gateway)];
    refused(&names(two, &[shop]), "shop", &["at the moment"]);
}

#[test]
fn containers_that_are_gone_or_started_anew_have_left() {
    let endpoint = |id: &str, last| Endpoint {
        container: "web".into(),
        id: id.into(),
        addresses: vec![IpAddr::from([172, 18, 0, last])],
    };
    let with = |endpoints: &[Endpoint]| {
        names_with(&[Network {
            endpoints: endpoints.to_vec(),
            ..network("shop", "a1a1", "bridge")
        }])
    };
    let left = |before: &[Endpoint], now: &[Endpoint]| {
        with(now).left(&with(before)).into_iter().collect::<Vec<_>>()
    };
    let (one, two) = (endpoint("e1", 2), endpoint("e2", 3));
    let both = [one.clone(), two.clone()];
    assert_eq!(left(&both, &both), []);
    assert_eq!(left(&[], &both), []);
    assert_eq!(left(&both, std::slice::from_ref(&two)), [(1, IpAddr::from([172, 18, 0, 2]))]);
    assert_eq!(left(&both, &[endpoint("e9", 2), two]), [(1, IpAddr::from([172, 18, 0, 2]))]);
}

#[test]
fn a_thing_keeps_its_rules_when_its_name_changes() {
    let plain = || vec![bridge(1, "br-a1a1a1a1a1a1", 1), bridge(2, "br-b2b2b2b2b2b2", 2)];
    let without = names(plain(), &[]);
    let one = [network("shop", "a1a1", "bridge")];
    let with = names(plain(), &one);
    assert_eq!(with.renamed(&without, "br-a1a1a1a1a1a1"), Some("shop"));
    assert_eq!(without.renamed(&with, "shop"), Some("br-a1a1a1a1a1a1"));
    let twins = [one[0].clone(), network("shop", "b2b2", "bridge")];
    let twins = names(plain(), &twins);
    assert_eq!(twins.renamed(&with, "shop"), Some("a1a1a1a1a1a1"));
    assert_eq!(with.renamed(&twins, "a1a1a1a1a1a1"), Some("shop"));
    assert_eq!(with.renamed(&with, "shop"), None);
    // Another network of the same name is not the same thing, but has its name.
    let again = names(vec![bridge(3, "br-c3c3c3c3c3c3", 1)], &[network("shop", "c3c3", "bridge")]);
    assert_eq!(again.renamed(&with, "shop"), None);
}
