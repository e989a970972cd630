//! Real sockets through both routers: what programs find out must be the same.

use std::io::ErrorKind;

use bridgefwd_tests::needs_root;
use bridgefwd_tests::traffic::{connect, listen, pair_up, ping, say, transfer, udp, udp_exchange};
use bridgefwd_tests::wait::PATIENCE;

use crate::modes::PLAIN;
use crate::world::Side;

/// What programs on the hosts of this router find out, line by line.
fn findings(side: &Side) -> Vec<String> {
    let [a, a2, b, _] = &side.router().hosts[..] else { panic!("four hosts") };
    let mut findings = Vec::new();

    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "question");
    say(&mut far, &mut near, "answer");
    findings.push(format!("tcp from {seen}"));
    // Segments of the client's MTU are too big for the server's bridge: this needs path MTU
    // discovery.
    transfer(near, far, 1 << 20);
    findings.push("a megabyte each way".to_owned());
    let (_near, _far, seen) = pair_up(&a2.ns, 10_001, &listener);
    findings.push(format!("tcp of the other client from {seen}"));

    let refused = connect(&a.ns, 10_002, b.at(81)).map(|_| ()).map_err(|error| error.kind());
    findings.push(format!("tcp to a closed port: {refused:?}"));

    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_003)));
    findings.push(format!("udp from {}", udp_exchange(&client, &server, "what is the time")));

    let lonely = udp(&a.ns, a.at(10_004));
    lonely.connect(b.at(54)).expect("connected");
    lonely.send(b"is anybody there").expect("sent");
    let error = lonely.recv(&mut [0; 16]).map_err(|error| error.kind());
    findings.push(format!("udp to a closed port: {error:?}"));
    assert_eq!(error, Err(ErrorKind::ConnectionRefused), "the port unreachable came");

    findings.push(format!("{} answers to ping", ping(&a.ns, b.address, 77, 3, PATIENCE)));
    findings
}

#[test]
fn programs_find_the_same() {
    needs_root!();
    let (kernel, bridgefwd) = (Side::kernel(PLAIN), Side::bridgefwd(PLAIN));
    assert_eq!(findings(&bridgefwd), findings(&kernel));
}
