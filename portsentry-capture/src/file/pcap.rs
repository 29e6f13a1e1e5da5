//! The pcap format: a header, then one record per packet.

use pcap_parser::nom::IResult;
use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_frame_modified, parse_pcap_header,
};

use super::tick::Tick;
use super::{MAX_RECORD, Record, Step};
use crate::LinkType;

/// Length of the file's header, in bytes.
pub(super) const HEADER: usize = 24;

/// The link type's bits in its field of the header; those above tell of frame
/// check sequences.
const LINK_TYPE: i32 = 0x03ff_ffff;

/// A pcap file behind its header.
#[derive(Debug)]
pub(super) struct Pcap {
    link: LinkType,
    tick: Tick,
    big_endian: bool,
    /// Length of a record's header, in bytes.
    record_header: usize,
    parse: Parse,
}

type Parse = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// Whether a file that begins with these bytes is a pcap.
pub(super) fn is_pcap(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    matches!(magic, Some(0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34 | 0xd4c3_b2a1 | 0x4d3c_b2a1))
}

/// The file's header.
pub(super) fn header(bytes: &[u8]) -> Option<PcapHeader> {
    parse_pcap_header(bytes).ok().map(|(_, header)| header)
}

impl Pcap {
    /// From the file's header, or the number of a link type that is not
    /// supported.
    pub(super) fn new(header: &PcapHeader) -> Result<Self, i32> {
        let number = header.network.0 & LINK_TYPE;
        let (record_header, parse): (_, Parse) = if header.is_modified_format() {
            (24, parse_pcap_frame_modified)
        } else if header.is_bigendian() {
            (16, parse_pcap_frame_be)
        } else {
            (16, parse_pcap_frame)
        };
        Ok(Self {
            link: LinkType::from_dlt(number).ok_or(number)?,
            tick: match header.is_nanosecond_precision() {
                true => Tick::NANOSECOND,
                false => Tick::MICROSECOND,
            },
            big_endian: header.is_bigendian(),
            record_header,
            parse,
        })
    }

    /// What stands at the start of `bytes`, or what is wrong with it.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, &'static str> {
        let Some([_, _, _, _, _, _, _, _, captured @ .., _, _, _, _]) = bytes.first_chunk::<16>()
        else {
            return Ok(Step::Need(self.record_header));
        };
        let captured = match self.big_endian {
            true => u32::from_be_bytes(*captured),
            false => u32::from_le_bytes(*captured),
        } as usize;
        if captured > MAX_RECORD {
            return Err("a packet is longer than any that can be captured");
        }
        let length = self.record_header + captured;
        if bytes.len() < length {
            return Ok(Step::Need(length));
        }
        let (_, block) = (self.parse)(bytes).or(Err("unreadable record"))?;
        let record = Record {
            link: Some(self.link),
            time: self.tick.time(block.ts_sec.into(), block.ts_usec.into()),
            // Some writers leave the length on the wire out.
            wire_length: (block.origlen as usize).max(captured),
            frame: block.data,
        };
        Ok(Step::Packet { length, record })
    }
}
