//! `run` that cannot be: a clear error, and nothing half-done.

use bridgefwd_tests::bridgefwd::{Bridgefwd, Output};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::pins::edit_pinned_settings;
use bridgefwd_tests::topology::{Options, Router};

use crate::refusals::{COULD_NOT, USAGE, refused};

fn attached(router: &Router) -> String {
    router.ns.command("bpftool", &["net", "show"]) + &router.ns.command("tc", &["qdisc", "show"])
}

/// `run ARGS` fails, and leaves neither pins nor a socket nor anything attached.
#[track_caller]
fn fails(router: &Router, args: &[&str]) -> Output {
    let before = attached(router);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let output = bridgefwd.try_start(args).expect_err("must not become ready");
    assert!(!bridgefwd.pin_dir.exists(), "{args:?}: pins are left");
    assert!(!bridgefwd.socket().exists(), "{args:?}: the socket is left");
    assert_eq!(attached(router), before, "{args:?}");
    output
}

#[test]
fn no_bridge_at_all() {
    needs_root!();
    let router = Router::new(Options::default(), &[]);
    router.ns.ip("link del br-a\nlink del br-b\nlink del br-c\n");
    refused(&fails(&router, &[]), USAGE, &["no bridge", "--bridge"]);
    refused(&fails(&router, &["--docker", "no"]), USAGE, &["no bridge", "--bridge"]);
}

#[test]
fn a_docker_engine_that_is_not_there() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let output = fails(&router, &["--docker", "/nowhere/docker.sock"]);
    refused(&output, COULD_NOT, &["/nowhere/docker.sock", "no such socket", "--docker no"]);
    // Somebody answers there, and is none.
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("other.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("listening");
    std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
    let path = path.to_str().expect("UTF-8");
    refused(&fails(&router, &["--docker", path]), COULD_NOT, &[path, "--docker no"]);
}

#[test]
fn an_unknown_bridge() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let output = fails(&router, &["--bridge", "br-a", "--bridge", "br-z"]);
    refused(&output, USAGE, &["br-z"]);
}

#[test]
fn the_same_bridge_twice() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    refused(&fails(&router, &["--bridge", "br-a", "--bridge", "br-a"]), USAGE, &["br-a"]);
}

#[test]
fn a_bridge_without_ipv4() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    router.ns.ip("addr flush dev br-b\n");
    let output = fails(&router, &["--bridge", "br-a", "--bridge", "br-b"]);
    assert!(matches!(output.status, COULD_NOT | USAGE), "{output:?}");
    refused(&output, output.status, &["br-b", "IPv4"]);
}

#[test]
fn an_interface_that_is_no_bridge() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    for name in ["lo", &router.hosts[0].port] {
        let output = fails(&router, &["--bridge", "br-a", "--bridge", name]);
        assert!(matches!(output.status, COULD_NOT | USAGE), "{output:?}");
        refused(&output, output.status, &[name]);
    }
}

#[test]
fn an_uplink_that_cannot_be_one() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    router.ns.ip("link add bare type veth peer name bare-far\n");
    let port = router.hosts[0].port.as_str();
    for (name, status, says) in [
        ("br-b", USAGE, "--bridge br-b"),
        (port, USAGE, "br-a"),
        ("lo", USAGE, "Ethernet"),
        ("nowhere", USAGE, "no interface"),
        ("bare", COULD_NOT, "IPv4"),
    ] {
        let output = fails(&router, &["--bridge", "br-a", "--uplink", name]);
        refused(&output, status, &[name, says]);
    }
}

#[test]
fn a_config_file_that_is_missing_or_wrong() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let folder = Bridgefwd::new(&router.ns);
    let path = folder.folder().join("bridgefwd.toml");
    let name = path.to_str().expect("UTF-8");
    let output = fails(&router, &["--config", name]);
    assert!(matches!(output.status, COULD_NOT | USAGE), "{output:?}");
    refused(&output, output.status, &["bridgefwd.toml"]);
    for text in ["bridges = [", "brigdes = [\"br-a\"]\n", "bridges = 7\n"] {
        std::fs::write(&path, text).expect("written");
        let output = fails(&router, &["--bridge", "br-a", "--config", name]);
        assert!(matches!(output.status, COULD_NOT | USAGE), "{text}: {output:?}");
        refused(&output, output.status, &["bridgefwd.toml"]);
    }
}

#[test]
fn a_pair_in_the_file_that_cannot_be() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let folder = Bridgefwd::new(&router.ns);
    let path = folder.folder().join("bridgefwd.toml");
    let name = path.to_str().expect("UTF-8");
    for (line, words) in [
        ("nat = '10.2.0'", &["bridgefwd.toml", "line 5", "nat", "\"10.2.0\""][..]),
        ("nat = 'fd00:2::1'", &["bridgefwd.toml", "line 5", "nat6"]),
        ("nat6 = '10.2.0.1'", &["bridgefwd.toml", "line 5", "nat6", "10.2.0.1"]),
        ("nat = '10.2.0.1-10.2.1.1'", &["bridgefwd.toml", "line 5", "at most 16"]),
        ("nat = '10.2.0.9'", &["br-a -> br-b", "10.2.0.9", "br-b has: 10.2.0.1"]),
        ("nat6 = 'fd00:2::9'", &["br-a -> br-b", "fd00:2::9", "br-b has: fd00:2::1"]),
        ("mapping = 'cone'", &["bridgefwd.toml", "line 5", "mapping", "\"cone\""]),
    ] {
        let pair =
            format!("bridges = ['br-a', 'br-b']\n[[pair]]\nfrom = 'br-a'\nto = 'br-b'\n{line}\n");
        std::fs::write(&path, pair).expect("written");
        refused(&fails(&router, &["--config", name]), USAGE, words);
    }
    for line in ["flows_per_source = 0", "ports = 'maybe'"] {
        std::fs::write(&path, format!("bridges = ['br-a']\n{line}\n")).expect("written");
        let key = line.split(' ').next().expect("a key");
        refused(&fails(&router, &["--config", name]), USAGE, &["bridgefwd.toml", "line 2", key]);
    }
}

#[test]
fn a_pin_directory_that_is_not_in_bpffs() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let before = attached(&router);
    let bridgefwd = Bridgefwd::new(&router.ns);
    let pins = bridgefwd.folder().join("pins");
    let mut command = std::process::Command::new(bridgefwd_tests::bridgefwd::binary());
    command.arg("--socket").arg(bridgefwd.socket()).arg("--pin-dir").arg(&pins);
    command.args(["run", "--bridge", "br-a"]);
    let output = bridgefwd_tests::bridgefwd::output_in(&router.ns, &mut command);
    assert!(matches!(output.status, COULD_NOT | USAGE), "{output:?}");
    refused(&output, output.status, &["pins", "bpf"]);
    assert!(!pins.exists() && !bridgefwd.socket().exists());
    assert_eq!(attached(&router), before);
}

#[test]
fn a_second_daemon() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let first = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "--bridge", "br-b"]);
    first.ok(&["pair", "allow", "br-a", "br-b"]);
    let before = (attached(&router), first.json(&["bridges"]), first.json(&["pair", "list"]));
    let output = first.cli(&["run", "--bridge", "br-a", "--bridge", "br-c"]);
    refused(&output, COULD_NOT, &["bridgefwd.sock"]);
    let after = (attached(&router), first.json(&["bridges"]), first.json(&["pair", "list"]));
    assert_eq!(after, before, "the first one goes on as it was");
}

#[test]
fn a_socket_that_a_killed_daemon_left() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let mut bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a"]);
    bridgefwd.kill();
    assert!(bridgefwd.socket().exists());
    bridgefwd.start(&["--bridge", "br-a"]);
    assert_eq!(bridgefwd.json(&["status"])["state"], "running");
}

#[test]
fn a_file_where_the_socket_should_be() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    std::fs::write(bridgefwd.socket(), "somebody's").expect("written");
    let output = bridgefwd.try_start(&["--bridge", "br-a"]).expect_err("must not become ready");
    assert!(matches!(output.status, COULD_NOT | USAGE), "{output:?}");
    refused(&output, output.status, &["bridgefwd.sock"]);
    assert_eq!(std::fs::read_to_string(bridgefwd.socket()).expect("there"), "somebody's");
    assert!(!bridgefwd.pin_dir.exists());
}

#[test]
fn pins_of_another_version() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let mut bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a"]);
    bridgefwd.kill();
    edit_pinned_settings(&bridgefwd.pin_dir, |settings| settings.abi = 4242);
    let listing = || {
        let entries = std::fs::read_dir(&bridgefwd.pin_dir).expect("pins");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        names.sort();
        names
    };
    let before = (listing(), attached(&router));
    let output = bridgefwd.cli(&["run", "--bridge", "br-a"]);
    refused(&output, COULD_NOT, &["4242", "bridgefwd down"]);
    assert_eq!((listing(), attached(&router)), before, "nothing was touched");
    assert_eq!(edit_pinned_settings(&bridgefwd.pin_dir, |_| ()).abi, 4242);
    for command in ["flows", "stats", "bridges"] {
        let output = bridgefwd.cli(&[command]);
        assert!(output.status != 0, "never misread: {output:?}");
    }
    bridgefwd.ok(&["down"]);
    assert!(!bridgefwd.pin_dir.exists());
    bridgefwd.start(&["--bridge", "br-a"]);
}

#[test]
fn a_pin_directory_with_pins_of_others() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let theirs = bridgefwd.pin_dir.join("somebody's");
    std::fs::create_dir_all(&theirs).expect("folders in bpffs");
    let output = bridgefwd.try_start(&["--bridge", "br-a"]).expect_err("must not become ready");
    refused(&output, COULD_NOT, &["somebody's", "--pin-dir"]);
    let down = bridgefwd.cli(&["down"]);
    assert!(theirs.exists(), "{down:?}");
    assert!(!bridgefwd.socket().exists());
    std::fs::remove_dir_all(&bridgefwd.pin_dir).expect("removed");
}

/// Runs `run --bridge br-a` behind `wrapper` to its end.
#[track_caller]
fn wrapped(router: &Router, wrapper: &[&str]) -> (Output, Bridgefwd) {
    let bridgefwd = Bridgefwd::new(&router.ns);
    let mut command = std::process::Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(bridgefwd_tests::bridgefwd::binary());
    command.arg("--socket").arg(bridgefwd.socket()).arg("--pin-dir").arg(&bridgefwd.pin_dir);
    command.args(["run", "--bridge", "br-a"]);
    (bridgefwd_tests::bridgefwd::output_in(&router.ns, &mut command), bridgefwd)
}

#[test]
fn no_permission() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let before = attached(&router);
    let (output, bridgefwd) =
        wrapped(&router, &["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
    refused(&output, COULD_NOT, &["CAP_BPF", "root"]);
    assert!(!bridgefwd.pin_dir.exists() && !bridgefwd.socket().exists());
    assert_eq!(attached(&router), before);
}
