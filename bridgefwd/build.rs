//! Finds the eBPF objects that the library embeds. `cargo xtask build` makes them: another compiler
//! builds them, so cargo cannot by itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let Some(target) = target_directory() else {
        println!("cargo::error=cannot tell where cargo's target directory is");
        return ExitCode::FAILURE;
    };
    let objects =
        [("BRIDGEFWD_EBPF_OBJECT", "bridgefwd.o"), ("BRIDGEFWD_DROPS_OBJECT", "bridgefwd-drops.o")];
    for (variable, name) in objects {
        let object = target.join("bpf").join(name);
        println!("cargo::rerun-if-changed={}", object.display());
        if !object.is_file() {
            println!(
                "cargo::error={}: the eBPF object is not there: run `cargo xtask build`",
                object.display()
            );
            return ExitCode::FAILURE;
        }
        println!("cargo::rustc-env={variable}={}", object.display());
    }
    ExitCode::SUCCESS
}

/// `CARGO_TARGET_DIR`, or the workspace's own. A relative one is cargo's, and cargo runs this
/// program from the package's directory: it is taken from `OUT_DIR` instead.
fn target_directory() -> Option<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR").map(PathBuf::from) {
        Some(path) if path.is_absolute() => Some(path),
        Some(path) if !path.as_os_str().is_empty() => {
            let out = PathBuf::from(env::var_os("OUT_DIR")?);
            out.ancestors().find(|ancestor| ancestor.ends_with(&path)).map(Path::to_path_buf)
        }
        _ => Some(PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).parent()?.join("target")),
    }
}
