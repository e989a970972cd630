//! The control socket: ours alone, for the owner and the group, gone when we are.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::unistd::Gid;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{UnixListener, UnixStream};

use crate::failure::{Failure, Result};

/// Read and write for owner and group.
const SOCKET_MODE: u32 = 0o660;
const DIR_MODE: u32 = 0o755;

/// A group that may use the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Group(u32);

/// The group of that name or number.
///
/// # Errors
///
/// Names the group that does not exist, and says how to make it.
pub fn group(name: &str) -> Result<Group> {
    if let Ok(number) = name.parse() {
        return Ok(Group(number));
    }
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(Group(group.gid.as_raw())),
        Ok(None) => Err(Failure::usage(format!(
            "there is no group {name} for the control socket: make it first (groupadd --system \
             {name})"
        ))),
        Err(errno) => Err(Failure::failed(format!("cannot look up the group {name}: {errno}"))),
    }
}

/// The file of a bound socket. Removes it when dropped, and the folder where it was made for it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another daemon's socket at the same path is not ours to remove.
    identity: (u64, u64),
    made_dir: Option<PathBuf>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove the control socket {}: {error}", self.path.display());
        }
        if let Some(dir) = &self.made_dir {
            // Fails where others put something there, as it should.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Fails where a daemon listens at `path`, or something else is there. Removes what a daemon that
/// was killed left behind.
///
/// # Errors
///
/// Names the socket, and the process that listens.
pub async fn check(path: &Path) -> Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, "look at", &error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(Failure::failed(format!(
            "{} is there and is not a socket: choose another --socket",
            path.display()
        )));
    }
    match UnixStream::connect(path).await {
        Ok(stream) => {
            let pid = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            Err(Failure::failed(format!(
                "the socket {} is in use by a running daemon{pid}: `bridgefwd down` stops it, or \
                 choose another --socket",
                path.display()
            )))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("removing the stale control socket {}", path.display());
            fs::remove_file(path).map_err(|error| failed(path, "remove the stale", &error))
        }
        Err(error) => Err(failed(path, "connect to", &error)),
    }
}

/// Listens at `path`, after [`check`]: for the owner, and for `group` where one is given, else for the
/// owner's.
///
/// # Errors
///
/// Names the socket.
pub fn bind(path: &Path, group: Option<Group>) -> Result<(UnixListener, SocketFile)> {
    let made_dir = make_parent(path)?;
    // From the start with the right mode: whoever connects before a later chmod would be in.
    let before = umask(Mode::from_raw_mode(0o777 & !SOCKET_MODE));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(|error| failed(path, "listen at", &error))?;
    let metadata = fs::symlink_metadata(path).map_err(|error| failed(path, "look at", &error))?;
    let identity = (metadata.dev(), metadata.ino());
    let file = SocketFile { path: path.into(), identity, made_dir };
    if let Some(Group(number)) = group {
        nix::unistd::chown(path, None, Some(Gid::from_raw(number))).map_err(|errno| {
            Failure::failed(format!(
                "cannot give the control socket {} to the group {number}: {errno}; that takes a \
                 member of the group, or CAP_CHOWN",
                path.display()
            ))
        })?;
    }
    Ok((listener, file))
}

/// The folder of the socket, where it had to be made.
fn make_parent(path: &Path) -> Result<Option<PathBuf>> {
    let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) else {
        return Ok(None);
    };
    let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir);
    made.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(DIR_MODE))).map_err(
        |error| {
            Failure::failed(format!(
                "cannot make the folder {} for the control socket: {error}",
                dir.display()
            ))
        },
    )?;
    Ok(Some(dir.into()))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot {what} the control socket {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bridgefwd-socket-{}-{name}", std::process::id()))
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group("root").unwrap(), Group(0));
        assert_eq!(group("4242").unwrap(), Group(4242));
        let why = group("bridgefwd-no-such-group").unwrap_err();
        assert!(matches!(&why, Failure::Usage(text) if text.contains("groupadd")), "{why}");
    }

    #[tokio::test]
    async fn a_socket_is_given_to_its_group() {
        let path = scratch("group.sock");
        let own = nix::unistd::getegid().as_raw();
        let (_listener, _file) = bind(&path, Some(Group(own))).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.gid(), metadata.permissions().mode() & 0o777), (own, SOCKET_MODE));
    }

    #[tokio::test]
    async fn used_stale_and_foreign() {
        let dir = scratch("dir");
        let path = dir.join("s.sock");
        check(&path).await.unwrap();
        let (listener, file) = bind(&path, None).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, DIR_MODE);
        let why = check(&path).await.unwrap_err().to_string();
        assert!(why.contains(&format!("pid {}", std::process::id())), "{why}");

        drop(listener);
        check(&path).await.unwrap();
        assert!(!path.exists(), "stale, so removed");

        fs::write(&path, "not a socket").unwrap();
        assert!(check(&path).await.unwrap_err().to_string().contains("not a socket"));
        fs::remove_file(&path).unwrap();
        drop(file);
        assert!(!dir.exists(), "made for the socket, so removed");
    }
}
