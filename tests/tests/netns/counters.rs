//! Counters against what really went over the wire.

use bridgefwd_tests::capture::{Capture, Frame};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::traffic::{listen, pair_up, ping, transfer, udp, udp_exchange};
use bridgefwd_tests::view::View;
use bridgefwd_tests::wait::{PATIENCE, until};
use serde_json::Value;

use crate::rig::{Rig, with_and_without_offloads};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Packets and bytes in both directions, as `flows --json` has them.
fn of_flow(flow: &Value) -> [u64; 4] {
    [
        number(&flow["packets"]["original"]),
        number(&flow["packets"]["reply"]),
        number(&flow["bytes"]["original"]),
        number(&flow["bytes"]["reply"]),
    ]
}

/// The same, as a capture at `near` and one at `far` have them: each end's own frames, as they
/// were sent.
fn of_captures(near: &Capture, far: &Capture, protocol: u8) -> [u64; 4] {
    let sent = |frame: &Frame, view: &View| frame.outgoing && view.protocol == protocol;
    let (there, back) = (near.picked(sent), far.picked(sent));
    let bytes =
        |frames: &[(Frame, View)]| frames.iter().map(|(frame, _)| frame.bytes.len() as u64).sum();
    [there.len() as u64, back.len() as u64, bytes(&there), bytes(&back)]
}

#[test]
fn flows_count_what_was_captured() {
    needs_root!();
    for options in with_and_without_offloads() {
        let rig = Rig::allowed(options, &[]);
        let (a, b) = (rig.a(), rig.b());
        let (near, far) = (Capture::start(&a.ns, "eth0"), Capture::start(&b.ns, "eth0"));
        let listener = listen(&b.ns, b.at(80));
        let (client, server, _) = pair_up(&a.ns, 10_000, &listener);
        transfer(client, server, 300_000);
        let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
        for length in [1, 10, 1000] {
            udp_exchange(&client, &server, &"y".repeat(length));
        }
        assert_eq!(ping(&a.ns, b.address, 77, 4, PATIENCE), 4);
        for (proto, protocol) in [("tcp", 6), ("udp", 17), ("icmp", 1)] {
            let counts = || (of_flow(&rig.flow(proto)), of_captures(&near, &far, protocol));
            // The last acknowledgements of TCP may still be on their way.
            until("the counters are those of the capture", || {
                let (ours, captured) = counts();
                ours == captured
            });
            let (ours, captured) = counts();
            assert_eq!(ours, captured, "{proto}: packets and bytes, there and back");
        }
    }
}

#[test]
fn flows_and_pairs_and_reasons_agree() {
    needs_root!();
    let rig = Rig::allowed(with_and_without_offloads()[0], &[]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (client, server, _) = pair_up(&a.ns, 10_000, &listener);
    transfer(client, server, 100_000);
    assert_eq!(ping(&a.ns, b.address, 77, 2, PATIENCE), 2);
    until("no packet is on its way any more", || {
        let stats = rig.bridgefwd.json(&["stats"]);
        let flows = rig.bridgefwd.json(&["flows"]);
        let reasons = stats["reasons"].as_object().expect("reasons");
        let sum = |what: &str, names: &dyn Fn(&str, &Value) -> bool| -> u64 {
            let picked = reasons.iter().filter(|(name, reason)| names(name, reason));
            picked.map(|(_, reason)| number(&reason[what])).sum()
        };
        let everything = |_: &str, _: &Value| true;
        let redirected = |_: &str, reason: &Value| reason["verdict"] == "redirect";
        let of_flows = |what: &str| -> u64 {
            let flows = flows.as_array().expect("flows").iter();
            flows.map(|flow| number(&flow[what]["original"]) + number(&flow[what]["reply"])).sum()
        };
        let pair = &stats["pairs"][0];
        assert_eq!((&pair["from"], &pair["to"]), (&"br-a".into(), &"br-b".into()));
        assert_eq!((number(&pair["flows"]), number(&stats["flows"]["live"])), (2, 2));
        ["packets", "bytes"].iter().all(|what| {
            number(&stats[what]) == sum(what, &everything)
                && sum(what, &redirected) == of_flows(what)
                && number(&pair[what]) == of_flows(what)
        })
    });
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn refused_packets_count_against_their_pair() {
    needs_root!();
    let rig = Rig::new(with_and_without_offloads()[0], &[]);
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    let client = udp(&rig.a().ns, rig.a().at(10_000));
    for _ in 0..3 {
        client.send_to(b"anybody?", rig.b().at(53)).expect("sent");
    }
    until("they are counted", || rig.counted("pair_denied") == 3);
    let stats = rig.bridgefwd.json(&["stats"]);
    assert_eq!(number(&stats["pairs"][0]["refused"]), 3);
    assert_eq!(number(&stats["pairs"][0]["packets"]), 0);
    assert_eq!(number(&stats["reasons"]["pair_denied"]["bytes"]), 3 * (14 + 20 + 8 + 8));
}
