//! `bridgefwd trace`: every station of a packet with the addresses that it has there, and where one ends
//! that does not get through, with the word of whoever dropped it.

use bridgefwd_tests::skip;
use bridgefwd_tests::sockets::tcp_listen;
use bridgefwd_tests::topology::{Host, Options};
use bridgefwd_tests::trace_page::{self, OF_DOCKER, lasting};
use bridgefwd_tests::traffic::listen;
use bridgefwd_tests::{needs_programs, needs_root};
use serde_json::{Value, json};

use crate::rig::Rig;

/// What a session says: what it watches, and the packets. Its exit status is checked.
fn trace(rig: &Rig, args: &[&str], status: i32) -> (Value, Vec<Value>) {
    let output = rig.bridgefwd.cli(&[&["trace", "--json"], args].concat());
    assert_eq!((output.status, &*output.stderr), (status, ""), "{args:?}: {}", output.stdout);
    let mut lines = output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let watched = lines.next().expect("what is watched");
    (watched, lines.collect())
}

/// The packet that was sent first, or its answer.
fn first<'a>(packets: &'a [Value], way: &str) -> &'a Value {
    let found = packets.iter().find(|packet| packet["way"] == way);
    found.unwrap_or_else(|| panic!("none {way}: {packets:#?}"))
}

/// Where it was, in order: `eth0 out`, `program`.
fn places(packet: &Value) -> Vec<String> {
    let stations = packet["stations"].as_array().expect("stations");
    let place = |station: &Value| match station["interface"].as_str() {
        Some(name) => format!("{name} {}", station["direction"].as_str().expect("a direction")),
        None => station["kind"].as_str().expect("a kind").to_owned(),
    };
    stations.iter().map(place).collect()
}

/// Source and destination at each interface, without ports.
fn addresses(packet: &Value) -> Vec<(String, String)> {
    let stations = packet["stations"].as_array().expect("stations");
    let text = |value: &Value| value.as_str().expect("an address").to_owned();
    let tuples = stations.iter().map(|station| &station["tuple"]).filter(|it| it.is_object());
    tuples.map(|tuple| (text(&tuple["src"]), text(&tuple["dst"]))).collect()
}

/// The one station of the program.
fn program(packet: &Value) -> &Value {
    let stations = packet["stations"].as_array().expect("stations");
    let found: Vec<_> = stations.iter().filter(|station| station["kind"] == "program").collect();
    let [program] = found[..] else { panic!("the program once: {packet:#}") };
    program
}

/// `A -> B` in three places each, translated between.
fn across(from: &Host, to: &Host, before: [&str; 2], after: [&str; 2]) -> [Vec<Value>; 2] {
    let places = [
        "eth0 out".to_owned(),
        format!("{} in", from.port),
        "program".to_owned(),
        format!("{} out", to.bridge),
        format!("{} out", to.port),
        "eth0 in".to_owned(),
    ];
    let [before, after] = [json!(before), json!(after)];
    let addresses = [&before, &before, &after, &after, &after].map(Clone::clone);
    [places.map(Value::from).into(), addresses.into()]
}

fn is_across(packet: &Value, expected: [Vec<Value>; 2]) {
    let [expected_places, expected_addresses] = expected;
    assert_eq!(Value::from(places(packet)), Value::from(expected_places), "{packet:#}");
    assert_eq!(json!(addresses(packet)), Value::from(expected_addresses), "{packet:#}");
}

#[test]
fn an_allowed_packet_is_seen_everywhere_and_so_is_the_answer() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let gateway = rig.router.bridge("br-b").address.to_string();
    let (client, server) = (a.address.to_string(), b.address.to_string());
    let _door = listen(&b.ns, b.at(80));
    // Twice: at first the neighbours are not known, and the kernel gets a copy to ask by.
    for round in 0..2 {
        let args = [a.ns.name(), b.ns.name(), "--probe", "--port", "80"];
        let (watched, packets) = trace(&rig, &args, 0);
        assert_eq!(watched["from"]["address"], client);
        assert_eq!((&watched["to"]["place"], &watched["notes"]), (&json!("inside"), &json!([])));
        let (syn, answer) = (first(&packets, "there"), first(&packets, "back"));
        assert_eq!((&syn["what"], &answer["what"]), (&json!("SYN"), &json!("SYN,ACK")), "{round}");
        is_across(syn, across(a, b, [&client, &server], [&gateway, &server]));
        is_across(answer, across(b, a, [&server, &gateway], [&server, &client]));
        let (there, back) = (program(syn), program(answer));
        assert_eq!(
            (&there["reason"], &back["reason"]),
            (&json!("flow_created"), &json!("forwarded_reply"))
        );
        let changed = there["changed"].as_array().expect("changes");
        assert!(changed.contains(&json!("TTL 64 -> 63")) && changed.len() == 2, "{there:#}");
        assert_eq!(
            (&syn["end"]["state"], &syn["end"]["at"]),
            (&json!("arrived"), &json!(b.ns.name()))
        );
        let numbers: Vec<_> = packets.iter().map(|it| it["number"].as_u64().unwrap()).collect();
        assert!(
            numbers.iter().zip(1..).all(|(number, expected)| *number == expected),
            "{numbers:?}"
        );
        let next = packets.iter().find(|packet| packet["what"] == "ACK").expect("the third");
        assert_eq!(program(next)["reason"], "forwarded");
    }
    // By addresses, and by a name on one side; ICMP, of which the identifier is translated.
    let (_, packets) = trace(&rig, &[&client, b.ns.name(), "--probe", "--proto", "icmp"], 0);
    is_across(first(&packets, "there"), across(a, b, [&client, &server], [&gateway, &server]));
    is_across(first(&packets, "back"), across(b, a, [&server, &gateway], [&server, &client]));
}

#[test]
fn so_is_one_of_ipv6() {
    needs_root!();
    let rig = Rig::new(Options::default(), &[]);
    rig.ok(&["pair", "allow", "br-a", "br-b", "--nat6", "masquerade"]);
    let (a, b) = (rig.a(), rig.b());
    let gateway = rig.router.bridge("br-b").address6.to_string();
    let (client, server) = (a.address6.to_string(), b.address6.to_string());
    let _door = tcp_listen(&b.ns, b.at6(80).into());
    let there = || across(a, b, [&client, &server], [&gateway, &server]);
    let back = || across(b, a, [&server, &gateway], [&server, &client]);
    // Twice: at first the neighbours are not known. An address chooses the family for the name beside it.
    for from in [&*client, a.ns.name()] {
        let (watched, packets) = trace(&rig, &[from, &server, "--probe", "--port", "80"], 0);
        assert_eq!((&watched["from"]["address"], &watched["notes"]), (&json!(client), &json!([])));
        let (syn, answer) = (first(&packets, "there"), first(&packets, "back"));
        assert_eq!((&syn["what"], &answer["what"]), (&json!("SYN"), &json!("SYN,ACK")));
        is_across(syn, there());
        is_across(answer, back());
        assert_eq!(program(syn)["reason"], "flow_created");
        assert_eq!(program(answer)["reason"], "forwarded_reply");
        let changed = program(syn)["changed"].as_array().expect("changes");
        let source = changed[0].as_str().expect("text");
        assert!(source.starts_with(&format!("source [{client}]:")), "{source}");
        assert!(source.contains(&format!(" -> [{gateway}]:")), "{source}");
        assert_eq!(changed[1..], ["TTL 64 -> 63"]);
        for (packet, at) in [(syn, b), (answer, a)] {
            let end = &packet["end"];
            assert_eq!((&end["state"], &end["at"]), (&json!("arrived"), &json!(at.ns.name())));
        }
    }
    let (_, packets) = trace(&rig, &[&client, &server, "--probe", "--proto", "icmp"], 0);
    let (request, reply) = (first(&packets, "there"), first(&packets, "back"));
    assert_eq!((&request["proto"], &reply["proto"]), (&json!("icmpv6"), &json!("icmpv6")));
    is_across(request, there());
    is_across(reply, back());
    // Long enough to have all of a segment's header told, and shorter than what is told of a longer one.
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    let (_, packets) = trace(&rig, &[&client, &server, "--probe", "--port", "80"], 1);
    let end = &first(&packets, "there")["end"];
    let said = ["state", "by", "reason", "at"].map(|key| end[key].clone());
    assert_eq!(said, ["dropped", "bridgefwd", "pair_denied", &a.port], "{end:#}");
}

#[test]
fn a_refused_packet_ends_at_the_program_with_its_reason() {
    needs_root!();
    let rig = Rig::new(Options::default(), &[]);
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    let (a, b) = (rig.a(), rig.b());
    let (_, packets) = trace(&rig, &[a.ns.name(), b.ns.name(), "--probe", "--port", "80"], 1);
    let [syn] = &packets[..] else { panic!("one packet: {packets:#?}") };
    assert_eq!(places(syn), ["eth0 out", &format!("{} in", a.port), "program"]);
    let end = &syn["end"];
    let said = ["state", "by", "reason", "at"].map(|key| end[key].clone());
    assert_eq!(said, ["dropped", "bridgefwd", "pair_denied", &a.port], "{end:#}");
    let text = rig.bridgefwd.cli(&["trace", a.ns.name(), b.ns.name(), "--probe"]).stdout;
    assert!(text.contains(&format!("dropped by bridgefwd at {}: pair_denied.", a.port)), "{text}");
}

#[test]
fn what_the_kernel_forwards_ends_with_its_firewalls_rule() {
    needs_root!();
    needs_programs!("iptables", "iptables-save");
    // What is not listed is left to the kernel.
    let rig = Rig::new(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let _door = listen(&b.ns, b.at(81));
    let args = |port| [a.ns.name(), b.ns.name(), "--probe", "--proto", "tcp", "--port", port];
    // First it gets through, and it is the kernel that has it.
    let (_, packets) = trace(&rig, &args("81"), 0);
    let syn = first(&packets, "there");
    let places = places(syn);
    let expected =
        ["eth0 out", &format!("{} in", a.port), "program", "br-a in", "kernel", "br-b out"];
    assert_eq!(places[..6], expected, "{syn:#}");
    assert_eq!(program(syn)["verdict"], "pass");
    let rule = ["-A", "FORWARD", "-i", "br-a", "-p", "tcp", "--dport", "80", "-j", "DROP"];
    rig.router.ns.command("iptables", &rule);
    let (watched, packets) = trace(&rig, &args("80"), 1);
    if watched["notes"] != json!([]) {
        return skip::skipped("this kernel says nothing of what it drops");
    }
    let end = &first(&packets, "there")["end"];
    assert_eq!((&end["state"], &end["by"]), (&json!("dropped"), &json!("netfilter")), "{end:#}");
    assert_eq!(end["reason"], "NETFILTER_DROP");
    let rule = &end["rule"];
    assert_eq!((&rule["chain"], &rule["number"]), (&json!("FORWARD"), &json!(1)), "{end:#}");
}

#[test]
fn a_containers_own_firewall_is_named() {
    needs_root!();
    needs_programs!("nft");
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let lines = [
        "add table inet own",
        "add chain inet own arriving { type filter hook input priority 0; }",
        "add rule inet own arriving tcp dport 80 drop",
    ];
    for line in lines {
        b.ns.command("nft", &line.split(' ').collect::<Vec<_>>());
    }
    let (watched, packets) = trace(&rig, &[a.ns.name(), b.ns.name(), "--probe", "--port", "80"], 1);
    if watched["notes"] != json!([]) {
        return skip::skipped("this kernel says nothing of what it drops");
    }
    let syn = first(&packets, "there");
    assert_eq!(places(syn).last().expect("the last"), "eth0 in", "{syn:#}");
    let end = &syn["end"];
    assert_eq!((&end["by"], &end["at"]), (&json!("netfilter"), &json!(b.ns.name())), "{end:#}");
    assert_eq!((&end["rule"]["chain"], &end["rule"]["number"]), (&json!("arriving"), &json!(1)));
    // Nobody listens where nothing is dropped: the kernel says that, too.
    let (_, packets) = trace(&rig, &[a.ns.name(), b.ns.name(), "--probe", "--port", "81"], 1);
    let end = &first(&packets, "there")["end"];
    assert_eq!((&end["by"], &end["reason"]), (&json!("kernel"), &json!("NO_SOCKET")), "{end:#}");
}

#[test]
fn a_file_for_wireshark_has_each_packet_at_each_station() {
    needs_root!();
    needs_programs!("tcpdump");
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    // The neighbours are known then: else there is a copy of the first packet at the bridge.
    trace(&rig, &[a.ns.name(), b.ns.name(), "--probe"], 0);
    let file = rig.bridgefwd.folder().join("trace.pcapng");
    let path = file.to_str().expect("UTF-8");
    let args = [a.ns.name(), b.ns.name(), "--probe", "--proto", "icmp", "--pcap", path];
    let (_, packets) = trace(&rig, &args, 0);
    let read = std::process::Command::new("tcpdump").args(["-nn", "-r", path]).output();
    let read = read.expect("tcpdump");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8_lossy(&read.stdout);
    let frames: Vec<&str> = text.lines().collect();
    let seen: usize = packets.iter().map(|packet| addresses(packet).len()).sum();
    assert_eq!(frames.len(), seen, "{text}");
    let gateway = rig.router.bridge("br-b").address;
    let translated = format!("IP {gateway} > {}: ICMP echo request", b.address);
    assert_eq!(frames.iter().filter(|frame| frame.contains(&translated)).count(), 3, "{text}");
    // Its times are those of today.
    let micros = packets[0]["time"].as_str().expect("a time")[17..26].to_owned();
    assert!(frames[0].contains(&micros), "{micros}: {text}");
}

#[test]
fn without_a_daemon_the_stations_are_seen_and_it_is_said_what_is_not() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let ping = |rig: &Rig| {
        let args = [rig.a().ns.name(), rig.b().ns.name(), "--probe", "--proto", "icmp"];
        trace(rig, &args, 0)
    };
    ping(&rig);
    rig.bridgefwd.kill();
    let (watched, packets) = ping(&rig);
    let notes = watched["notes"].as_array().expect("notes");
    assert!(notes[0].as_str().expect("text").contains("the daemon is not running"), "{notes:?}");
    assert_eq!(first(&packets, "there")["end"]["state"], "arrived");
    let names = [rig.a().ns.name().to_owned(), "10.9.9.9".to_owned()];
    let nobody = rig.bridgefwd.cli(&["trace", "nobody-here", &names[0]]);
    assert_eq!((nobody.status, &*nobody.stdout), (1, ""), "{nobody:?}");
    assert!(nobody.stderr.contains("nobody-here is no process"), "{nobody:?}");
    let nowhere = rig.bridgefwd.cli(&["trace", &names[1], &names[0], "--probe"]);
    assert_eq!(nowhere.status, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains("10.9.9.9 is not plugged in here"), "{nowhere:?}");
    let icmp =
        rig.bridgefwd.cli(&["trace", &names[0], &names[1], "--proto", "icmp", "--port", "1"]);
    assert_eq!(icmp.status, 2, "{icmp:?}");
}

#[test]
fn the_page_shows_what_is_printed() {
    needs_root!();
    needs_programs!("iptables", "iptables-save", "nft");
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let gateway = |bridge| rig.router.bridge(bridge).address.to_string();
    // Longer names first: one may begin with another.
    let mut names = [
        (a.ns.name().to_owned(), "web"),
        (b.ns.name().to_owned(), "db"),
        (a.port.clone(), "veth-web"),
        (b.port.clone(), "veth-db"),
        ("br-a".to_owned(), "shop_front"),
        ("br-b".to_owned(), "shop_db"),
        (a.address.to_string(), "172.18.0.2"),
        (b.address.to_string(), "172.19.0.2"),
        (gateway("br-a"), "172.18.0.1"),
        (gateway("br-b"), "172.19.0.1"),
    ];
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let printed = |args: &[&str]| {
        let args = [&["trace", a.ns.name(), b.ns.name(), "--probe"], args].concat();
        let output = rig.bridgefwd.cli(&args);
        assert_eq!(output.stderr, "", "{args:?}");
        names.iter().fold(output.stdout, |text, (name, shown)| text.replace(name, shown))
    };
    let port = ["--port", "80"];
    // The neighbours are known on the page.
    printed(&[]);
    let allowed = printed(&[]);
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    let denied = printed(&port);
    rig.ok(&["pair", "clear", "br-a", "br-b"]);
    let rule = ["FORWARD", "-i", "br-a", "-p", "tcp", "--dport", "80", "-j", "DROP"];
    rig.router.ns.command("iptables", &[&["-A"], &rule[..]].concat());
    let by_host = printed(&port);
    rig.router.ns.command("iptables", &["-F", "FORWARD"]);
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    b.ns.command("nft", &["add table inet own"]);
    b.ns.command("nft", &["add chain inet own arriving { type filter hook input priority 0; }"]);
    b.ns.command("nft", &["add rule inet own arriving tcp dport 80 drop"]);
    let by_container = printed(&port);
    if allowed.contains("note:") {
        return skip::skipped("this kernel says nothing of what it drops");
    }
    let mut page = trace_page::shown();
    page.retain(|it| it.section != OF_DOCKER && it.command.starts_with("bridgefwd trace "));
    let printed = [allowed, denied, by_host, by_container];
    assert_eq!(page.len(), printed.len());
    for (printed, shown) in printed.iter().zip(&page) {
        assert_eq!(lasting(printed), lasting(&shown.printed), "printed:\n{printed}");
    }
}
