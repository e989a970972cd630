//! The tarball, installed and removed as its own note says.

use bridgefwd_tests::installed::{Root, made};
use bridgefwd_tests::needs_root;

/// The lines of the note that are indented, from the line that begins with `from` on to the next that
/// is not indented like them.
fn commands<'a>(note: &'a str, from: &str) -> Vec<&'a str> {
    let lines = note.lines().skip_while(|line| !line.starts_with(from)).skip(1);
    let lines = lines.skip_while(|line| !line.starts_with("    "));
    lines.take_while(|line| line.starts_with("    ")).map(str::trim).collect()
}

#[test]
fn its_note_installs_and_removes_it() {
    needs_root!();
    let root = Root::new();
    root.copy(&made(".tar.gz"), "/tmp/it.tar.gz");
    root.ok(
        "tar",
        &["-xzf", "/tmp/it.tar.gz", "-C", "/tmp", "--strip-components=1", "--one-top-level=it"],
    );
    let note = root.ok("cat", &["/tmp/it/INSTALL"]);
    // There is no systemd at work in the root to be told.
    let shell = |lines: &[&str]| {
        let script = format!("set -e\nsystemctl() {{ :; }}\ncd /tmp/it\n{}", lines.join("\n"));
        root.ok("sh", &["-c", &script]);
    };

    let before = root.traces("bridgefwd");
    let before: Vec<_> = before.into_iter().filter(|path| !path.starts_with("/tmp/")).collect();
    assert_eq!(before, Vec::<String>::new());
    shell(&commands(&note, "Install"));
    let version = root.ok("/usr/local/bin/bridgefwd", &["--version"]);
    assert_eq!(version.trim(), format!("bridgefwd {}", env!("CARGO_PKG_VERSION")));
    let unit = root.ok("cat", &["/etc/systemd/system/bridgefwd.service"]);
    assert!(unit.contains("\nExecStart=/usr/local/bin/bridgefwd run "), "{unit}");
    assert!(root.ok("getent", &["group", "bridgefwd"]).starts_with("bridgefwd:"));
    let owner =
        root.ok("stat", &["-c", "%U:%G %a", "/usr/local/bin/bridgefwd", "/usr/local/bin", "/etc"]);
    assert_eq!(owner, "root:root 755\nroot:root 755\nroot:root 755\n");

    // What an operator wrote is not overwritten by the next version.
    root.write("/etc/bridgefwd/bridgefwd.toml", b"bridges = [\"mine\"]\n");
    shell(&commands(&note, "Install"));
    assert_eq!(root.ok("cat", &["/etc/bridgefwd/bridgefwd.toml"]), "bridges = [\"mine\"]\n");

    let ns = bridgefwd_tests::namespaces::Namespace::new("tarball");
    let down = root.run_in(&ns, "/usr/local/bin/bridgefwd", &["down"]);
    assert_eq!((down.status, &down.stdout[..]), (0, "nothing to remove\n"));
    let removal = commands(&note, "Remove");
    let removal: Vec<_> = removal.into_iter().filter(|line| *line != "bridgefwd down").collect();
    shell(&removal);
    let left = root.traces("bridgefwd");
    let left: Vec<_> = left.into_iter().filter(|path| !path.starts_with("/tmp/")).collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!root.ok("cat", &["/etc/group"]).contains("bridgefwd:"));
}
