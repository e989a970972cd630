//! What must hold of the packet logic, whatever it is given.
//!
//! Each target takes any bytes, makes of them what the eBPF program could meet, and panics where a
//! promise is broken. Fuzzers look for such bytes; what they have found is kept and tried again by
//! this crate's own tests, which need no fuzzer.
#![allow(clippy::expect_used, reason = "a broken promise is a panic")]

pub mod bytes;
pub mod decide;
pub mod kernel;
pub mod parse;
pub mod translate;

/// A target: any bytes; it panics where a promise is broken.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 3] =
    [("parse", parse::run), ("decide", decide::run), ("translate", translate::run)];

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// The files of a folder of `fuzz/`.
    fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder).join(target);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.file_name().is_some_and(|name| name != "README"));
        files.sort();
        files
    }

    #[test]
    fn what_fuzzers_have_found_and_begin_with() {
        for (name, target) in TARGETS {
            let seeds = inputs("seeds", name);
            assert!(!seeds.is_empty(), "{name} has nothing to begin with");
            for path in inputs("fixtures", name).into_iter().chain(seeds) {
                println!("{}", path.display());
                target(&std::fs::read(&path).unwrap());
            }
        }
    }

    /// The same as a fuzzer does, for as long as a test may take, from a fixed beginning.
    #[test]
    fn random_bytes() {
        let mut state = 0x0123_4567_89ab_cdef_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for (_, target) in TARGETS {
            for _ in 0..20_000 {
                let length = (next() % 200) as usize;
                let mut bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
                // Mostly small numbers: choices, lengths, known protocols.
                if next() % 2 == 0 {
                    bytes.iter_mut().for_each(|byte| *byte &= 0x1f);
                }
                target(&bytes);
            }
        }
    }
}
