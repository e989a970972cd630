//! A root of its own to install into: this machine's files below an overlay, with a BPF filesystem and
//! a `/run` that nobody else sees. The machine itself stays as it is, and all of it goes away with
//! the mount namespace that it is in.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::bridgefwd::Output;
use crate::namespaces::Namespace;

/// Makes the root, says so, and waits for the end of its standard input.
const MAKE: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for folder in proc sys dev; do mount --rbind "/$folder" "$1/root/$folder"; done
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
mkdir "$1/root/run/shared"
mount --bind "$2" "$1/root/run/shared"
mount -t bpf -o mode=700 bpf "$1/root/sys/fs/bpf"
echo made
exec cat
"#;

/// As a unit is started by systemd: the folders that `ProtectSystem=strict` and
/// `ProtectKernelTunables=yes` make unwritable are, `RuntimeDirectory` and `ReadWritePaths` are not,
/// and what is run has no other capabilities than those that are given.
const CONFINE: &str = r#"
set -e
groups=$1 capabilities=$2
shift 2
mkdir -p -m 755 /run/bridgefwd
mount --bind /run/bridgefwd /run/bridgefwd
mount -o remount,bind,ro /
mount -o remount,bind,ro /run
mount -o remount,bind,ro /sys
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec setpriv --groups "$groups" --bounding-set="-all,$capabilities" --inh-caps=-all --no-new-privs "$@"
"#;

/// The folder with what `cargo xtask dist` has made.
#[must_use]
pub fn folder() -> PathBuf {
    let folder =
        std::env::var_os("BRIDGEFWD_DIST").expect("BRIDGEFWD_DIST: run `cargo xtask test`");
    PathBuf::from(folder)
}

/// The one file there that ends like that.
#[must_use]
#[track_caller]
pub fn made(extension: &str) -> PathBuf {
    let files =
        std::fs::read_dir(folder()).expect("what was made").map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        files.filter(|path| path.to_str().is_some_and(|path| path.ends_with(extension))).collect();
    let [path] = &found[..] else { panic!("one {extension}, not {found:?}") };
    path.clone()
}

/// A process that holds mounts, and the two folders that it has for them; its standard input ends it, and
/// with it they go.
#[derive(Debug)]
pub struct Holder {
    process: Child,
    // Closed, it ends the process.
    input: Option<ChildStdin>,
    folder: TempDir,
    shared: TempDir,
}

impl Holder {
    /// Starts one, given a folder for what it makes and one that is to be seen inside, with pipes for its
    /// standard input and output. Returns it with its first word.
    #[must_use]
    #[track_caller]
    pub fn make(start: impl FnOnce(&Path, &Path) -> Child) -> (Self, String) {
        let folder = || tempfile::Builder::new().prefix("bfwt-root-").tempdir().expect("folder");
        let (folder, shared) = (folder(), folder());
        let mut process = start(folder.path(), shared.path());
        let input = process.stdin.take();
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its word");
        (Self { process, input, folder, shared }, line.trim().into())
    }

    /// The folder that is to be seen inside.
    #[must_use]
    pub fn shared(&self) -> &Path {
        self.shared.path()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.input.take());
        // The mounts go with the last process in their namespace.
        let _ = self.process.wait();
    }
}

/// The root.
#[derive(Debug)]
pub struct Root {
    holder: Holder,
    /// Which namespaces what is started in it enters, as nsenter(1) takes them.
    entry: Vec<String>,
}

impl Default for Root {
    fn default() -> Self {
        Self::new()
    }
}

impl Root {
    /// Nothing is installed in it yet.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let (holder, word) = Holder::make(|folder, shared| {
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", MAKE, "sh"])
                .arg(folder)
                .arg(shared)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("unshare")
        });
        assert_eq!(word, "made", "the root could not be made");
        let entry = vec![format!("--mount=/proc/{}/ns/mnt", holder.process.id())];
        Self::held(holder, entry)
    }

    /// One that somebody holds, and how to enter it.
    #[must_use]
    pub const fn held(holder: Holder, entry: Vec<String>) -> Self {
        Self { holder, entry }
    }

    /// A folder that is the same inside and outside: its path outside, and inside.
    #[must_use]
    pub fn shared(&self) -> (&Path, &'static Path) {
        (self.holder.shared(), Path::new("/run/shared"))
    }

    /// A command that is started in the root.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(&self.entry)
            .arg("chroot")
            .arg(self.holder.folder.path().join("root"))
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .current_dir("/");
        command
    }

    /// A command that is started as a unit is: in a mount namespace where only what it may write to
    /// can be written to, with these groups beside root's and these capabilities (`+bpf,+net_admin`).
    #[must_use]
    pub fn confined(&self, groups: &str, capabilities: &str) -> Command {
        let mut command = self.command("unshare");
        command.args(["--mount", "sh", "-c", CONFINE, "sh", groups, capabilities]);
        command
    }

    /// Runs a command in the root and in a network namespace to its end.
    #[must_use]
    #[track_caller]
    pub fn run_in(&self, ns: &Namespace, program: &str, args: &[&str]) -> Output {
        let mut command = self.command(program);
        crate::bridgefwd::output_in(ns, command.args(args))
    }

    /// Runs a command in the root to its end.
    #[must_use]
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        let output =
            self.command(program).args(args).stdin(Stdio::null()).output().expect("started");
        Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed, and returns its output.
    #[track_caller]
    pub fn ok(&self, program: &str, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(program, args);
        assert_eq!(status, 0, "{program} {args:?}: {stdout}{stderr}");
        stdout
    }

    /// Writes a file in the root.
    #[track_caller]
    pub fn write(&self, path: &str, text: &[u8]) {
        let mut child = self
            .command("sh")
            .args(["-c", "cat > \"$0\"", path])
            .stdin(Stdio::piped())
            .spawn()
            .expect("started");
        child.stdin.take().expect("its input").write_all(text).expect("written");
        assert!(child.wait().expect("ended").success(), "{path}");
    }

    /// Copies a file of this machine to a path in the root.
    #[track_caller]
    pub fn copy(&self, from: &Path, to: &str) {
        self.write(to, &std::fs::read(from).unwrap_or_else(|error| panic!("{from:?}: {error}")));
    }

    /// Everything below the root, which this machine has not, whose path has `part` in it.
    #[must_use]
    #[track_caller]
    pub fn traces(&self, part: &str) -> Vec<String> {
        let upper = self.holder.folder.path().join("upper");
        // The folder is seen from inside the namespace only.
        let mut shell = Command::new("nsenter");
        shell
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.process.id()))
            // What was deleted of the machine's own is a character device.
            .args(["sh", "-c", "cd \"$0\" && find . -not -type c -path \"*$1*\""])
            .arg(&upper)
            .arg(part);
        let output = shell.output().expect("find");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut traces: Vec<_> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line[1..].to_owned())
            .collect();
        for mount in ["/run", "/sys/fs/bpf"] {
            let found = self.ok("find", &[mount, "-path", &format!("*{part}*")]);
            traces.extend(found.lines().map(str::to_owned));
        }
        traces.sort();
        traces
    }
}
