//! A virtual machine that runs one script and ends: qemu in software, on any host.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::exec;

/// What the machine has. Two processors, for what goes wrong between them.
const PROCESSORS: &str = "2";
const MEMORY_MIB: &str = "3072";

/// Boots `image` with `archive`, and hands each line that the script prints to `line`. The exit status
/// of the script.
///
/// # Errors
/// qemu that does not start, a machine that ends without a status (with the end of its console, kept in
/// `console`), or one that takes longer than `limit`: it is killed.
pub fn run(
    image: &Path,
    archive: &Path,
    console: &Path,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> anyhow::Result<i32> {
    let qemu = exec::find("qemu-system-x86_64").context("there is no qemu-system-x86_64")?;
    let mut command = Command::new(qemu);
    command
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35"])
        .args(["-smp", PROCESSORS, "-m", MEMORY_MIB])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(archive)
        .args([
            "-append",
            "console=ttyS0 panic=-1 loglevel=5 nokaslr mitigations=off random.trust_cpu=on",
        ])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Machine(command.spawn().with_context(|| exec::line(&command))?);
    let output = machine.0.stdout.take().context("qemu has no output")?;
    let (sender, lines) = std::sync::mpsc::channel();
    // Apart, so that a machine that hangs is noticed.
    std::thread::spawn(move || {
        for text in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + limit;
    let mut status = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                let text = text.trim_end_matches('\r');
                match text.strip_prefix("@@ status ") {
                    Some(number) => status = number.trim().parse().ok(),
                    None => line(text),
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                bail!("the machine was stopped after {} s", limit.as_secs())
            }
        }
    }
    machine.0.wait()?;
    status.with_context(|| {
        let said = std::fs::read(console).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let last: Vec<_> = said.lines().rev().take(25).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        format!("the machine ended without a status; its console:\n{}", last.join("\n"))
    })
}

/// Ends with this value, however that ends.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It is gone already, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
