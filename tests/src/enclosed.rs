//! A program that works in a root ([`Root`]) and in namespaces of its own, for processes and mounts: all
//! that it has started, and all that it has written, goes with it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Stdio};

use crate::bridgefwd::Output;
use crate::command::only_child;
use crate::installed::{Root, entry_of};
use crate::namespaces::Namespace;

/// First process of its process namespace: makes the root that of its mount namespace, as programs want it
/// that make such namespaces themselves, starts the program, and waits for the end of its standard input.
const FIRST_PROCESS: &str = r#"
set -e
cd "$1"
mount -t proc proc proc
pivot_root . .
umount --lazy .
cd /
echo made
sh -c "$2" >/run/shared/log 2>&1 </dev/null &
read -r nothing || exit 0
"#;

/// The program, and its root.
#[derive(Debug)]
pub struct Enclosed {
    child: Child,
    /// Closed, it ends the first process, and the kernel all others.
    life: Option<ChildStdin>,
    root: Root,
}

impl Enclosed {
    /// Starts it, as a script of the shell, in this network namespace.
    #[must_use]
    #[track_caller]
    pub fn start(ns: &Namespace, script: &str) -> Self {
        let mut root = Root::new();
        let mut command = root.beside("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"])
            .args(["sh", "-c", FIRST_PROCESS, "sh"])
            .arg(root.path())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = ns.run(|| command.spawn().expect("unshare"));
        let life = child.stdin.take();
        let mut word = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut word).expect("its word");
        assert_eq!(word, "made\n", "no first process");
        let first = only_child(child.id()).expect("the first process");
        root.enter_by(entry_of(first), "/".into());
        Self { child, life, root }
    }

    /// The root, to do more in.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// Runs a command beside the program, which must succeed. Returns what it printed, without the last
    /// newline.
    #[track_caller]
    pub fn ok(&self, program: &str, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.root.run(program, args);
        assert_eq!(status, 0, "{program} {args:?}: {stdout}{stderr}\n{}", self.log());
        stdout.trim_end().to_owned()
    }

    /// What the program has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.shared().0.join("log")).unwrap_or_default()
    }
}

impl Drop for Enclosed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what was enclosed said:\n{}", self.log());
        }
        drop(self.life.take());
        let _ = self.child.wait();
    }
}
