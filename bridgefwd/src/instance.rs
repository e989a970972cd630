//! Which bridgefwd: one a network namespace, known by its socket and its pins.

use std::path::{Path, PathBuf};

/// Where named network namespaces are found, as iproute2 has it.
pub const NETNS_DIR: &str = "/run/netns";

/// What the global options `--netns`, `--socket` and `--pin-dir` come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The network namespace as the user named it; `None` for the caller's own.
    pub netns: Option<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// The folder in bpffs that holds maps and links.
    pub pin_dir: PathBuf,
}

impl Instance {
    /// Fills in what was not given. With `--netns` the defaults carry its name, so that each
    /// namespace's daemon is reached by `--netns` alone.
    #[must_use]
    pub fn new(netns: Option<String>, socket: Option<PathBuf>, pin_dir: Option<PathBuf>) -> Self {
        let suffix = netns.as_deref().map(netns_label);
        let name = suffix.map_or_else(|| "bridgefwd".into(), |label| format!("bridgefwd-{label}"));
        Self {
            socket: socket
                .unwrap_or_else(|| Path::new("/run/bridgefwd").join(format!("{name}.sock"))),
            pin_dir: pin_dir.unwrap_or_else(|| Path::new("/sys/fs/bpf").join(name)),
            netns,
        }
    }

    /// The file that stands for the network namespace.
    #[must_use]
    pub fn netns_path(&self) -> Option<PathBuf> {
        self.netns.as_deref().map(|netns| {
            if netns.contains('/') {
                PathBuf::from(netns)
            } else {
                Path::new(NETNS_DIR).join(netns)
            }
        })
    }
}

/// A namespace's name, fit for a file name: `/run/netns/lab` and `lab` are the same.
fn netns_label(netns: &str) -> String {
    let short = netns.strip_prefix(NETNS_DIR).unwrap_or(netns).trim_matches('/');
    short.replace(['/', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(netns: &str) -> Instance {
        Instance::new(Some(netns.into()), None, None)
    }

    #[test]
    fn defaults_follow_the_namespace() {
        let here = Instance::new(None, None, None);
        assert_eq!(here.socket, Path::new("/run/bridgefwd/bridgefwd.sock"));
        assert_eq!(here.pin_dir, Path::new("/sys/fs/bpf/bridgefwd"));
        assert_eq!(instance("lab").pin_dir, Path::new("/sys/fs/bpf/bridgefwd-lab"));
        assert_eq!(instance("/run/netns/lab").socket, instance("lab").socket);
        assert_eq!(instance("lab").netns_path(), Some(PathBuf::from("/run/netns/lab")));
        assert_eq!(
            instance("/proc/7/ns/net").pin_dir,
            Path::new("/sys/fs/bpf/bridgefwd-proc_7_ns_net")
        );
    }
}
