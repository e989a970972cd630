//! Where things are: the sources, cargo's target directory, and the cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The directories of this checkout.
#[derive(Debug)]
pub struct Workspace {
    /// Root of the sources.
    pub root: PathBuf,
    /// Cargo's target directory, absolute.
    pub target: PathBuf,
    /// Tools that outlive `cargo clean`.
    pub cache: PathBuf,
}

impl Workspace {
    /// From where this program was built, `CARGO_TARGET_DIR`, `XDG_CACHE_HOME` and `HOME`.
    pub fn find() -> anyhow::Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .with_context(|| {
                format!(
                    "{}: no workspace there any more; start me by `cargo xtask`",
                    manifest.display()
                )
            })?
            .to_path_buf();
        // Cargo takes a relative one from its own current directory, which is ours too.
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
            Some(value) => std::path::absolute(Path::new(&value))?,
            None => root.join("target"),
        };
        let cache = cache_directory(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
            .context("neither XDG_CACHE_HOME nor HOME is set: set one, the build tools go there")?;
        Ok(Self { root, target, cache })
    }

    /// The eBPF object that bridgefwd's build embeds.
    pub fn object(&self) -> PathBuf {
        self.target.join("bpf").join("bridgefwd.o")
    }

    /// The one that `bridgefwd trace` loads.
    pub fn drops_object(&self) -> PathBuf {
        self.target.join("bpf").join("bridgefwd-drops.o")
    }

    /// The program with the object inside.
    pub fn binary(&self) -> PathBuf {
        self.target.join("release").join("bridgefwd")
    }

    /// As one would type it from the root of the sources.
    pub fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// The XDG rule: an absolute `XDG_CACHE_HOME`, else `.cache` in the home directory.
fn cache_directory(
    xdg: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    xdg.map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            home.map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .map(|home| home.join(".cache"))
        })
        .map(|base| base.join("bridgefwd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_the_xdg_rule() {
        let check = |xdg: Option<&str>, home: Option<&str>, want: Option<&str>| {
            let got = cache_directory(xdg.map(Into::into), home.map(Into::into));
            assert_eq!(got.as_deref(), want.map(Path::new));
        };
        check(Some("/var/c"), Some("/home/a"), Some("/var/c/bridgefwd"));
        check(None, Some("/home/a"), Some("/home/a/.cache/bridgefwd"));
        check(Some("relative"), Some("/home/a"), Some("/home/a/.cache/bridgefwd"));
        check(Some(""), None, None);
    }
}
