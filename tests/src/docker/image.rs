//! The image that all containers are made of: busybox, and a page that says who asks for it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Its name.
pub const IMAGE: &str = "busybox-of-the-tests";
/// The command line of its server, on port 80.
pub const SERVER: [&str; 6] = ["httpd", "-f", "-p", "0.0.0.0:80", "-h", "/www"];

/// Says the address that the request came from.
const PAGE: &str =
    "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' \"$REMOTE_ADDR\"\n";

/// Fetches that page from the address given. (Debian's static busybox has a wget that crashes where it is
/// given a time.)
const FETCH: &str = "#!/bin/sh\nprintf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 1 \"$1\" \"${2:-80}\" | tail -n 1\n";

/// Its files, packed once.
pub fn tar() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(pack)
}

fn pack() -> Vec<u8> {
    let busybox = super::find("busybox").expect("busybox");
    let root = TempDir::new().expect("folder");
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "www/cgi-bin"] {
        fs::create_dir_all(at(folder)).expect("folder");
    }
    fs::copy(&busybox, at("bin/busybox")).expect("busybox");
    let applets = Command::new(&busybox).arg("--list").output().expect("busybox").stdout;
    let applets = String::from_utf8(applets).expect("names");
    for applet in applets.lines().filter(|name| *name != "busybox").collect::<BTreeSet<_>>() {
        symlink("busybox", at("bin").join(applet)).expect("applet");
    }
    for (path, script) in [("www/cgi-bin/who", PAGE), ("bin/fetch", FETCH)] {
        fs::write(at(path), script).expect("script");
        fs::set_permissions(at(path), fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root.path()).args(["-c", "."]).stdin(Stdio::null());
    let packed = tar.output().expect("tar");
    assert!(packed.status.success(), "tar: {packed:?}");
    packed.stdout
}
