//! `bridgefwd inspect`: what it says of a namespace and of a process is what the kernel has there.

use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Host, Options, Router};
use serde_json::Value;

/// A process that only waits, ended with this value.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The interface of that name.
fn interface<'a>(report: &'a Value, name: &str) -> &'a Value {
    let interfaces = report["interfaces"].as_array().expect("interfaces");
    interfaces.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

/// What must be said of a host, however it is named.
fn is_that_host(report: &Value, host: &Host, attached: &str) {
    let inode = std::fs::metadata(host.ns.path()).expect("the namespace").ino();
    assert_eq!((&report["namespace"], &report["is_host"]), (&inode.into(), &false.into()));
    let eth0 = interface(report, "eth0");
    let mac = host.mac.map(|byte| format!("{byte:02x}")).join(":");
    assert_eq!((&eth0["mac"], &eth0["up"]), (&mac.into(), &true.into()));
    assert_eq!(eth0["addresses"][0], format!("{}/24", host.address));
    assert_eq!(eth0["addresses"][1], format!("{}/64", host.address6));
    let port = &eth0["port"];
    assert_eq!((&port["name"], &port["ifindex"]), (&(*host.port).into(), &host.port_index.into()));
    assert_eq!((&port["bridge"], &port["attached"]), (&host.bridge.into(), &attached.into()));
    assert_eq!(interface(report, "lo")["port"], Value::Null);
    let routes = report["routes"].as_array().expect("routes");
    let default = |route: &&Value| route["to"] == "default" && route["interface"] == "eth0";
    assert!(routes.iter().any(|route| default(&route)), "{routes:?}");
    assert!(report["sysctls"]["net.ipv4.conf.eth0.rp_filter"].is_string(), "{report:#}");
}

#[test]
fn a_namespace_and_a_process_in_it_are_as_the_kernel_has_them() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-a", "br-b", "br-c"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let [first, second, other] = [0, 1, 2].map(|at| &router.hosts[at]);
    // Nothing runs, and nothing is pinned.
    is_that_host(&bridgefwd.json(&["inspect", first.ns.name()]), first, "no");

    bridgefwd.start(&["--bridge", "br-a", "br-b", "br-c"]);
    for (from, to) in [("br-a", "br-b"), ("br-c", "br-a"), ("br-b", "br-c")] {
        bridgefwd.ok(&["pair", "allow", from, to]);
    }
    let attached = bridgefwd.json(&["bridges"])[0]["attached"].as_str().expect("how").to_owned();
    // Ports of one bridge are told apart, though both ends inside have the same number.
    for host in [first, second, other] {
        let report = bridgefwd.json(&["inspect", host.ns.name()]);
        assert_eq!((&report["kind"], &report["pid"]), (&"namespace".into(), &Value::Null));
        is_that_host(&report, host, &attached);
    }
    let report = bridgefwd.json(&["inspect", first.ns.name()]);
    let ends = |pair: &Value| (pair["from"].clone(), pair["to"].clone());
    let pairs: Vec<_> = report["pairs"].as_array().expect("pairs").iter().map(ends).collect();
    let expected = [("br-a", "br-b"), ("br-c", "br-a")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(pairs, expected);

    let sleeper = first.ns.run(|| {
        Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep"))
    });
    let pid = sleeper.0.id();
    let report = bridgefwd.json(&["inspect", &pid.to_string()]);
    assert_eq!((&report["kind"], &report["name"]), (&"process".into(), &"sleep".into()));
    assert_eq!((&report["pid"], &report["pids"]), (&pid.into(), &Value::from(vec![pid])));
    is_that_host(&report, first, &attached);

    // The daemon itself is on the host.
    let report = bridgefwd.json(&["inspect", &bridgefwd.pid().to_string()]);
    assert_eq!(report["is_host"], true);
    assert_eq!(interface(&report, &first.port)["port"], Value::Null);

    // The pins say the same.
    bridgefwd.kill();
    is_that_host(&bridgefwd.json(&["inspect", first.ns.name()]), first, &attached);
    let text = bridgefwd.ok(&["inspect", first.ns.name()]);
    let port = format!("-> {} ({}) on the host: bridgefwd by", first.port, first.port_index);
    assert!(text.contains(&port) && text.contains("br-a -> br-b: allowed"), "{text}");
    let refused = bridgefwd.cli(&["inspect", "nobody-here"]);
    assert_eq!((refused.status, &*refused.stdout), (1, ""), "{refused:?}");
    assert!(refused.stderr.contains("nobody-here is no process"), "{refused:?}");
}
