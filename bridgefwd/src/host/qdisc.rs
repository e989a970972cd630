//! Traffic control's clsact qdisc and the filters on it: what kernels before TCX attach by.

use std::collections::BTreeMap;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

use super::netlink::{change, dump};

const CLSACT: &str = "clsact";
/// What virtual interfaces have where nobody has set anything else.
const NOQUEUE: &str = "noqueue";
/// `ffff:`, the handle that ingress and clsact qdiscs share.
const INGRESS_HANDLE: TcHandle = TcHandle { major: u16::MAX, minor: 0 };

/// Where on an interface filters are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// Where packets come in.
    Ingress,
    /// Where they leave.
    Egress,
}

impl Hook {
    const fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: u16::MAX, minor }
    }
}

/// One filter at a hook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// Its priority.
    pub priority: u16,
    /// Its handle.
    pub handle: u32,
    /// Name of its BPF program, where it has one.
    pub program: Option<String>,
}

/// Adds a clsact qdisc. `false` where one, or an ingress qdisc, is there already.
///
/// # Errors
///
/// The kernel's error.
pub fn add_clsact(ifindex: u32) -> io::Result<bool> {
    let mut message = message(ifindex)?;
    message.header.handle = INGRESS_HANDLE;
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind(CLSACT.into()));
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    match change(request, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Is there a clsact or an ingress qdisc?
///
/// # Errors
///
/// The kernel's error.
pub fn has_clsact(ifindex: u32) -> io::Result<bool> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    let all = dump(RouteNetlinkMessage::GetQueueDiscipline(message(ifindex)?))?;
    Ok(all.iter().any(|found| match found {
        // Older kernels answer for every interface.
        RouteNetlinkMessage::NewQueueDiscipline(found) => {
            found.header.index == index && found.header.handle == INGRESS_HANDLE
        }
        _ => false,
    }))
}

/// What traffic control has on an interface.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Queueing {
    /// Is there a qdisc that packets wait in, or are dropped by?
    pub queues: bool,
    /// Is there a clsact or an ingress qdisc?
    pub has_clsact: bool,
}

/// What traffic control has on each interface of this network namespace, by ifindex.
///
/// # Errors
///
/// The kernel's error.
pub fn all() -> io::Result<BTreeMap<u32, Queueing>> {
    let mut all: BTreeMap<u32, Queueing> = BTreeMap::new();
    for found in dump(RouteNetlinkMessage::GetQueueDiscipline(message(0)?))? {
        let RouteNetlinkMessage::NewQueueDiscipline(found) = found else { continue };
        let of_interface = all.entry(found.header.index.unsigned_abs()).or_default();
        if found.header.handle == INGRESS_HANDLE {
            of_interface.has_clsact = true;
        } else if !found.attributes.contains(&TcAttribute::Kind(NOQUEUE.into())) {
            of_interface.queues = true;
        }
    }
    Ok(all)
}

/// Removes the clsact qdisc with all that is on it. Fine where it is not there (any more).
///
/// # Errors
///
/// The kernel's error.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    let mut message = message(ifindex)?;
    message.header.handle = INGRESS_HANDLE;
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind(CLSACT.into()));
    match change(RouteNetlinkMessage::DelQueueDiscipline(message), 0) {
        // Where one has been before, the kernel calls its handle invalid.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Removes one filter from a hook. `false` where it is not there (any more).
///
/// # Errors
///
/// The kernel's error.
pub fn remove_filter(ifindex: u32, hook: Hook, filter: &Filter) -> io::Result<bool> {
    /// `ETH_P_ALL` in network order, where a filter's protocol is kept.
    const ALL_PROTOCOLS: u16 = 3_u16.to_be();
    let mut message = message(ifindex)?;
    message.header.handle = TcHandle::from(filter.handle);
    message.header.parent = hook.parent();
    message.header.info = u32::from(filter.priority) << 16 | u32::from(ALL_PROTOCOLS);
    match change(RouteNetlinkMessage::DelTrafficFilter(message), 0) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The filters at a hook.
///
/// # Errors
///
/// The kernel's error.
pub fn filters(ifindex: u32, hook: Hook) -> io::Result<Vec<Filter>> {
    let mut request = message(ifindex)?;
    request.header.parent = hook.parent();
    let mut filters: Vec<Filter> = Vec::new();
    for message in dump(RouteNetlinkMessage::GetTrafficFilter(request))? {
        let RouteNetlinkMessage::NewTrafficFilter(message) = message else { continue };
        // A head without options says that this priority exists; its filters follow.
        let options = message.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
        let Some(options) = options else { continue };
        let handle = message.header.handle;
        filters.push(Filter {
            priority: (message.header.info >> 16) as u16,
            handle: u32::from(handle.major) << 16 | u32::from(handle.minor),
            program: options.iter().find_map(|option| match option {
                TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
                _ => None,
            }),
        });
    }
    Ok(filters)
}

fn message(ifindex: u32) -> io::Result<TcMessage> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    Ok(TcMessage::with_index(index))
}
