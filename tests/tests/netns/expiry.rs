//! Timers that run out while nobody is at home: the daemon was killed.

use std::time::Duration;

use bridgefwd_tests::needs_root;
use bridgefwd_tests::site::{By, Plan, Site};
use bridgefwd_tests::sockets::{tcp_listen, tcp_pair, udp_ask, udp_bind, uninterrupted};
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::{PATIENCE, poll, until};

/// Flows of a protocol that are alive, read from what is pinned.
fn live(site: &Site, protocol: &str) -> usize {
    let output =
        site.bridgefwd().expect("bridgefwd").cli(&["flows", "--proto", protocol, "--json"]);
    assert_eq!(output.status, 0, "{output:?}");
    let flows: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    flows.as_array().expect("a list").len()
}

#[test]
fn flows_are_over_and_make_room_without_a_daemon() {
    needs_root!();
    // Room for sixteen flows.
    let timers = ["--timer", "udp_two_way=1", "--timer", "udp_one_way=1"];
    let args = [&["--max-flows", "16", "--flows-per-source", "16"], &timers[..]].concat();
    let mut site = Site::planned(By::Bridgefwd, Plan { args: &args, ..Plan::default() });
    site.bridgefwd_mut().expect("bridgefwd").kill();
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let listener = tcp_listen(&b.ns, b.at(80).into());
    let (mut near, mut far, _) = tcp_pair(&a.ns, Some(a.at(9_000).into()), &listener);
    for round in 0..2 {
        let clients = std::array::from_fn::<_, 10, _>(|more| {
            udp_bind(&a.ns, a.at(10_000 + round * 10 + more as u16).into())
        });
        let seen: Vec<_> = clients
            .iter()
            .map(|it| {
                // The flows of the round before are over by the clock, and freed by those that come.
                udp_ask(it, &server, b"one of ten")
            })
            .collect();
        until("the flows are over", || live(&site, "udp") == 0);
        // What the server sends to them now is for nobody.
        let [first, ..] = &clients;
        server.send_to(b"too late", seen[0]).expect("sent");
        say(&mut near, &mut far, "later than that");
        first.set_nonblocking(true).expect("non-blocking");
        assert!(uninterrupted(|| first.recv_from(&mut [0; 16])).is_err(), "it was still forwarded");
    }
    // The connection has another timer.
    say(&mut far, &mut near, "still here");
    assert_eq!(live(&site, "tcp"), 1);
}

#[test]
fn a_flow_lives_by_its_packets_without_a_daemon() {
    needs_root!();
    let args = ["--timer", "udp_two_way=3"];
    let mut site = Site::planned(By::Bridgefwd, Plan { args: &args, ..Plan::default() });
    site.bridgefwd_mut().expect("bridgefwd").kill();
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let client = udp_bind(&a.ns, a.at(10_000).into());
    let seen = udp_ask(&client, &server, b"begin");
    // Longer than the timer, but never without a packet for that long.
    let begin = std::time::Instant::now();
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let ended = poll(PATIENCE, || {
        // Waiting for nothing is what takes the time.
        assert!(uninterrupted(|| client.recv_from(&mut [0; 16])).is_err());
        server.send_to(b"beat", seen).expect("sent");
        let heard = uninterrupted(|| client.recv_from(&mut [0; 16])).expect("the flow is alive");
        assert_eq!(heard.0, 4);
        (begin.elapsed() > Duration::from_secs(4)).then_some(())
    });
    assert!(ended.is_some());
    assert_eq!(live(&site, "udp"), 1);
}
