//! Attaching programs to interfaces, at ingress and at egress: by a TCX link where the kernel has that (Linux 6.6), else by
//! a filter on the clsact qdisc.
//!
//! Ours is the first program of an interface: what we drop or redirect does so whoever else is
//! there, and what we pass goes on to them (`TC_ACT_UNSPEC`). Replacing the program is atomic in
//! either way. Only our own link or filter is ever removed, and a clsact qdisc only where we added
//! it and nobody else has a filter on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError, LinkOrder, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use bridgefwd_common::contract::{AttachKind, EGRESS_PROGRAM, PROGRAM};
use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, membarrier};

use super::{pins, wire::chain};
use crate::failure::{Failure, Result};
use crate::host::bpf;
use crate::host::qdisc::{self, Filter, Hook};

/// Priority of our clsact filters: before those to which the kernel gives one by itself.
const PRIORITY: u16 = 7;
/// Handle of our clsact filters; with the priority and the name it says that a filter is ours.
const HANDLE: u32 = 0xb1d9_0001;

/// By what means to attach.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AttachChoice {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX or not at all.
    Tcx,
    /// clsact, also where there is TCX.
    Clsact,
}

/// Attaches and detaches.
#[derive(Debug)]
pub struct Attacher {
    pin_dir: PathBuf,
    choice: AttachChoice,
    /// The kernel said that it has no TCX.
    no_tcx: bool,
}

impl Attacher {
    /// For links that are pinned below `pin_dir`.
    #[must_use]
    pub fn new(pin_dir: &Path, choice: AttachChoice) -> Self {
        Self { pin_dir: pin_dir.into(), choice, no_tcx: false }
    }

    /// Sees to it that `program` runs at a hook of an interface: takes the place of the program of an earlier
    /// daemon where that is attached (`recorded` tells how), else attaches. `owning` is called before a
    /// qdisc is added: it has to be on record then that it is ours to remove, whatever happens.
    ///
    /// # Errors
    ///
    /// Names the interface. It is attached as before, then.
    pub fn ensure(
        &mut self,
        program: &mut SchedClassifier,
        hook: Hook,
        ifindex: u32,
        name: &str,
        recorded: Option<AttachKind>,
        owning: impl FnOnce() -> Result<()>,
    ) -> Result<AttachKind> {
        let by_filter = matches!(recorded, Some(AttachKind::Clsact | AttachKind::OwnClsact));
        let try_tcx = match self.choice {
            AttachChoice::Tcx => true,
            AttachChoice::Clsact => false,
            AttachChoice::Auto => !by_filter && !self.no_tcx,
        };
        let failed = |error: &ProgramError| {
            Failure::failed(format!("cannot attach to {name}: {}", chain(error)))
        };
        if try_tcx {
            match self.ensure_tcx(program, hook, ifindex, name) {
                Ok(()) => {
                    if by_filter {
                        detach_filter(ifindex, hook, name, recorded)?;
                    }
                    return Ok(AttachKind::Tcx);
                }
                Err(error) if !is_unsupported(&error) => return Err(failed(&error)),
                Err(_) if self.choice == AttachChoice::Tcx => {
                    return Err(Failure::failed(format!(
                        "cannot attach to {name}: this kernel has no TCX (Linux 6.6 and later \
                         have); run without forcing it, to use clsact"
                    )));
                }
                Err(_) => {
                    tracing::info!("this kernel has no TCX: attaching by clsact");
                    self.no_tcx = true;
                }
            }
        }
        let own = self.ensure_filter(program, hook, ifindex, name, owning)?;
        detach_link(&pins::link(&self.pin_dir, ifindex, hook), name)?;
        Ok(if own || recorded == Some(AttachKind::OwnClsact) {
            AttachKind::OwnClsact
        } else {
            AttachKind::Clsact
        })
    }

    fn ensure_tcx(
        &self,
        program: &mut SchedClassifier,
        hook: Hook,
        ifindex: u32,
        name: &str,
    ) -> Result<(), ProgramError> {
        let pin = pins::link(&self.pin_dir, ifindex, hook);
        if let Ok(link) = PinnedLink::from_pin(&pin) {
            let replaced = SchedClassifierLink::try_from(FdLink::from(link))
                .map_err(|error| ProgramError::IOError(io::Error::other(error)))
                .and_then(|link| program.attach_to_link(link));
            // Closes our end of it; the pin holds the link.
            let replaced = replaced.and_then(|id| program.take_link(id)).map(drop);
            if replaced.is_ok() && runs_on(program, hook, ifindex)? {
                return Ok(());
            }
            // The interface of this link is gone, or in another network namespace, and this one
            // has got its number.
            bpf::detach_link(&pin).and_then(|()| fs::remove_file(&pin))?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program.attach_with_options(name, attach_type(hook), options)?;
        let link: FdLink = program
            .take_link(id)?
            .try_into()
            .map_err(|error: LinkError| ProgramError::IOError(io::Error::other(error)))?;
        link.pin(&pin).map_err(|error| {
            ProgramError::IOError(io::Error::other(format!(
                "cannot pin its link as {}: {}",
                pin.display(),
                chain(&error)
            )))
        })?;
        Ok(())
    }

    /// `true` where it added the qdisc.
    fn ensure_filter(
        &self,
        program: &mut SchedClassifier,
        hook: Hook,
        ifindex: u32,
        name: &str,
        owning: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        let failed = |what: &str, error: String| {
            Failure::failed(format!("cannot attach to {name}: {what}: {error}"))
        };
        let missing = !qdisc::has_clsact(ifindex)
            .map_err(|error| failed("looking for a clsact qdisc", error.to_string()))?;
        if missing {
            owning()?;
        }
        let own = qdisc::add_clsact(ifindex)
            .map_err(|error| failed("adding a clsact qdisc", error.to_string()))?;
        let there = our_filter(ifindex, hook)
            .map_err(|error| failed("listing its filters", error.to_string()))?
            .is_some();
        let attached = if there {
            SchedClassifierLink::attached(
                name,
                attach_type(hook),
                PRIORITY,
                TcHandle::from(HANDLE),
                None,
            )
            .map_err(ProgramError::from)
            .and_then(|link| program.attach_to_link(link))
        } else {
            let options =
                NlOptions { priority: PRIORITY, handle: TcHandle::from(HANDLE), classid: None };
            let options = TcAttachOptions::Netlink(options);
            program.attach_with_options(name, attach_type(hook), options)
        };
        match attached.and_then(|id| program.take_link(id)) {
            Ok(link) => {
                // Dropping it would take the filter off; it is meant to outlive us.
                std::mem::forget(link);
                Ok(own)
            }
            Err(error) => {
                if own && let Err(error) = qdisc::remove_clsact(ifindex) {
                    tracing::warn!("cannot take the clsact qdisc off {name} again: {error}");
                }
                Err(failed("adding a filter", chain(&error)))
            }
        }
    }
}

/// Takes our program off a hook of an interface, by whatever means it is there.
///
/// # Errors
///
/// Names the interface. One that is gone has nothing on it.
pub fn detach(
    pin_dir: &Path,
    hook: Hook,
    ifindex: u32,
    name: &str,
    recorded: Option<AttachKind>,
) -> Result<()> {
    detach_link(&pins::link(pin_dir, ifindex, hook), name)?;
    if recorded != Some(AttachKind::Tcx) {
        detach_filter(ifindex, hook, name, recorded)?;
    }
    Ok(())
}

/// Waits until no packet is in a program any more that was replaced before this was called: what such a
/// program would go on to may be removed then.
///
/// # Errors
///
/// A kernel that cannot tell (`CONFIG_MEMBARRIER`).
pub fn wait_for_programs() -> io::Result<()> {
    // It waits for a grace period of RCU, and a program runs within one.
    Ok(membarrier(MembarrierCommand::Global)?)
}

/// The program that is ours at a hook.
#[must_use]
pub const fn program_at(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => PROGRAM,
        Hook::Egress => EGRESS_PROGRAM,
    }
}

const fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::Ingress => TcAttachType::Ingress,
        Hook::Egress => TcAttachType::Egress,
    }
}

/// Is our filter at that hook of the interface?
fn our_filter(ifindex: u32, hook: Hook) -> io::Result<Option<Filter>> {
    Ok(qdisc::filters(ifindex, hook)?.into_iter().find(|filter| {
        (filter.priority, filter.handle) == (PRIORITY, HANDLE)
            && filter.program.as_deref() == Some(program_at(hook))
    }))
}

/// Is `program` among the TCX programs at that hook of the interface?
fn runs_on(program: &SchedClassifier, hook: Hook, ifindex: u32) -> Result<bool, ProgramError> {
    let id = program.info()?.id();
    let attached = bpf::tcx_programs(ifindex, hook).map_err(ProgramError::IOError)?;
    Ok(attached.contains(&id))
}

fn detach_filter(ifindex: u32, hook: Hook, name: &str, recorded: Option<AttachKind>) -> Result<()> {
    let detach = || -> io::Result<()> {
        if let Some(filter) = our_filter(ifindex, hook)? {
            qdisc::remove_filter(ifindex, hook, &filter)?;
        }
        if recorded == Some(AttachKind::OwnClsact)
            && qdisc::filters(ifindex, Hook::Ingress)?.is_empty()
            && qdisc::filters(ifindex, Hook::Egress)?.is_empty()
        {
            qdisc::remove_clsact(ifindex)?;
        }
        Ok(())
    };
    match detach() {
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot take the filter off {name}: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// The interface, or the qdisc with all its filters, is not there.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NODEV, Errno::NOENT];
    gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Where there is such a pin, and nobody else takes it away meanwhile.
fn detach_link(pin: &Path, name: &str) -> Result<()> {
    match bpf::detach_link(pin).and_then(|()| fs::remove_file(pin)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::failed(format!(
            "cannot take the program off {name}, by its link {}: {error}",
            pin.display()
        ))),
        _ => Ok(()),
    }
}

/// Does the kernel not know TCX? It calls the attach type invalid then.
fn is_unsupported(error: &ProgramError) -> bool {
    let errno = match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::TcError(TcError::InvalidTcxAttach(_)) => return true,
        _ => None,
    };
    let unsupported = [Errno::INVAL, Errno::OPNOTSUPP];
    unsupported.iter().any(|known| errno == Some(known.raw_os_error()))
}
