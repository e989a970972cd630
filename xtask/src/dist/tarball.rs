//! The tarball: what the package holds, for `/usr/local`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{LIMIT, SHELLS, version};
use crate::exec;
use crate::workspace::Workspace;

/// Where each shell looks for completions of what was not packaged, in the order of [`SHELLS`].
const COMPLETIONS: [&str; 3] =
    ["bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d"];

/// Makes it of what is staged. Returns its path.
pub fn make(workspace: &Workspace, staging: &Path, made: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("bridgefwd-{}-{}-linux", version(workspace)?, std::env::consts::ARCH);
    let root = staging.join(&name);
    let packaging = workspace.root.join("bridgefwd").join("packaging");

    put(&staging.join("bridgefwd"), &root.join("usr/local/bin/bridgefwd"), 0o755)?;
    for entry in fs::read_dir(staging.join("man"))? {
        let page = entry?;
        let place = root.join("usr/local/share/man/man8").join(page.file_name());
        put(&page.path(), &place, 0o644)?;
    }
    for ((shell, file), folder) in SHELLS.into_iter().zip(COMPLETIONS) {
        let place = root.join("usr/local/share").join(folder).join(file);
        put(&staging.join(shell).join(file), &place, 0o644)?;
    }
    let unit = fs::read_to_string(packaging.join("bridgefwd.service"))?;
    let place = root.join("etc/systemd/system/bridgefwd.service");
    fs::create_dir_all(root.join("etc/systemd/system"))?;
    fs::write(&place, for_usr_local(&unit))?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644))?;
    put(
        &packaging.join("sysusers.d/bridgefwd.conf"),
        &root.join("etc/sysusers.d/bridgefwd.conf"),
        0o644,
    )?;
    let example = workspace.root.join("docs/bridgefwd.toml");
    // Not under its own name: what was written there must survive the next version.
    put(&example, &root.join("etc/bridgefwd/bridgefwd.toml.example"), 0o644)?;
    put(&packaging.join("INSTALL"), &root.join("INSTALL"), 0o644)?;
    for file in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-GPL", "LICENSE-MIT", "README.md"] {
        put(&workspace.root.join(file), &root.join(file), 0o644)?;
    }

    let path = made.join(format!("{name}.tar.gz"));
    let mut tar = exec::foreign("tar");
    // The same sources give the same bytes.
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"])
        .args(["--use-compress-program=gzip -9n", "-cf"])
        .arg(&path)
        .arg("-C")
        .arg(staging)
        .arg(&name);
    exec::quiet(&mut tar, LIMIT)?;
    fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
    Ok(path)
}

fn put(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let folder = to.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| to.display().to_string())
}

/// The unit, with the program where the tarball puts it.
fn for_usr_local(unit: &str) -> String {
    unit.replace("/usr/bin/bridgefwd", "/usr/local/bin/bridgefwd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_what_the_tarball_holds() {
        let unit = "ExecStart=/usr/bin/bridgefwd run\nExecReload=/usr/bin/bridgefwd reload\n";
        let local =
            "ExecStart=/usr/local/bin/bridgefwd run\nExecReload=/usr/local/bin/bridgefwd reload\n";
        assert_eq!(for_usr_local(unit), local);
    }
}
