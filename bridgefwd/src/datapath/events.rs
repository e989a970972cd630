//! The ring by which the program tells what happens, and the maps that say what it shall tell.

use std::os::fd::{AsRawFd, RawFd};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use bridgefwd_common::contract::{
    EVENT_CLOSED, EVENT_OPENED, EVENT_REFUSED, EVENT_TRACED, EventBudget, EventControl, FlowRecord,
    MAP_EVENT_BUDGET, MAP_EVENT_CONTROL, MAP_EVENTS, MAP_REFUSALS, PacketRecord, RefusalCount,
    RefusalKey,
};

use super::wire::{self, Wire, WireArray, WireHashMap, WirePerCpuArray};
use crate::failure::{Failure, Result};

/// What the program told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record {
    /// A flow was opened, or closed.
    Flow(FlowRecord),
    /// A packet was refused, or traced.
    Packet(PacketRecord),
}

impl Record {
    /// From the bytes in the ring; `None` for what no program of this version tells.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        // The ring aligns records, and a copy does not care.
        let flow = bytemuck::try_pod_read_unaligned::<FlowRecord>(bytes);
        if let Ok(record) = flow
            && matches!(record.kind, EVENT_OPENED | EVENT_CLOSED)
        {
            return Some(Self::Flow(record));
        }
        let packet = bytemuck::try_pod_read_unaligned::<PacketRecord>(bytes).ok()?;
        matches!(packet.kind, EVENT_REFUSED | EVENT_TRACED).then_some(Self::Packet(packet))
    }
}

/// The ring, to be read by one.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// The next record, where there is one.
    pub fn read(&mut self) -> Option<Record> {
        loop {
            let record = Record::of(&self.0.next()?);
            if record.is_some() {
                return record;
            }
        }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Says what the program shall tell.
pub struct Control(WireArray<EventControl>);

impl Control {
    /// Changes it.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set(&mut self, control: EventControl) -> Result<()> {
        self.0
            .set(0, Wire(control), 0)
            .map_err(|error| wire::failed(MAP_EVENT_CONTROL, "write", &error))
    }
}

/// What the program counts of what it tells.
pub struct Counts {
    budget: WirePerCpuArray<EventBudget>,
    refusals: WireHashMap<RefusalKey, RefusalCount>,
}

impl Counts {
    /// How many records of flows found no room in the ring.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn flows_untold(&self) -> Result<u64> {
        let sum = wire::sum(&self.budget, MAP_EVENT_BUDGET, 0, EventBudget::merge)?;
        Ok(sum.flows_untold)
    }

    /// Every source with what it was refused. Those that change meanwhile may be missing: they come
    /// again.
    pub fn refusals(&self) -> Vec<(RefusalKey, RefusalCount)> {
        let all = self.refusals.iter().filter_map(std::result::Result::ok);
        all.map(|(Wire(key), Wire(count))| (key, count)).collect()
    }
}

/// Takes the maps of events out of the loaded object.
///
/// # Errors
///
/// Where they are not there, or were taken already.
pub fn take(ebpf: &mut Ebpf) -> Result<(Ring, Control, Counts)> {
    Ok((
        Ring(taken::<RingBuf<_>>(ebpf, MAP_EVENTS)?),
        Control(taken::<Array<_, _>>(ebpf, MAP_EVENT_CONTROL)?),
        Counts {
            budget: taken::<PerCpuArray<_, _>>(ebpf, MAP_EVENT_BUDGET)?,
            refusals: taken::<HashMap<_, _, _>>(ebpf, MAP_REFUSALS)?,
        },
    ))
}

fn taken<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M> {
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| Failure::failed(format!("the eBPF object has no map {name} to take")))?;
    M::try_from(map).map_err(|error| wire::failed(name, "use", &error))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn records_are_told_apart_and_nothing_else_is_one() {
        let flow = FlowRecord { kind: EVENT_CLOSED, slot: 7, ..FlowRecord::zeroed() };
        assert_eq!(Record::of(bytemuck::bytes_of(&flow)), Some(Record::Flow(flow)));
        let packet = PacketRecord { kind: EVENT_REFUSED, len: 60, ..PacketRecord::zeroed() };
        assert_eq!(Record::of(bytemuck::bytes_of(&packet)), Some(Record::Packet(packet)));
        assert_eq!(Record::of(bytemuck::bytes_of(&FlowRecord::zeroed())), None);
        assert_eq!(Record::of(&[1; 20]), None);
    }
}
