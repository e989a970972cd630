//! Loads every program, and says how many instructions the kernel's verifier looked at.
//!
//! One line a program, `program NAME INSTRUCTIONS`, and one that says by what programs are attached here.
//! What is refused is shown with the end of the verifier's log; the exit status is 1 then. With the name of a
//! program as argument, that one alone.

use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lines of the verifier's log that are shown of a program that it refuses.
const SHOWN: usize = 25;

fn main() -> Result<ExitCode> {
    let only = std::env::args().nth(1);
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
        .context("cannot raise the limit of locked memory: run this as root")?;
    let mut ebpf = load()?;
    let mut names: Vec<_> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names.retain(|name| only.as_ref().is_none_or(|only| only == name));
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match instructions(&mut ebpf, &name) {
            Ok(count) => println!("program {name} {count}"),
            Err(error) => {
                println!("refused {name}: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    if only.is_none() {
        println!("attach {}", if has_tcx(&mut ebpf)? { "tcx" } else { "clsact" });
    }
    Ok(code)
}

/// The object, with small maps.
fn load() -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for (name, entries) in bridgefwd::datapath::map_sizes(1024) {
        loader.map_max_entries(name, entries);
    }
    match std::env::var_os("BRIDGEFWD_OBJECT") {
        Some(path) => {
            let object = std::fs::read(&path).with_context(|| path.display().to_string())?;
            loader.load(&object).context("the maps cannot be made")
        }
        None => loader.load(bridgefwd::datapath::OBJECT).context("the maps cannot be made"),
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name).with_context(|| format!("there is no program {name}"))?;
    Ok(program.try_into()?)
}

/// How many instructions the verifier looked at before it accepted the program.
fn instructions(ebpf: &mut Ebpf, name: &str) -> Result<u64> {
    let loaded = program(ebpf, name)?;
    loaded.load().map_err(explained)?;
    if let Some(count) = loaded.info()?.verified_instruction_count() {
        return Ok(count.into());
    }
    // Before Linux 5.16 only the verifier's log says so, which is there of a load that fails. One fails
    // when all is verified: where the process has no descriptor left for the program.
    let mut again = load()?;
    let refused = without_descriptors(|| Ok(program(&mut again, name)?.load()))?;
    let Err(ProgramError::LoadError { verifier_log, .. }) = refused else {
        bail!("a load without a descriptor has no log: {refused:?}");
    };
    let log = verifier_log.to_string();
    log.lines()
        .rev()
        .find_map(|line| line.strip_prefix("processed ")?.split(' ').next()?.parse().ok())
        .with_context(|| format!("the log does not say how many: {log}"))
}

/// Does something while no descriptor can be opened.
fn without_descriptors<T>(what: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = getrlimit(Resource::Nofile);
    // The lowest number that is free.
    let free = std::fs::File::open("/dev/null")?.as_raw_fd();
    let none = Rlimit { current: Some(free.try_into()?), maximum: before.maximum };
    setrlimit(Resource::Nofile, none)?;
    let result = what();
    setrlimit(Resource::Nofile, before)?;
    result
}

/// Has this kernel TCX? Tried on the loopback interface, for a moment, with the program that is never
/// attached otherwise: it looks at no packet.
fn has_tcx(ebpf: &mut Ebpf) -> Result<bool> {
    let program = program(ebpf, "bridgefwd_sweep")?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::last());
    let attached: std::result::Result<SchedClassifierLinkId, _> =
        program.attach_with_options("lo", TcAttachType::Egress, options);
    match attached {
        Ok(link) => {
            program.detach(link)?;
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

/// What the verifier says at the end.
fn explained(error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError { io_error, verifier_log } = &error else { return error.into() };
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().rev().take(SHOWN).collect();
    let lines: Vec<_> = lines.into_iter().rev().collect();
    anyhow::anyhow!("{io_error}\n{}", lines.join("\n"))
}
