//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks. Each section has a list of
//! interfaces.

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{
    Block, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, SHB_MAGIC, SPB_MAGIC,
    parse_block_be, parse_block_le,
};
use portsentry_core::Timestamp;

use super::tick::Tick;
use super::{MAX_RECORD, Record, Step};
use crate::LinkType;

/// Length of the shortest block, in bytes: type, length, and the length again.
const MIN_BLOCK: usize = 12;

/// Byte-order magic of a section header.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Type of the obsolete packet block; enhanced packet blocks replaced it.
const OBSOLETE_PACKET: u32 = 2;

/// Maximum number of interfaces of a section: the obsolete packet block numbers them with 16
/// bits.
const MAX_INTERFACES: usize = 1 << 16;

/// Reader of a pcapng file, with the state of the current section.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Time of the latest packet, for packets without a time.
    latest: Timestamp,
}

/// An interface of a section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<LinkType>,
    tick: Tick,
    /// Number of seconds to add to every time stamp.
    time_offset: i64,
    /// Maximum number of captured bytes of a packet; 0 is no limit.
    snap_length: u32,
}

/// Returns whether a file that starts with these bytes is in the pcapng format.
pub(super) fn is_pcapng(bytes: &[u8]) -> bool {
    field(bytes, 0, false) == Some(SHB_MAGIC) && is_big_endian(bytes).is_some()
}

/// Returns the byte order of the section with this section header block.
fn is_big_endian(block: &[u8]) -> Option<bool> {
    match field(block, 8, false)? {
        BYTE_ORDER => Some(false),
        order if order == BYTE_ORDER.swap_bytes() => Some(true),
        _ => None,
    }
}

/// Returns the field of four bytes at `offset`.
fn field(bytes: &[u8], offset: usize, big_endian: bool) -> Option<u32> {
    let bytes = *bytes.get(offset..)?.first_chunk()?;
    Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

impl Pcapng {
    /// Returns the step for the block at the start of `bytes`, or the reason why it is invalid.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, &'static str> {
        if bytes.len() < MIN_BLOCK {
            return Ok(Step::Need(MIN_BLOCK));
        }
        // This block type is the same in both byte orders.
        let is_section = field(bytes, 0, false) == Some(SHB_MAGIC);
        if is_section {
            self.big_endian = is_big_endian(bytes).ok_or("section without a byte order")?;
        }
        let kind = field(bytes, 0, self.big_endian).unwrap_or_default();
        let length = field(bytes, 4, self.big_endian).unwrap_or_default() as usize;
        if length < MIN_BLOCK || !length.is_multiple_of(4) {
            return Err("impossible block length");
        }
        match kind {
            SHB_MAGIC | IDB_MAGIC | EPB_MAGIC | SPB_MAGIC => {}
            OBSOLETE_PACKET => return Err("obsolete packet blocks are not supported"),
            _ => return Ok(Step::Skip(length as u64)),
        }
        if length > MAX_RECORD {
            return Err("a block is longer than the maximum of 1 MiB");
        }
        let Some(block) = bytes.get(..length) else { return Ok(Step::Need(length)) };
        if field(block, length - 4, self.big_endian) != Some(length as u32) {
            return Err("the two lengths of a block differ");
        }
        self.block(block)
    }

    /// Decodes a complete block of a type that this reader uses.
    fn block<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, &'static str> {
        let length = bytes.len();
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        let (_, block) = parse(bytes).or(Err("unreadable block"))?;
        let record = match block {
            Block::SectionHeader(section) => {
                if section.major_version != 1 {
                    return Err("unknown version of the format");
                }
                self.interfaces.clear();
                return Ok(Step::Skip(length as u64));
            }
            Block::InterfaceDescription(description) => {
                if self.interfaces.len() == MAX_INTERFACES {
                    return Err("too many interfaces");
                }
                self.interfaces.push(Interface::new(&description, self.big_endian));
                return Ok(Step::Skip(length as u64));
            }
            Block::EnhancedPacket(packet) => {
                let interface = self.interface(packet.if_id as usize)?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.latest = interface.tick.time(interface.time_offset, ticks);
                // The accessor of the crate borrows from the block, not from the bytes.
                let frame = packet.data.get(..packet.caplen as usize).unwrap_or_default();
                interface.record(self.latest, packet.orig_len(), frame)
            }
            Block::SimplePacket(packet) => {
                let interface = self.interface(0)?;
                let captured = match interface.snap_length {
                    0 => packet.origlen,
                    limit => packet.origlen.min(limit),
                };
                let frame = packet.data.get(..captured as usize);
                let frame = frame.ok_or("a packet is longer than its block")?;
                interface.record(self.latest, packet.origlen, frame)
            }
            _ => return Ok(Step::Skip(length as u64)),
        };
        Ok(Step::Packet { length, record })
    }

    fn interface(&self, index: usize) -> Result<Interface, &'static str> {
        self.interfaces.get(index).copied().ok_or("packet of an interface without a description")
    }
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // pcap-parser 0.17 supports no resolution that is a power of two, and always reads the
        // offset as little-endian.
        let option = |code| {
            let option = block.options.iter().find(|option| option.code == code)?;
            option.as_bytes().ok()
        };
        let tick = match option(OptionCode::IfTsresol) {
            Some(&[value]) => Tick::from_tsresol(value),
            _ => Tick::MICROSECOND,
        };
        let time_offset = option(OptionCode::IfTsoffset).and_then(|value| value.try_into().ok());
        Self {
            link: LinkType::from_dlt(block.linktype.0),
            tick,
            time_offset: time_offset.map_or(0, |bytes| match big_endian {
                true => i64::from_be_bytes(bytes),
                false => i64::from_le_bytes(bytes),
            }),
            snap_length: block.snaplen,
        }
    }

    fn record(self, time: Timestamp, wire_length: u32, frame: &[u8]) -> Record<'_> {
        let wire_length = (wire_length as usize).max(frame.len());
        Record { link: self.link, time, wire_length, frame }
    }
}
