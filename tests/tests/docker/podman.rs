//! Beside Podman: its service speaks Docker's language, so that ends go by the names of its networks.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::docker::{IMAGE, SERVER, image_as_tar, rules};
use bridgefwd_tests::enclosed::Enclosed;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::wait::{poll, until};
use bridgefwd_tests::{needs_docker, needs_programs};

use crate::life::SECOND;

/// Its service, with storage that is no layer on another one.
const PODMAN: &str = "mkdir -p /var/lib/containers
    mount -t tmpfs tmpfs /var/lib/containers
    exec podman system service --time 0 unix:///run/shared/podman.sock";

/// Podman at work.
struct Podman(Enclosed);

impl Podman {
    /// Starts it, with [`IMAGE`] in it.
    #[track_caller]
    fn start(ns: &Namespace) -> Self {
        let this = Self(Enclosed::start(ns, PODMAN));
        let (outside, inside) = this.0.root().shared();
        until("the service listens", || outside.join("podman.sock").exists());
        std::fs::write(outside.join("image.tar"), image_as_tar()).expect("written");
        this.ok(&["import", inside.join("image.tar").to_str().expect("text"), IMAGE]);
        this
    }

    /// `podman ARGS`, with the one of Debian's runtimes that takes control groups of both versions.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.0.ok("podman", &[&["--runtime", "runc"], args].concat())
    }

    #[track_caller]
    fn open(&self, network: &str, container: &str) {
        self.ok(&["network", "create", network]);
        let run = ["run", "--detach", "--name", container, "--network", network, IMAGE];
        self.ok(&[&run[..], &SERVER].concat());
    }

    #[track_caller]
    fn address(&self, container: &str) -> Ipv4Addr {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.ok(&["inspect", "--format", format, container]).parse().expect("an address")
    }

    /// Fetches the page of a server: the address that the server saw, or `None` without an answer.
    fn fetch(&self, from: &str, server: Ipv4Addr) -> Option<String> {
        let answer = self.ok(&["exec", from, "fetch", &server.to_string()]);
        (!answer.trim().is_empty()).then(|| answer.trim().to_owned())
    }
}

#[test]
fn two_of_its_networks() {
    needs_docker!();
    needs_programs!("podman", "runc");
    let ns = Arc::new(Namespace::new("podman"));
    ns.sysctl("net/ipv4/ip_forward", "1");
    ns.ip("link set lo up\n");
    let podman = Podman::start(&ns);
    podman.open("shop_front", "web");
    podman.open("shop_db", "db");
    let db = podman.address("db");
    // Of its own accord Podman keeps no networks apart. With this the kernel forwards nothing for it.
    ns.command("iptables", &["-I", "FORWARD", "-j", "DROP"]);
    assert_eq!(podman.fetch("web", db), None, "as that is");
    let before = rules(&ns);

    let mut bridgefwd = Bridgefwd::new(&ns).with_environment("BRIDGEFWD_LOG", "debug");
    let socket = podman.0.root().shared().0.join("podman.sock");
    bridgefwd.start(&["--docker", socket.to_str().expect("text")]);
    let managed = || bridgefwd.managed().into_iter().map(|end| end["name"].clone());
    assert_eq!(Vec::from_iter(managed()), ["shop_db", "shop_front"]);
    println!("{}", bridgefwd.ok(&["bridges"]));
    bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let gateway = Ipv4Addr::from(db.to_bits() & !0xff | 1).to_string();
    assert_eq!(podman.fetch("web", db), Some(gateway.clone()));
    assert_eq!(podman.fetch("db", podman.address("web")), None, "nobody allowed this direction");
    let flow = &bridgefwd.json(&["flows", "--from", "shop_front"])[0];
    assert_eq!((&flow["client"], &flow["server"]), (&"web".into(), &"db".into()));

    // A network that goes and comes again has its pair.
    podman.ok(&["rm", "--force", "--time", "0", "db"]);
    podman.ok(&["network", "rm", "shop_db"]);
    until("it is gone", || Vec::from_iter(managed()) == ["shop_front"]);
    podman.open("shop_db", "db");
    let db = podman.address("db");
    let again = poll(SECOND, || podman.fetch("web", db));
    assert_eq!(again, Some(gateway), "{}", bridgefwd.ok(&["bridges"]));
    let about = bridgefwd.cli(&["doctor"]).stdout;
    assert!(about.contains("Podman "), "{about}");

    bridgefwd.ok(&["down"]);
    bridgefwd.wait_end();
    // A container that is made again has others than it had.
    let theirs = |line: &&str| ["CNI-", "NETAVARK"].iter().any(|part| line.contains(part));
    let rest = |rules: &str| {
        rules.lines().filter(|line| !theirs(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rest(&rules(&ns)), rest(&before), "not one rule");
}
