//! Packets for Wireshark: a file of the pcapng format, with an interface for each station and a time in
//! ns.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};

use super::journey::Journey;
use super::stations::Station;
use crate::failure::{Failure, Result};

/// Of an enhanced packet's flags (section 4.3 of the format): received, or sent.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Times are in steps of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// A file that is being written.
pub struct Pcap<W: Write> {
    writer: PcapNgWriter<W>,
    path: PathBuf,
}

impl Pcap<BufWriter<File>> {
    /// Makes the file, with what stations there are.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn create(path: &Path, stations: &[Station]) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        };
        let file = File::create(path).map_err(failed)?;
        Pcap::new(BufWriter::new(file), path, stations)
    }
}

impl<W: Write> Pcap<W> {
    fn new(writer: W, path: &Path, stations: &[Station]) -> Result<Self> {
        let writer = PcapNgWriter::new(writer).map_err(|error| failed(path, &error))?;
        let mut this = Self { writer, path: path.to_owned() };
        for station in stations {
            let name = match &station.inside {
                Some((_, inside)) => format!("{inside}:{}", station.interface),
                None => station.interface.clone(),
            };
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ];
            let block =
                InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            this.write(block)?;
        }
        Ok(this)
    }

    /// Writes a packet as it was at each station; `end`, a word on how it ended, goes with the last.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn packet(&mut self, journey: &Journey, end: &str) -> Result<()> {
        for (index, seen) in journey.seen.iter().enumerate() {
            let flags = if seen.out { OUTBOUND } else { INBOUND };
            let mut options = vec![EnhancedPacketOption::Flags(flags)];
            if index + 1 == journey.seen.len() {
                options.push(EnhancedPacketOption::Comment(Cow::Borrowed(end)));
            }
            self.write(EnhancedPacketBlock {
                interface_id: u32::try_from(seen.station).unwrap_or_default(),
                timestamp: Duration::from_nanos(seen.time_ns),
                original_len: u32::try_from(seen.frame.len()).unwrap_or(u32::MAX),
                data: Cow::Borrowed(&seen.frame),
                options,
            })?;
        }
        let flushed = self.writer.get_mut().flush();
        flushed.map_err(|error| failed(&self.path, &pcap_file::PcapError::IoError(error)))
    }

    fn write<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<()> {
        let written = self.writer.write_pcapng_block(block);
        written.map(drop).map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &pcap_file::PcapError) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}
