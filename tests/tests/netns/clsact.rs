//! Attached by clsact filters, as on kernels before 6.6, and beside other people's filters.

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::foreign::ForeignProgram;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, ping, transfer, udp, udp_exchange};
use bridgefwd_tests::wait::PATIENCE;

use crate::rig::{BRIDGES, Rig};

#[test]
fn everything_is_forwarded() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--attach", "clsact"]);
    let (a, b) = (rig.a(), rig.b());
    for bridge in rig.bridgefwd.managed() {
        assert_eq!(bridge["attached"], "clsact", "{bridge}");
    }
    let listener = listen(&b.ns, b.at(80));
    let (near, far, _) = pair_up(&a.ns, 10_000, &listener);
    transfer(near, far, 1 << 20);
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    udp_exchange(&client, &server, "hello");
    assert_eq!(ping(&a.ns, b.address, 77, 2, PATIENCE), 2);
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn filters_of_others_stay_and_still_run() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let router = Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
        let port = router.hosts[0].port.clone();
        router.ns.command("tc", &["qdisc", "add", "dev", &port, "clsact"]);
        // One that would run before ours, and one after.
        let others = [1, 60_000].map(|preference| {
            let program = ForeignProgram::load();
            program.filter(&router.ns, &port, preference);
            program
        });
        let show = ["filter", "show", "dev", &port, "ingress"];
        let filters = router.ns.command("tc", &show);
        let qdiscs = router.ns.command("tc", &["qdisc", "show"]);
        let mut rig = Rig { bridgefwd: Bridgefwd::new(&router.ns), router };
        rig.bridgefwd.start(&[&BRIDGES, args].concat());
        rig.ok(&["pair", "allow", "br-a", "br-b"]);
        assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
        assert_eq!(rig.forwarded_by_kernel(), 0);
        let before = others.each_ref().map(ForeignProgram::runs);
        // What we leave to the kernel is seen by everybody.
        let gateway = rig.router.bridge("br-a").address;
        assert_eq!(ping(&rig.a().ns, gateway, 8, 3, PATIENCE), 3);
        for (other, before) in others.iter().zip(before) {
            assert!(other.runs() >= before + 3, "{args:?}: ran {before} times, {}", other.runs());
        }
        rig.ok(&["down"]);
        rig.bridgefwd.wait_end();
        assert_eq!(rig.router.ns.command("tc", &["qdisc", "show"]), qdiscs, "{args:?}");
        assert_eq!(rig.router.ns.command("tc", &show), filters, "{args:?}");
        let before = others.each_ref().map(ForeignProgram::runs);
        assert_eq!(ping(&rig.a().ns, gateway, 9, 2, PATIENCE), 2);
        for (other, before) in others.iter().zip(before) {
            assert!(other.runs() >= before + 2, "{args:?}");
        }
    }
}
