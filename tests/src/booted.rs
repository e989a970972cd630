//! A root of its own ([`Root`]) with systemd at work in it: as the first process of its own namespaces and
//! cgroup, in a network namespace of the test's. It starts nothing of what this machine has enabled.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bridgefwd::Output;
use crate::command::only_child;
use crate::installed::{Holder, Root, entry_of};
use crate::namespaces::{Namespace, unique_name};
use crate::skip::skipped;
use crate::wait::{PATIENCE, poll};

const SYSTEMD: &str = "/lib/systemd/systemd";

/// Starts it, says so, waits for the end of its standard input, and takes all of it away.
const BOOT: &str = r#"
folder=$1 shared=$2 name=$3 inside=$4
cannot() { echo "cannot: $*"; exit; }
mount -t tmpfs tmpfs "$folder" && mkdir "$folder/upper" "$folder/work" "$folder/root" "$folder/cgroup" || exit
mount -t cgroup2 cgroup2 "$folder/cgroup" || cannot "mount cgroup2"
cgroup=$folder/cgroup/$name
mkdir "$cgroup" || cannot "make a cgroup"
sh -c 'echo $$ > "$0/cgroup.procs" && exec unshare --mount --propagation private --pid --fork --kill-child \
    --uts --ipc --cgroup sh -c "$1" sh "$2" "$3"' "$cgroup" "$inside" "$folder" "$shared" > "$shared/console" 2>&1 &
child=$!
echo "made $child"
cat
kill -KILL "$child"
wait "$child" 2> /dev/null
[ ! -e "$cgroup/cgroup.kill" ] || echo 1 > "$cgroup/cgroup.kill"
tries=200
while [ "$tries" -gt 0 ] && ! find "$cgroup" -depth -type d -exec rmdir {} + 2> "$folder/left"; do
    tries=$((tries - 1))
    sleep 0.05
done
[ "$tries" -gt 0 ] || cat "$folder/left" >&2
"#;

/// Inside of the namespaces. Of the kernel's settings nothing can be changed there. Units are stopped
/// from starting that are for a whole machine, and all that this machine has enabled.
const INSIDE: &str = r#"
set -e
root=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf -o mode=700 bpf "$root/sys/fs/bpf"
for folder in dev run tmp; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/shared"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount --bind "$2" "$root/run/shared"
units=$root/etc/systemd/system
mkdir -p "$units"
rm -rf "$units"/*.wants "$units"/*.requires
for unit in udevd modules-load sysctl remount-fs random-seed firstboot machine-id-commit hwdb-update update-utmp; do
    ln -sf /dev/null "$units/systemd-$unit.service"
done
for unit in udevd-kernel udevd-control; do ln -sf /dev/null "$units/systemd-$unit.socket"; done
tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
cd "$root"
pivot_root . .
umount --lazy .
export container=lxc
exec chroot . /lib/systemd/systemd --system --unit=basic.target
"#;

/// The root; all of it ends with this.
#[derive(Debug)]
pub struct Booted(Root);

impl Booted {
    /// Boots it in this network namespace. Prints that the calling test is skipped, and why, where that
    /// cannot be here.
    #[must_use]
    #[track_caller]
    pub fn new(ns: &Namespace) -> Option<Self> {
        if !Path::new(SYSTEMD).exists() {
            assert!(std::env::var_os("CI").is_none(), "CI must have systemd");
            skipped("needs systemd, which is not installed");
            return None;
        }
        let made = Holder::make(|folder, shared| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "sh", "-c", BOOT, "sh"]);
            command.arg(folder).arg(shared).arg(unique_name("systemd")).arg(INSIDE);
            ns.run(|| {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare")
            })
        });
        let (holder, word) = made;
        let Some(pid) = word.strip_prefix("made ") else {
            let reason = format!("systemd cannot be started in a root of its own: {word}");
            assert!(std::env::var_os("CI").is_none(), "CI must be able to: {reason}");
            skipped(&reason);
            return None;
        };
        let pid = pid.parse().expect("a number");
        let first = poll(PATIENCE, || {
            let child = only_child(pid)?;
            // Until then, what is there is the shell that makes the root.
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        });
        let console_file = holder.shared().join("console");
        let console = || fs::read_to_string(&console_file).unwrap_or_default();
        let Some(first) = first else { panic!("systemd did not start: {}", console()) };
        let this = Self(Root::held(holder, entry_of(first), "/".into()));
        let up = || {
            let active = this.systemctl(&["is-active", "--quiet", "basic.target"]);
            (active.status == 0).then_some(())
        };
        let journal = || this.run("journalctl", &["--no-pager"]).stdout;
        assert!(poll(PATIENCE, up).is_some(), "systemd is not up: {}{}", console(), journal());
        Some(this)
    }

    /// Runs `systemctl`.
    #[must_use]
    #[track_caller]
    pub fn systemctl(&self, args: &[&str]) -> Output {
        self.0.run("systemctl", args)
    }

    /// A property of a unit.
    #[must_use]
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", unit, "--value", "--property", name]);
        assert_eq!(output.status, 0, "{}", output.stderr);
        output.stdout.trim().to_owned()
    }

    /// What a unit has written to the journal, and systemd of it.
    #[must_use]
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.0.run("journalctl", &["--no-pager", "--output=cat", "--unit", unit]).stdout
    }
}

impl Deref for Booted {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.0
    }
}
