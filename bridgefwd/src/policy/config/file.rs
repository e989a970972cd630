//! Files as they are on the disk: read with care, since anything may be there, and replaced at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::failure::{Failure, Result};

/// More than this no configuration has, in bytes: every pair that there can be, several times over.
const LONGEST: u64 = 4 << 20;
/// Mode of a file that was not there before.
const NEW_MODE: u32 = 0o644;

/// Reads a configuration file.
///
/// # Errors
///
/// Names the file: it is not there or may not be read, no ordinary file, too large, or no text.
pub fn read(path: &Path) -> Result<String> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read the configuration {}: {why}", path.display()))
    };
    // A FIFO that nobody writes to would be waited for.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if metadata.is_dir() {
        return Err(cannot(&"it is a folder"));
    }
    if !metadata.is_file() {
        return Err(cannot(&"it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file)
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(cannot(&format!("it has more than {} MiB", LONGEST >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        cannot(&format!("line {line} is no text in UTF-8"))
    })
}

/// Replaces a file at once, or makes it: whoever reads it sees the old text or the new one, also
/// after a crash. Mode and owner stay; a symbolic link stays one, and what it leads to is replaced.
///
/// # Errors
///
/// Names the file. It is as it was, then.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot write the configuration {}: {error}", path.display()))
    };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => path.into(),
        Err(error) => return Err(failed(error)),
    };
    let before = fs::metadata(&real).ok();
    let (temporary, file) = beside(&real).map_err(failed)?;
    let written = fill(file, text, before.as_ref()).and_then(|()| fs::rename(&temporary, &real));
    if written.is_err() {
        // It is an error already; what is left then is a file whose name says what it is.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_folder(&real)).map_err(failed)
}

/// A new file in the same folder, which this process alone can read for now.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // One of that name was left by a process that had this id and was killed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    Ok((temporary, file))
}

fn fill(mut file: File, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    if let Some(before) = before {
        fchown(&file, Some(before.uid()), Some(before.gid()))?;
    }
    let mode = before.map_or(NEW_MODE, |before| before.permissions().mode());
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::tempdir;

    use super::*;

    #[track_caller]
    fn refused(path: &Path, part: &str) {
        let Err(Failure::Usage(why)) = read(path) else { panic!("{} was read", path.display()) };
        assert!(why.contains(part) && why.contains(&path.display().to_string()), "{why}");
    }

    #[test]
    fn whatever_lies_there_is_read_or_refused() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        refused(&at("missing"), "No such file");
        refused(folder.path(), "a folder");
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        refused(&at("fifo"), "no ordinary file");
        refused(Path::new("/dev/zero"), "no ordinary file");
        let listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        refused(&at("socket"), "No such device");
        drop(listener);
        symlink(at("loop"), at("loop")).unwrap();
        refused(&at("loop"), "symbolic link");
        symlink(at("nowhere"), at("dangling")).unwrap();
        refused(&at("dangling"), "No such file");
        fs::write(at("binary"), b"unlisted = 'deny'\nports = \xff\n").unwrap();
        refused(&at("binary"), "line 2 is no text");
        let huge = File::create(at("huge")).unwrap();
        huge.set_len(1 << 40).unwrap();
        refused(&at("huge"), "more than 4 MiB");
        fs::write(at("good"), "ports = true\n").unwrap();
        symlink(at("good"), at("link")).unwrap();
        assert_eq!(read(&at("link")).unwrap(), "ports = true\n");
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_link() {
        let folder = tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        replace(&real, "first\n").unwrap();
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, NEW_MODE);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        let inode = fs::metadata(&real).unwrap().ino();
        symlink("real", &link).unwrap();
        replace(&link, "second\n").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "second\n");
        let metadata = fs::metadata(&real).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
        assert_ne!(metadata.ino(), inode, "another file took its place");
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    }

    #[test]
    fn what_cannot_be_replaced_is_as_it_was() {
        let folder = tempdir().unwrap();
        let dangling = folder.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        for path in [folder.path(), &folder.path().join("no/such"), &dangling] {
            let why = replace(path, "text").unwrap_err();
            assert_eq!(why.exit_status(), 1, "{why}");
            assert!(why.to_string().contains(&path.display().to_string()), "{why}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left");
    }
}
