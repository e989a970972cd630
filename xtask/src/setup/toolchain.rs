//! Compilers that can build for BPF: which there are, and how to call them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::exec;

/// The workspace's `rust-version`.
pub const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Debian's core library for BPF, by the package libstd-rust-web-dev-bpf.
pub const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// Where a compiler comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// rustup's nightly. It builds core itself, from sources.
    Nightly {
        /// Directory of the toolchain.
        sysroot: PathBuf,
    },
    /// Debian's Rust for the web. Its core library for BPF is a package.
    Debian,
}

impl Kind {
    /// The compiler.
    pub fn rustc(&self) -> PathBuf {
        self.program("rustc")
    }

    fn program(&self, name: &str) -> PathBuf {
        match self {
            Self::Nightly { sysroot } => sysroot.join("bin").join(name),
            Self::Debian => Path::new("/usr/bin").join(name),
        }
    }
}

/// A compiler that is there, though perhaps without a core library for BPF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compiler {
    /// Where it comes from.
    pub kind: Kind,
    /// As it names itself, for example `1.96.0`.
    pub release: String,
    /// Major version of its LLVM. The linker must read what it writes.
    pub llvm: u32,
}

impl Compiler {
    /// Whether it is new enough and has core for BPF, as a library or as sources.
    pub fn complete(&self) -> bool {
        let core = match &self.kind {
            Kind::Nightly { sysroot } => {
                sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml")
            }
            Kind::Debian => PathBuf::from(DEBIAN_CORE),
        };
        core.exists()
            && self.kind.program("cargo").exists()
            && numbers(&self.release) >= numbers(OLDEST_RUST)
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rustc = self.kind.rustc();
        write!(f, "{} {} (LLVM {})", rustc.display(), self.release, self.llvm)
    }
}

/// A compiler with all it needs, and the linker for it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Of a complete compiler.
    pub fn new(compiler: Compiler, linker: PathBuf) -> Self {
        Self { compiler, linker }
    }

    /// Its cargo.
    pub fn cargo(&self) -> PathBuf {
        self.compiler.kind.program("cargo")
    }

    /// bpf-linker.
    pub fn linker(&self) -> &Path {
        &self.linker
    }

    /// What its cargo's environment needs.
    pub fn env(&self) -> Vec<(&'static str, PathBuf)> {
        let mut env = vec![("RUSTC", self.compiler.kind.rustc())];
        if self.compiler.kind == Kind::Debian {
            // It is a release, and BPF is for nightlies: no stable interface names that target's
            // assembly and its linker.
            env.push(("RUSTC_BOOTSTRAP", "1".into()));
        }
        env
    }

    /// What its cargo's command line needs.
    pub fn cargo_args(&self) -> &'static [&'static str] {
        match self.compiler.kind {
            Kind::Nightly { .. } => &["-Z", "build-std=core"],
            Kind::Debian => &[],
        }
    }

    /// cargo-clippy of the same toolchain, if it is there.
    pub fn cargo_clippy(&self) -> Option<PathBuf> {
        Some(self.compiler.kind.program("cargo-clippy")).filter(|path| exec::is_executable(path))
    }

    /// Where its compiler comes from.
    pub fn kind(&self) -> &Kind {
        &self.compiler.kind
    }
}

/// rustup's nightly, if there is one.
pub fn nightly() -> Option<Compiler> {
    let rustup = exec::find("rustup")?;
    let rustc =
        exec::answer(exec::foreign(rustup).args(["which", "--toolchain", "nightly", "rustc"]))?;
    let sysroot = Path::new(rustc.trim()).parent()?.parent()?.to_path_buf();
    described(Kind::Nightly { sysroot })
}

/// The system's own compiler, if there is one.
pub fn debian() -> Option<Compiler> {
    described(Kind::Debian)
}

/// Adds a component to rustup's nightly. Fails without network, which is why it may not take long.
pub fn add_component(name: &str) -> anyhow::Result<()> {
    let rustup = exec::find("rustup").context("rustup is gone")?;
    let mut command = exec::foreign(rustup);
    command.args(["component", "add", name, "--toolchain", "nightly"]);
    exec::quiet(&mut command, Duration::from_secs(60)).map(drop)
}

fn described(kind: Kind) -> Option<Compiler> {
    let rustc = kind.rustc();
    if !exec::is_executable(&rustc) {
        return None;
    }
    let (release, llvm) = parse_version(&exec::answer(exec::foreign(rustc).arg("-vV"))?)?;
    Some(Compiler { kind, release, llvm })
}

/// Release and LLVM's major version, out of `rustc -vV`.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let value = |name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    };
    let llvm = numbers(value("LLVM version")?).first().copied()?;
    Some((value("release")?.to_owned(), llvm))
}

/// The leading numbers of a version; a suffix such as `-nightly` ends them.
pub fn numbers(version: &str) -> Vec<u32> {
    let number = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part.get(..digits)?.parse().ok()
    };
    version.split('.').map_while(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_names_its_release_and_its_llvm() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                    binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n\
                    LLVM version: 22.1.8\n";
        assert_eq!(parse_version(text), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(parse_version("release: 1.63.0\n"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.100.0") > numbers("1.95"));
        assert!(numbers("1.95.0") >= numbers("1.95"));
        assert!(numbers("1.63.0") < numbers("1.95"));
        assert_eq!(numbers("1.97.0-nightly"), [1, 97, 0]);
        assert_eq!(numbers("none"), [0_u32; 0]);
    }

    #[test]
    fn only_a_nightly_builds_core() {
        let of = |kind| {
            let compiler = Compiler { kind, release: "1.96.0".into(), llvm: 22 };
            Toolchain::new(compiler, "/cache/bpf-linker".into())
        };
        let nightly = of(Kind::Nightly { sysroot: "/home/a/nightly".into() });
        assert_eq!(nightly.cargo(), Path::new("/home/a/nightly/bin/cargo"));
        assert_eq!(nightly.cargo_args(), ["-Z", "build-std=core"]);
        assert!(nightly.env().iter().all(|(name, _)| *name != "RUSTC_BOOTSTRAP"));
        let debian = of(Kind::Debian);
        assert_eq!(debian.cargo(), Path::new("/usr/bin/cargo"));
        assert!(debian.cargo_args().is_empty());
        assert!(debian.env().iter().any(|(name, _)| *name == "RUSTC_BOOTSTRAP"));
    }
}
