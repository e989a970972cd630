//! Beside libvirt: between its default network and one of Docker's, by a pair, whatever the rules of both
//! say; its addresses and names are still given out, and not one rule is touched.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use bridgefwd_tests::bridgefwd::output_in;
use bridgefwd_tests::docker::{EngineOptions, rules};
use bridgefwd_tests::enclosed::Enclosed;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::traffic::{connect_within, listen, pair_up, say};
use bridgefwd_tests::wait::until;
use bridgefwd_tests::{needs_docker, needs_programs};

use crate::rig::Shop;

/// What takes longer is refused.
const ATTEMPT: Duration = Duration::from_millis(300);
/// The host's address on it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);

/// The network that comes with libvirt.
const DEFAULT: &str = "<network><name>default</name><forward mode='nat'/>\
    <bridge name='virbr0' stp='on' delay='0'/><ip address='192.168.122.1' netmask='255.255.255.0'>\
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";

/// Its daemon, without the drivers for machines, whose users and groups the package alone makes.
const LIBVIRTD: &str = "mkdir -p /var/lib/libvirt /etc/libvirt /var/cache/libvirt /run/lock
    find /usr/lib -name 'libvirt_driver_*.so' -not -name '*_network.so' -delete
    exec libvirtd";

/// What a DHCP client of busybox calls: says what it was given.
const LEASED: &str = "#!/bin/sh\n[ \"$1\" = bound ] && echo \"$ip $router $dns\"\nexit 0\n";

/// A machine on `virbr0`, by a cable instead of a TAP device, with the address that it is given.
struct Guest {
    ns: Namespace,
    script: tempfile::TempPath,
}

impl Guest {
    #[track_caller]
    fn plug(host: &Namespace) -> Self {
        let ns = Namespace::new("guest");
        host.ip(&format!(
            "link add vnet0 type veth peer name eth0 netns {}\nlink set vnet0 master virbr0 up\n",
            ns.name()
        ));
        ns.ip("link set eth0 up\n");
        let script = tempfile::NamedTempFile::new().expect("file").into_temp_path();
        std::fs::write(&script, LEASED).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("its mode");
        Self { ns, script }
    }

    /// Asks for an address, and returns it.
    #[track_caller]
    fn lease(&self) -> Ipv4Addr {
        let mut client = Command::new("busybox");
        client.args(["udhcpc", "--interface", "eth0", "--foreground", "--quit", "--now"]);
        client.args(["--tryagain", "1", "--retries", "10", "--script"]).arg(&self.script);
        let output = output_in(&self.ns, &mut client);
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        let gateway = GATEWAY.to_string();
        let [address, router, names] = words[..] else { panic!("no address: {output:?}") };
        assert_eq!((router, names), (&*gateway, &*gateway));
        address.parse().expect("an address")
    }
}

#[test]
fn its_default_network_and_one_of_dockers() {
    needs_docker!();
    needs_programs!("libvirtd", "virsh", "dnsmasq", "busybox");
    let mut shop = Shop::new(EngineOptions::default());
    let host = &shop.engine.ns.clone();
    let libvirt = Enclosed::start(host, LIBVIRTD);
    let virsh =
        |args: &[&str]| libvirt.root().run("virsh", &[&["-c", "network:///system"], args].concat());
    until("libvirtd answers", || virsh(&["uri"]).status == 0);
    libvirt.root().write("/run/default.xml", DEFAULT.as_bytes());
    libvirt.ok("virsh", &["-c", "network:///system", "net-define", "/run/default.xml"]);
    libvirt.ok("virsh", &["-c", "network:///system", "net-start", "default"]);
    let guest = Guest::plug(host);
    let address = guest.lease();
    guest.ns.ip(&format!("addr add {address}/24 dev eth0\nroute add default via {GATEWAY}\n"));
    let (web, ns) = (shop.web(), shop.engine.inside("web"));
    let on_guest = listen(&guest.ns, SocketAddrV4::new(address, 80));
    let on_web = listen(&ns, SocketAddrV4::new(web, 8080));
    let reaches = |from: &Namespace, to: SocketAddrV4| connect_within(ATTEMPT, from, 0, to).is_ok();
    let to_guest = || reaches(&ns, SocketAddrV4::new(address, 80));
    let to_web = || reaches(&guest.ns, SocketAddrV4::new(web, 8080));
    let before = rules(host);
    for part in ["-A LIBVIRT_FWI -o virbr0 -j REJECT", "-j MASQUERADE", "LIBVIRT_INP"] {
        assert!(before.contains(part), "{part}: {before}");
    }
    assert_eq!((to_guest(), to_web()), (false, false), "as libvirt and Docker have it");

    shop.run(&["--bridge", "shop_front", "virbr0"]);
    assert_eq!((to_guest(), to_web()), (false, false), "nothing is allowed yet");
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "virbr0"]);
    let (mut near, mut far, seen) = pair_up(&ns, 0, &on_guest);
    say(&mut near, &mut far, "from a container to a machine");
    say(&mut far, &mut near, "and back");
    assert_eq!(*seen.ip(), GATEWAY);
    assert!(!to_web(), "nobody allowed this direction");
    shop.bridgefwd.ok(&["pair", "allow", "virbr0", "shop_front"]);
    let (mut near, mut far, seen) = pair_up(&guest.ns, 0, &on_web);
    say(&mut near, &mut far, "from a machine to a container");
    assert_eq!(*seen.ip(), Ipv4Addr::new(172, 18, 0, 1));
    println!("{}", shop.bridgefwd.ok(&["bridges"]));
    println!("{}", shop.bridgefwd.ok(&["flows"]));

    // What libvirt does goes on: dnsmasq's addresses, and the network itself.
    assert_eq!(guest.lease(), address, "the same one");
    assert_eq!(rules(host), before, "not one rule");
    shop.bridgefwd.ok(&["down"]);
    shop.bridgefwd.wait_end();
    assert_eq!((to_guest(), to_web()), (false, false), "afterwards");
    let networks = libvirt.ok("virsh", &["-c", "network:///system", "net-list"]);
    assert!(networks.contains("default   active"), "{networks}");
    assert_eq!(rules(host), before, "not one rule");
}
