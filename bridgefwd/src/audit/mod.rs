//! The audit log: what happens, a line of JSON each, in a file that is only ever appended to. When it
//! has its size it gets a number, and the oldest one goes, so all of them never take more than that.

pub mod search;
pub mod whois;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::api::events::Event;
use crate::failure::{Failure, Result};

/// Mode of its files: who may read them can see who talked with whom.
const MODE: u32 = 0o640;

/// How many files a log is kept in.
const FILES: u32 = 8;
/// How large all of them get where nothing else is said, in MiB.
pub const DEFAULT_SIZE_MB: u32 = 128;
/// How large they can get, in MiB.
pub const SIZES_MB: RangeInclusive<u32> = 1..=1 << 20;

/// Where the log is, and how large it gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file that is written to; older ones have `.1`, `.2` and so on behind.
    pub path: PathBuf,
    /// How large one file gets, in bytes.
    pub file_size: u64,
    /// How many files there are, the one that is written to included.
    pub files: u32,
}

impl Place {
    /// A log of that size, in MiB, all its files together.
    #[must_use]
    pub fn new(path: PathBuf, size_mb: u32) -> Self {
        Self { path, file_size: (u64::from(size_mb) << 20) / u64::from(FILES), files: FILES }
    }

    /// The size of all its files, in MiB.
    #[must_use]
    pub const fn size_mb(&self) -> u64 {
        (self.file_size * self.files as u64) >> 20
    }

    /// The files, from the one that is written to back to the oldest, whether they are there or not.
    pub fn paths(&self) -> impl DoubleEndedIterator<Item = PathBuf> {
        let older = |number: u32| {
            let mut name = OsString::from(self.path.as_os_str());
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let path = self.path.clone();
        (0..self.files).map(move |number| if number == 0 { path.clone() } else { older(number) })
    }
}

/// The log, by its one writer.
#[derive(Debug)]
pub struct Log {
    place: Place,
    file: File,
    size: u64,
}

impl Log {
    /// Opens it, or makes it. A line that a crash has left torn is ended, so that it spoils no other.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub fn open(place: Place) -> Result<Self> {
        let failed = |error| cannot(&place.path, "open", &error);
        let (file, size) = open(&place.path).map_err(failed)?;
        Ok(Self { place, file, size })
    }

    /// The file that is written to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Appends lines, in order.
    ///
    /// # Errors
    ///
    /// Names the file. What could not be written is lost; the log goes on where it can.
    pub fn append(&mut self, events: &[Event]) -> Result<()> {
        let failed = |path: &Path, error| cannot(path, "write", &error);
        // One write for as many lines as fit: a reader never sees half of one that another follows.
        let mut lines = String::new();
        for event in events {
            let line = event.line();
            let ahead = self.size + lines.len() as u64;
            if ahead > 0 && ahead + line.len() as u64 > self.place.file_size {
                let path = &self.place.path;
                write(&mut self.file, &mut self.size, &lines).map_err(|e| failed(path, e))?;
                lines.clear();
                self.rotate().map_err(|error| failed(&self.place.path, error))?;
            }
            lines.push_str(&line);
        }
        let path = &self.place.path;
        write(&mut self.file, &mut self.size, &lines).map_err(|error| failed(path, error))
    }

    /// Gives every file the next number, and begins another one.
    fn rotate(&mut self) -> io::Result<()> {
        // What is renamed shall be there after a crash as well.
        self.file.sync_data()?;
        let paths: Vec<_> = self.place.paths().collect();
        for pair in paths.windows(2).rev() {
            let [newer, older] = pair else { continue };
            match fs::rename(newer, older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if let [only] = &paths[..] {
            fs::remove_file(only)?;
        }
        (self.file, self.size) = open(&self.place.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // A FIFO that nobody reads would be waited for, and a link may lead anywhere.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    let mut size = metadata.len();
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

fn write(file: &mut File, size: &mut u64, lines: &str) -> io::Result<()> {
    file.write_all(lines.as_bytes())?;
    *size += lines.len() as u64;
    Ok(())
}

fn cannot(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot {what} the audit log {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::api::events::What;

    fn place(path: PathBuf) -> Place {
        Place { path, file_size: 1000, files: 3 }
    }

    fn event(pid: u32) -> Event {
        Event::now(What::Started { pid })
    }

    /// Every event that can be read, from the oldest on.
    fn pids(place: &Place) -> Vec<u32> {
        let texts = place.paths().rev().filter_map(|path| fs::read_to_string(path).ok());
        let lines: Vec<_> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Event>(line).ok());
        events
            .map(|event| match event.what {
                What::Started { pid } => pid,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn it_never_gets_larger_and_keeps_the_newest() {
        let folder = tempdir().unwrap();
        let place = place(folder.path().join("audit.jsonl"));
        let mut log = Log::open(place.clone()).unwrap();
        for pid in 0..200 {
            log.append(&[event(pid)]).unwrap();
        }
        log.append(&(200..300).map(event).collect::<Vec<_>>()).unwrap();
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 1000));
        let kept = pids(&place);
        assert!(kept.len() > 20, "{kept:?}");
        assert_eq!(kept, (300 - kept.len() as u32..300).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let folder = tempdir().unwrap();
        let place = place(folder.path().join("audit.jsonl"));
        Log::open(place.clone()).unwrap().append(&[event(1), event(2)]).unwrap();
        let text = fs::read_to_string(&place.path).unwrap();
        fs::write(&place.path, &text[..text.len() - 10]).unwrap();
        Log::open(place.clone()).unwrap().append(&[event(3)]).unwrap();
        assert_eq!(pids(&place), [1, 3]);
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let folder = tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("no/such"), "/dev/null".into()] {
            let why = Log::open(place(path.clone())).unwrap_err().to_string();
            assert!(why.contains(&path.display().to_string()), "{why}");
        }
    }
}
