//! One instance of the program: its socket, its readiness, its end.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::wait::until;

#[test]
fn the_socket_is_for_owner_and_group() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a"]);
    let metadata = std::fs::metadata(bridgefwd.socket()).expect("the socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn it_is_ready_soon() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let took = bridgefwd.start(&["--bridge", "br-a", "--bridge", "br-b"]);
    println!("ready after {took:?}");
    // A figure, not a limit: others may be using the machine.
    assert!(took < Duration::from_secs(8));
}

#[test]
fn ctrl_c_ends_it_and_takes_the_socket_along() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    for signal in ["-INT", "-TERM"] {
        let mut bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a"]);
        command::run("kill", &[signal, &bridgefwd.pid().to_string()]);
        assert_eq!(bridgefwd.wait_end(), 0, "{signal}");
        assert!(!bridgefwd.socket().exists(), "{signal}");
    }
}

#[test]
fn many_bridges_after_one_option() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b", "br-c"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b", "br-c"]);
    assert_eq!(bridgefwd.managed().len(), 3);
}

#[test]
fn every_bridge_where_none_is_named() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--docker", "no"]);
    assert_eq!(bridgefwd.managed().len(), 3);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    router.ns.ip("link add br-new type bridge\naddr add 10.9.0.1/24 dev br-new\n");
    until("a new one is managed, too", || bridgefwd.managed().len() == 4);
    router.ns.ip("link del br-c\n");
    until("one that has gone is not", || bridgefwd.managed().len() == 3);
    assert_eq!(bridgefwd.json(&["status"])["warnings"], serde_json::json!([]));
}

#[test]
fn two_instances_in_two_namespaces() {
    needs_root!();
    let routers = [(); 2].map(|()| Router::new(Options::default(), &["br-a", "br-b"]));
    let args = ["--bridge", "br-a", "--bridge", "br-b"];
    let instances = routers.each_ref().map(|router| Bridgefwd::run(&router.ns, &args));
    instances[0].ok(&["pair", "allow", "br-a", "br-b"]);
    assert_eq!(instances[0].json(&["pair", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(instances[1].json(&["pair", "list"]).as_array().map(Vec::len), Some(0));
    instances[0].ok(&["down"]);
    assert_eq!(instances[1].json(&["status"])["state"], "running");
}
