//! Debian's kernels: found in the package lists of its releases, fetched by apt-get, unpacked into the
//! cache.
//!
//! The machine's own apt is not touched: the lists of the other releases, and what is fetched, have
//! folders of their own. Where the packages come from is what the machine's apt is told already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::exec;
use crate::progress::Progress;
use crate::setup::toolchain::numbers;

/// Releases of Debian with a kernel of each age, the oldest first.
const SUITES: [&str; 6] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];
/// The flavour for virtual machines: it has no drivers but theirs.
const FLAVOUR: &str = "cloud-amd64";
/// What the packages of one kernel are called before its release; 7.x is split into the later ones.
const PACKAGES: [&str; 4] = ["linux-image-", "linux-base-", "linux-binary-", "linux-modules-"];
/// How long a download may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// A kernel that is unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// As `uname -r` has it.
    pub release: String,
    /// The compressed kernel.
    pub image: PathBuf,
    /// The folder that has `lib/modules/RELEASE`.
    pub base: PathBuf,
    /// That folder.
    pub modules: PathBuf,
}

/// The newest kernel whose version begins with `version`, from the cache where it is there.
///
/// # Errors
/// No apt, no such kernel, or no network: each says so.
pub fn kernel(cache: &Path, version: &str, progress: &Progress) -> anyhow::Result<Kernel> {
    let apt = Apt::new(cache)?;
    let release = match apt.newest(version)? {
        Some(release) => release,
        None => {
            progress.step(
                "apt-get update, for the lists of other releases of Debian",
                "they have the kernels",
                || apt.update(),
            )?;
            apt.newest(version)?.with_context(|| {
                format!("no kernel {version} ({FLAVOUR}) in Debian's {}", SUITES.join(", "))
            })?
        }
    };
    let root = cache.join(&release);
    if !root.exists() {
        progress.step(
            &format!("fetching Linux {release}"),
            "it is booted under qemu; about 100 MB, once",
            || apt.fetch(&release, &root),
        )?;
    }
    unpacked(&root).with_context(|| format!("{}: remove it and try again", root.display()))
}

/// apt with lists and a cache of our own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(cache: &Path) -> anyhow::Result<Self> {
        let folder = cache.join("apt");
        for part in ["lists/partial", "archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        }
        Ok(Self { folder })
    }

    /// A program of apt's that sees nothing of the machine's own lists.
    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let program = exec::find(program)
            .with_context(|| format!("there is no {program}: the kernels are Debian's packages"))?;
        let mut command = exec::foreign(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}"),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        Ok(command)
    }

    fn update(&self) -> anyhow::Result<()> {
        let get = exec::find("apt-get").context("there is no apt-get")?;
        let targets = exec::answer(
            exec::foreign(get)
                .args(["indextargets", "--format", "$(REPO_URI)"])
                .arg("Created-By: Packages"),
        )
        .context("apt-get does not say where its packages come from")?;
        let mirror = targets
            .lines()
            .find(|uri| uri.ends_with("/debian/"))
            .context("this machine's apt has no mirror of Debian: the kernels are its packages")?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let list: String = SUITES
            .iter()
            .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"))
            .collect();
        fs::write(self.folder.join("sources.list"), list)?;
        exec::quiet(self.command("apt-get")?.args(["-q", "update"]), PATIENCE).map(drop)
    }

    /// The newest release that begins with `version`.
    fn newest(&self, version: &str) -> anyhow::Result<Option<String>> {
        if !self.folder.join("sources.list").exists() {
            return Ok(None);
        }
        let mut search = self.command("apt-cache")?;
        search.args(["search", "--names-only", "^linux-image-[0-9]"]);
        let found = exec::quiet(&mut search, Duration::from_secs(120))?;
        Ok(newest(&String::from_utf8_lossy(&found.stdout), version))
    }

    /// Downloads the packages of a release and unpacks them to `root`, all or nothing.
    fn fetch(&self, release: &str, root: &Path) -> anyhow::Result<()> {
        let partial = root.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let debs = partial.join("debs");
        fs::create_dir_all(&debs)?;
        let exists = |package: &String| -> anyhow::Result<bool> {
            let mut show = self.command("apt-cache")?;
            Ok(exec::answer(show.args(["show", package])).is_some_and(|text| !text.is_empty()))
        };
        let mut packages = Vec::new();
        for package in PACKAGES.map(|name| format!("{name}{release}")) {
            if exists(&package)? {
                packages.push(package);
            }
        }
        let mut download = self.command("apt-get")?;
        download.current_dir(&debs).args(["-q", "download"]).args(&packages);
        if exec::quiet(&mut download, PATIENCE).is_err() {
            // What the lists name may have been replaced since.
            self.update()?;
            exec::quiet(&mut download, PATIENCE)?;
        }
        let tree = partial.join("root");
        for deb in fs::read_dir(&debs)? {
            let mut unpack = exec::foreign("dpkg-deb");
            unpack.arg("-x").arg(deb?.path()).arg(&tree);
            exec::quiet(&mut unpack, PATIENCE)?;
        }
        fs::rename(&tree, root)?;
        fs::remove_dir_all(&partial)?;
        Ok(())
    }
}

/// The newest release that begins with `version`, of what apt-cache found: one package a line.
fn newest(found: &str, version: &str) -> Option<String> {
    let releases = found.lines().filter_map(|line| {
        let release = line.split_whitespace().next()?.strip_prefix("linux-image-")?;
        let rest = release.strip_suffix(FLAVOUR)?.strip_prefix(version)?;
        // 5.1 does not mean 5.10.
        (!rest.starts_with(|next: char| next.is_ascii_digit()) && !release.contains("-rt-"))
            .then_some(release)
    });
    releases.max_by_key(|release| version_key(release)).map(str::to_owned)
}

/// The numbers of a release, to compare by: `6.12.117+deb13-cloud-amd64` is 6, 12, 117, 13.
fn version_key(release: &str) -> Vec<u32> {
    release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .flat_map(numbers)
        .collect()
}

/// What is where in an unpacked kernel. Newer packages have all of it below `usr`, the kernel itself
/// with its modules.
fn unpacked(root: &Path) -> anyhow::Result<Kernel> {
    let children = |folder: PathBuf| {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let is_image = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.display().to_string().starts_with("vmlinuz"))
    };
    for base in [root.to_path_buf(), root.join("usr")] {
        let found = children(base.join("lib/modules")).find(|path| path.join("kernel").exists());
        let Some(modules) = found else { continue };
        let image = children(root.join("boot"))
            .chain(children(modules.clone()))
            .find(is_image)
            .context("the package has no kernel")?;
        let release = modules.file_name().unwrap_or_default().display().to_string();
        return Ok(Kernel { release, image, base, modules });
    }
    bail!("the package has no modules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_version_is_found() {
        let found = "linux-image-5.10.0-9-cloud-amd64 - Linux\n\
                     linux-image-5.10.0-32-cloud-amd64 - Linux\n\
                     linux-image-5.10.0-33-amd64 - Linux\n\
                     linux-image-6.12.9+deb13-cloud-amd64 - Linux\n\
                     linux-image-6.12.117+deb13-cloud-amd64 - Linux\n\
                     linux-image-7.3.4+deb13-cloud-amd64 - Linux\n";
        assert_eq!(newest(found, "5.10").as_deref(), Some("5.10.0-32-cloud-amd64"));
        assert_eq!(newest(found, "6.12").as_deref(), Some("6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest(found, "7").as_deref(), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(newest(found, "5.1"), None);
        assert_eq!(newest(found, "6.1"), None);
    }
}
