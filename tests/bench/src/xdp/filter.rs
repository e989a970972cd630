//! A filter that drops the datagrams to one port and lets everything else pass, the same instructions for
//! each kind of hook; and how it is attached.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{SchedClassifier, TcAttachType};
use bridgefwd_tests::bpf::{self, RunTime, asm};
use bridgefwd_tests::namespaces::{BPFFS, Namespace, unique_name};
use serde::Serialize;

/// The port whose datagrams are dropped.
pub const UNWANTED: u16 = 9999;

/// Who drops.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// bridgefwd alone, by its rules.
    Ours,
    /// The filter at TC ingress, before bridgefwd.
    Tc,
    /// The filter in XDP on the socket buffers of the stack.
    Generic,
    /// The filter in the driver's XDP.
    Native,
}

impl Means {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ours, Self::Tc, Self::Generic, Self::Native];

    /// In tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "bridgefwd alone",
            Self::Tc => "filter at TC",
            Self::Generic => "filter in generic XDP",
            Self::Native => "filter in native XDP",
        }
    }

    /// As `ip link` calls it.
    const fn keyword(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::Tc => None,
            Self::Generic => Some("xdpgeneric"),
            Self::Native => Some("xdpdrv"),
        }
    }
}

/// The filter, loaded for both hooks.
pub struct Filter {
    tc: Pinned,
    xdp: Pinned,
}

struct Pinned {
    program: OwnedFd,
    path: PathBuf,
}

impl Pinned {
    #[track_caller]
    fn new(program: OwnedFd, label: &str) -> Self {
        let path = Path::new(BPFFS).join(unique_name(label));
        bpf::pin(&program, &path);
        Self { program, path }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Attached for as long as this lives.
pub enum Attached<'a> {
    /// Nothing was to be.
    Nothing,
    /// By a link.
    Tc {
        /// Detached with it.
        _link: SchedClassifierLink,
    },
    /// By `ip link`.
    Xdp {
        /// The interface's namespace.
        ns: &'a Namespace,
        /// Its name.
        interface: &'a str,
        /// As `ip link` calls the mode.
        keyword: &'static str,
    },
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if let Self::Xdp { ns, interface, keyword } = self {
            ns.command("ip", &["link", "set", "dev", interface, keyword, "off"]);
        }
    }
}

impl Filter {
    /// Loads it.
    #[track_caller]
    pub fn new() -> Self {
        /// `data` and `data_end` in `struct __sk_buff`, and what TC takes for drop and for no opinion.
        const SK_BUFF: Context = Context { data: 76, end: 80, drop: 2, pass: u32::MAX };
        /// In `struct xdp_md`; `XDP_DROP` and `XDP_PASS`.
        const XDP: Context = Context { data: 0, end: 4, drop: 1, pass: 2 };
        Self {
            tc: Pinned::new(bpf::classifier(&instructions(SK_BUFF)), "filter-tc"),
            xdp: Pinned::new(bpf::xdp(&instructions(XDP)), "filter-xdp"),
        }
    }

    /// Attaches it to an interface of `ns`. `None` where this kernel cannot.
    #[track_caller]
    pub fn attach<'a>(
        &self,
        means: Means,
        ns: &'a Namespace,
        interface: &'a str,
    ) -> Option<Attached<'a>> {
        if means == Means::Ours {
            return Some(Attached::Nothing);
        }
        let Some(keyword) = means.keyword() else {
            let link = ns.run(|| {
                let mut program = SchedClassifier::from_pin(&self.tc.path).expect("pinned");
                let first = TcAttachOptions::TcxOrder(LinkOrder::first());
                let id =
                    program.attach_with_options(interface, TcAttachType::Ingress, first).ok()?;
                program.take_link(id).ok()
            });
            return link.map(|link| Attached::Tc { _link: link });
        };
        let path = self.xdp.path.to_str().expect("a path of ours");
        ns.command("ip", &["link", "set", "dev", interface, keyword, "pinned", path]);
        Some(Attached::Xdp { ns, interface, keyword })
    }

    /// How often it has run, and how long that took; `None` where it is not what drops.
    #[track_caller]
    pub fn run_time(&self, means: Means) -> Option<RunTime> {
        let program = match means {
            Means::Ours => return None,
            Means::Tc => &self.tc.program,
            Means::Generic | Means::Native => &self.xdp.program,
        };
        Some(bpf::run_time(program.as_fd()))
    }
}

/// What differs between the hooks.
#[derive(Clone, Copy)]
struct Context {
    data: i16,
    end: i16,
    drop: u32,
    pass: u32,
}

/// UDP over IPv4 without options, to that port?
fn instructions(context: Context) -> Vec<u64> {
    /// Ethernet, IPv4 and UDP.
    const HEADERS: u32 = 14 + 20 + 8;
    const IPV4: u16 = 0x0800;
    const UDP: u32 = 17;
    let load16 = |dst, src, offset| asm::instruction(0x69, dst, src, offset, 0);
    let load8 = |dst, src, offset| asm::instruction(0x71, dst, src, offset, 0);
    let wire = |value: u16| u32::from(u16::from_ne_bytes(value.to_be_bytes()));
    // To `pass`, so many instructions ahead.
    let unless = |register, value, ahead| asm::instruction(0x55, register, 0, ahead, value);
    let if_beyond = |ahead| asm::instruction(0x2d, 4, 3, ahead, 0);
    vec![
        asm::load32(2, 1, context.data),
        asm::load32(3, 1, context.end),
        asm::copy(4, 2),
        asm::add(4, HEADERS),
        if_beyond(8),
        load16(5, 2, 12),
        unless(5, wire(IPV4), 6),
        load8(5, 2, 23),
        unless(5, UDP, 4),
        load16(5, 2, 36),
        unless(5, wire(UNWANTED), 2),
        asm::set(0, context.drop),
        asm::exit(),
        asm::set(0, context.pass),
        asm::exit(),
    ]
}
