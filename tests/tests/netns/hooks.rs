//! Where programs are attached: at ingress and at egress of ends, at ingress of ports or not at all.

use bridgefwd_tests::attached;
use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::foreign::ForeignProgram;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, ping, say};
use bridgefwd_tests::wait::{PATIENCE, until};
use serde_json::Value;

use crate::lifecycle::traces;
use crate::rig::{BRIDGES, Rig};

/// Our programs at `ingress` or `egress` of an interface, by whatever means they are there.
fn programs(router: &Router, interface: &str, hook: &'static str) -> Vec<String> {
    let programs = attached::at(&router.ns, interface, hook).into_iter();
    programs.map(|it| it.program).filter(|name| name.starts_with("bridgefwd")).collect()
}

/// One at ingress of everything that is managed, one at egress of ends.
#[track_caller]
fn all_attached(router: &Router, ports: bool) {
    for interface in ["br-a", "br-b"] {
        assert_eq!(programs(router, interface, "ingress"), ["bridgefwd"], "{interface}");
        assert_eq!(programs(router, interface, "egress"), ["bridgefwd_egres"], "{interface}");
    }
    for host in router.hosts.iter().filter(|host| host.bridge != "br-c") {
        let ingress = if ports { &["bridgefwd"][..] } else { &[] };
        assert_eq!(programs(router, &host.port, "ingress"), ingress, "{}", host.port);
        assert_eq!(programs(router, &host.port, "egress"), [""; 0], "{}", host.port);
    }
}

#[test]
fn ends_have_both_and_ports_one() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let mut rig = Rig::allowed(Options::default(), args);
        all_attached(&rig.router, true);
        // The next daemon takes the places of the one before.
        rig.bridgefwd.kill();
        all_attached(&rig.router, true);
        rig.bridgefwd.start(&[&BRIDGES, args].concat());
        all_attached(&rig.router, true);
        // An end that is not managed any more has neither.
        rig.bridgefwd.kill();
        rig.bridgefwd.start(&[&BRIDGES[..2], args].concat());
        for hook in ["ingress", "egress"] {
            assert_eq!(programs(&rig.router, "br-b", hook), [""; 0], "{args:?}");
        }
        assert_eq!(programs(&rig.router, "br-a", "egress").len(), 1, "{args:?}");
    }
}

#[test]
fn one_means_becomes_the_other() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let before = traces(&router.ns);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    for attach in ["clsact", "tcx", "clsact", "auto"] {
        bridgefwd.start(&[&BRIDGES[..], &["--attach", attach]].concat());
        all_attached(&router, true);
        for bridge in bridgefwd.managed() {
            // What is there by clsact stays so where nothing else is asked for.
            let means = if attach == "tcx" { "tcx" } else { "clsact" };
            assert_eq!(bridge["attached"], means, "{attach}");
        }
        bridgefwd.kill();
    }
    bridgefwd.ok(&["down"]);
    assert_eq!(traces(&router.ns), before, "our clsact qdiscs are gone");
}

#[test]
fn egress_filters_of_others_stay() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let router = Router::new(Options::default(), &["br-a", "br-b"]);
        router.ns.command("tc", &["qdisc", "add", "dev", "br-b", "clsact"]);
        let other = ForeignProgram::load();
        other.egress_filter(&router.ns, "br-b", 9);
        let before = traces(&router.ns);
        let mut bridgefwd = Bridgefwd::run(&router.ns, &[&BRIDGES, args].concat());
        all_attached(&router, true);
        bridgefwd.ok(&["down"]);
        bridgefwd.wait_end();
        assert_eq!(traces(&router.ns), before, "{args:?}");
    }
}

#[test]
fn ports_can_be_left_alone() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--ports", "no"]);
    all_attached(&rig.router, false);
    let bridges = rig.bridgefwd.json(&["bridges"]);
    let left = [&rig.a().port, &rig.a2().port].map(|name| Value::from(name.as_str()));
    assert_eq!(bridges[0]["ports_not_attached"], Value::from(left.to_vec()));
    assert_eq!(bridges[0]["ports"], Value::Array(Vec::new()));
    assert_eq!(rig.bridgefwd.json(&["status"])["ports_not_attached"], 3);
    let listener = listen(&rig.b().ns, rig.b().at(80));
    let (mut near, mut far, _) = pair_up(&rig.a().ns, 10_000, &listener);
    say(&mut near, &mut far, "by the bridge alone");
    say(&mut far, &mut near, "and back");
    // The first packet to a neighbour may have gone by the kernel.
    let by_kernel = rig.forwarded_by_kernel();

    // The same flow, then by the ports, then by the bridges again.
    for (choice, ports) in [("yes", true), ("no", false)] {
        rig.bridgefwd.kill();
        rig.bridgefwd.start(&[&BRIDGES[..], &["--ports", choice]].concat());
        all_attached(&rig.router, ports);
        say(&mut near, &mut far, choice);
        say(&mut far, &mut near, choice);
        assert_eq!(
            rig.bridgefwd.json(&["bridges"])[1]["ports"].as_array().map(Vec::len),
            Some(usize::from(ports))
        );
    }
    assert_eq!(rig.forwarded_by_kernel(), by_kernel);
    // A new port is left alone too.
    let new = rig.router.plug("br-a");
    assert_eq!(ping(&rig.router.hosts[new].ns, rig.b().address, 7, 1, PATIENCE), 1);
    all_attached(&rig.router, false);
}

#[test]
fn an_uplink_that_is_plugged_into_a_bridge_is_no_end_any_more() {
    needs_root!();
    let options = Options { uplink: true, ..Options::default() };
    let router = Router::new(options, &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "--uplink", "up0"]);
    let egress = || programs(&router, "up0", "egress").len();
    assert_eq!((egress(), programs(&router, "up0", "ingress").len()), (1, 1));
    router.ns.ip("link set up0 master br-a\n");
    until("it has nothing at egress", || egress() == 0);
    assert_eq!(programs(&router, "up0", "ingress"), ["bridgefwd"]);
    router.ns.ip("link set up0 nomaster\n");
    until("it is an end again", || egress() == 1);
    drop(bridgefwd);
}
