//! The systemd unit by the word of systemd itself.

use std::process::Command;

use bridgefwd_tests::command::run;
use bridgefwd_tests::installed::{Root, made};
use bridgefwd_tests::needs_root;

const UNIT: &str = "/usr/lib/systemd/system/bridgefwd.service";
/// Most exposure, on systemd's scale from 0 (none) to 10.
const MOST_EXPOSED: f32 = 2.1;

#[test]
fn systemd_has_nothing_to_say_about_it() {
    needs_root!();
    let root = Root::new();
    root.copy(&made(".deb"), "/tmp/bridgefwd.deb");
    root.ok("dpkg", &["--no-triggers", "--install", "/tmp/bridgefwd.deb"]);
    let verified =
        root.command("systemd-analyze").args(["verify", "--man=no", UNIT]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("bridgefwd"), "{said}");
}

#[test]
fn it_is_hardly_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let (package, folder) = (made(".deb"), folder.path().to_str().unwrap());
    run("dpkg-deb", &["--extract", package.to_str().unwrap(), folder]);
    let unit = format!("{folder}{UNIT}");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", &unit])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = said.split("exposure level for bridgefwd.service: ").nth(1).expect(&said);
    let figure: f32 = figure.split(' ').next().unwrap().parse().unwrap();
    println!("exposure level: {figure}");
    assert!(figure <= MOST_EXPOSED, "{said}");
}
