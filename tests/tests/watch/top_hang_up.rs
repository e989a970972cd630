//! `bridgefwd top` where its terminal goes away without a signal: nobody told it, so it has to see
//! for itself.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::{Bridgefwd, binary};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::wait::{PATIENCE, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::rig::Rig;

/// How soon it has to end. It sees it at once; the rest is for a machine with other work.
const SOON: Duration = Duration::from_secs(1);

/// `top` on a terminal that is not the controlling one of anybody: no SIGHUP tells of its end.
struct Orphan(Child);

impl Orphan {
    fn start(ns: &Namespace, bridgefwd: &Bridgefwd, every: &str, terminal: &OwnedFd) -> Self {
        let end = || terminal.try_clone().expect("a descriptor");
        let mut command = Command::new(binary());
        command.arg("--socket").arg(bridgefwd.socket());
        command.arg("--pin-dir").arg(&bridgefwd.pin_dir).args(["top", "--every", every]);
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        Self(ns.run(|| command.spawn().expect("top")))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both ends of a terminal; the program's end without becoming anybody's controlling terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name, flags, Mode::empty()).expect("the other end");
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).expect("a size");
    (ours, theirs)
}

/// Reads what is drawn, from a terminal's near end, until `text` is among it, and closes that end.
#[track_caller]
fn close_after(text: &'static str, ours: OwnedFd) {
    let (sender, seen) = channel();
    let reader = std::thread::spawn(move || {
        let (mut ours, mut drawn, mut bytes) = (File::from(ours), Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = ours.read(&mut bytes) {
            drawn.extend_from_slice(&bytes[..read]);
            if drawn.windows(text.len()).any(|window| window == text.as_bytes()) {
                break;
            }
        }
        drop(ours);
        // Nobody may wait for it any more.
        let _ = sender.send(String::from_utf8_lossy(&drawn).into_owned());
    });
    let drawn = seen.recv_timeout(PATIENCE).expect("it draws");
    reader.join().expect("the reader");
    assert!(drawn.contains(text), "{drawn}");
}

#[test]
fn ends_when_its_terminal_has_gone() {
    needs_root!();
    let rig = Rig::new();
    // With the longest pause there is, nothing but the terminal can have woken it.
    for every in ["100ms", "1h"] {
        let (ours, theirs) = terminal();
        let mut top = Orphan::start(&rig.router.ns, &rig.bridgefwd, every, &theirs);
        drop(theirs);
        close_after("br-a", ours);
        let gone = Instant::now();
        let status = poll(SOON, || top.0.try_wait().expect("its status"));
        let status = status.unwrap_or_else(|| panic!("--every {every}: it goes on without one"));
        assert!(status.success(), "--every {every}: {status} after {:?}", gone.elapsed());
    }
}
