//! What is told as it happens: flows, refusals, changes; and that nobody can have it told without end.

use std::time::Instant;

use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::listener::Listener;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{listen, pair_up, say, udp, udp_exchange};
use bridgefwd_tests::view::at;
use bridgefwd_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::rig::Rig;

/// The table is small, so that what is over is soon freed.
const SHORT: [&str; 8] = [
    "--max-flows",
    "256",
    "--timer",
    "udp_two_way=1",
    "--timer",
    "udp_one_way=1",
    "--timer",
    "closing=1",
];

fn listener(rig: &Rig) -> Listener {
    Listener::start(&rig.router.ns, &rig.bridgefwd, &[])
}

fn is(name: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

/// Is it later, as far as texts of one length can be compared?
fn in_order(times: &[&Value]) -> bool {
    times.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str())
}

#[test]
fn a_flow_is_told_when_it_opens_and_when_it_closes() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &SHORT);
    let (a, b) = (rig.a(), rig.b());
    let server = udp(&b.ns, b.at(53));
    // Nobody listens yet.
    udp_exchange(&udp(&a.ns, a.at(9_999)), &server, "before");
    let mut listener = listener(&rig);
    let seen = udp_exchange(&udp(&a.ns, a.at(10_000)), &server, "hello");
    let opened = listener.wait("a flow", is("opened"));
    let tuple = |src: String, port: u16| json!({ "src": src, "src_port": port, "dst": b.address.to_string(), "dst_port": 53 });
    assert_eq!(opened["original"], tuple(a.address.to_string(), 10_000), "the first that is told");
    assert_eq!(opened["translated"], tuple(seen.ip().to_string(), seen.port()));
    let who = ["from", "to", "port", "proto", "nat"].map(|key| opened[key].clone());
    assert_eq!(who, ["br-a", "br-b", &a.port, "udp", "masquerade"]);
    let closed = listener.wait("its end", |event| {
        event["event"] == "closed" && event["original"]["src_port"] == 10_000
    });
    assert_eq!((&closed["reason"], &closed["state"]), (&json!("idle"), &json!("two_way")));
    assert_eq!(closed["packets"], json!({ "original": 1, "reply": 1 }));
    assert_eq!(closed["bytes"], json!({ "original": 14 + 28 + 5, "reply": 14 + 28 + 5 }));
    assert_eq!(closed["translated"], opened["translated"]);
    let times = [&closed["opened"], &closed["last_packet"], &closed["time"]];
    assert!(in_order(&times), "{closed}");
    assert!(opened["time"].as_str().expect("a time").ends_with('Z'), "{opened}");
}

#[test]
fn connections_say_how_they_ended() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &SHORT);
    let (a, b) = (rig.a(), rig.b());
    let mut listener = listener(&rig);
    let door = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &door);
    say(&mut near, &mut far, "hello");
    drop((near, far));
    let (near, far, _) = pair_up(&a.ns, 10_001, &door);
    // Closed with something unread: a reset.
    std::io::Write::write_all(&mut &far, b"unread").expect("sent");
    drop((near, far));
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    rig.ok(&["pair", "clear", "br-a", "br-b"]);
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    for port in [10_000, 10_001] {
        listener.wait("its end", |event| {
            event["event"] == "closed" && event["original"]["src_port"] == port
        });
    }
    let pairs: Vec<_> = listener.heard.iter().filter(|event| event["event"] == "pair").collect();
    let states: Vec<_> = pairs.iter().map(|pair| pair["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["denied", "cleared", "allowed"]);
    assert_eq!((&pairs[2]["from"], &pairs[2]["nat"]), (&json!("br-a"), &json!("masquerade")));
}

#[test]
fn an_interface_is_told_when_it_comes_and_goes() {
    needs_root!();
    let mut rig = Rig::new(Options::default(), &[]);
    let mut listener = listener(&rig);
    let port = rig.a2().port.clone();
    rig.router.ns.ip(&format!("link set {port} nomaster"));
    let gone = listener.wait("a port that goes", is("interface"));
    assert_eq!(
        (&gone["name"], &gone["kind"], &gone["of"], &gone["state"]),
        (&json!(port), &json!("port"), &json!("br-a"), &json!("gone"))
    );
    let new = rig.router.plug("br-b");
    let port = rig.router.hosts[new].port.clone();
    let came = listener.wait("a port that comes", |event| event["state"] == "managed");
    assert_eq!((&came["name"], &came["of"]), (&json!(port), &json!("br-b")));
}

/// Sends from many addresses that it does not have, and from its own, until `packets` were refused.
fn flood(rig: &Rig, sources: u32, packets: u32) {
    let (a, b) = (rig.a(), rig.b());
    let injector = Injector::new(&a.ns, "eth0");
    let router = rig.router.bridge("br-a").mac;
    let frames: Vec<_> = (0..sources)
        .map(|number| {
            let source = at([10, 1, (number >> 8) as u8, number as u8].into(), 4000);
            Packet::udp(source, b.at(53)).macs(a.mac, router).payload(b"flood").build()
        })
        .collect();
    for frame in frames.iter().cycle().take(packets as usize) {
        injector.send(frame);
    }
}

/// Floods, and hears: few lines, and in them every packet.
fn bounded(args: &[&str], sources: u32, lines_a_second: usize) {
    const PACKETS: u32 = 20_000;
    let rig = Rig::new(Options::default(), &[&["--unlisted", "deny"], args].concat());
    let mut listener = listener(&rig);
    let before = rig.counted("unlisted_denied");
    let begin = Instant::now();
    flood(&rig, sources, PACKETS);
    let refused = rig.counted("unlisted_denied") - before;
    assert!(refused > u64::from(PACKETS) / 2, "{refused} of {PACKETS} got there and were refused");
    let told = |heard: &[Value]| -> u64 {
        let number = |event: &Value| match event["event"].as_str() {
            Some("refused") if event["reason"] == "unlisted_denied" => event["packets"].as_u64(),
            Some("untold") => event["refused_packets"].as_u64(),
            _ => None,
        };
        heard.iter().filter_map(number).sum()
    };
    listener.hear(PATIENCE, |heard| told(heard) < refused);
    let seconds = begin.elapsed().as_secs() as usize + 2;
    assert_eq!(told(&listener.heard), refused, "{:#?}", listener.heard.last());
    let lines = listener.heard.iter().filter(|event| event["event"] == "refused").count();
    assert!(lines >= 1 && lines <= lines_a_second * seconds, "{lines} lines in {seconds} s");
    let first = listener.heard.iter().find(|event| event["event"] == "refused").unwrap();
    assert_eq!((&first["from"], &first["proto"]), (&json!("br-a"), &json!("udp")));
    assert_eq!(first["example"]["dst"], rig.b().address.to_string());
}

#[test]
fn a_flood_of_one_source_is_a_line_a_second_whatever_addresses_it_claims() {
    needs_root!();
    bounded(&[], 1000, 1);
}

#[test]
fn a_flood_of_many_sources_is_a_hundred_lines_a_second_and_a_number() {
    needs_root!();
    bounded(&["--ports", "no"], 1000, 100);
}

#[test]
fn whoever_listens_hears_the_daemon_go() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let listening = listener(&rig);
    rig.ok(&["down"]);
    assert_eq!(rig.bridgefwd.wait_end(), 0);
    let (status, heard) = listening.ended();
    assert_eq!(status, 3, "no daemon any more");
    assert_eq!(heard.last().expect("something")["event"], "stopped", "{heard:#?}");
    let alone = rig.bridgefwd.cli(&["events"]);
    assert_eq!(alone.status, 3, "{alone:?}");
    assert!(alone.stdout.is_empty());
    // The next daemon tells as the one before did.
    rig.bridgefwd.start(&crate::rig::BRIDGES);
    let output = rig.bridgefwd.command_line("events").arg("--count").arg("1").spawn();
    let mut one = output.expect("started");
    let ended = bridgefwd_tests::wait::poll(PATIENCE, || {
        let _ = rig.bridgefwd.cli(&["pair", "allow", "br-a", "br-b"]);
        let _ = rig.bridgefwd.cli(&["pair", "deny", "br-a", "br-b"]);
        one.try_wait().expect("status")
    });
    assert_eq!(ended.expect("ended").code(), Some(0));
}
