//! The pcap format: a file header, then one record for each packet.

use pcap_parser::nom::IResult;
use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_frame_modified, parse_pcap_header,
};

use super::tick::Tick;
use super::{MAX_RECORD, Record, Step};
use crate::LinkType;

/// Length of the file header, in bytes.
pub(super) const HEADER: usize = 24;

/// Mask of the link type in its field of the header. The bits above describe frame check
/// sequences.
const LINK_TYPE: i32 = 0x03ff_ffff;

/// Reader of a pcap file after its header.
#[derive(Debug)]
pub(super) struct Pcap {
    link: LinkType,
    tick: Tick,
    big_endian: bool,
    /// Length of a record header, in bytes.
    record_header: usize,
    parse: Parse,
}

type Parse = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// Returns whether a file that starts with these bytes is in the pcap format.
pub(super) fn is_pcap(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    matches!(magic, Some(0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34 | 0xd4c3_b2a1 | 0x4d3c_b2a1))
}

/// Parses the file header.
pub(super) fn header(bytes: &[u8]) -> Option<PcapHeader> {
    parse_pcap_header(bytes).ok().map(|(_, header)| header)
}

impl Pcap {
    /// Creates a reader for a file with this header. The error is the number of a link type that
    /// is not supported.
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

    /// Returns the step for the record at the start of `bytes`, or the reason why it is invalid.
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
            return Err("a packet is longer than the maximum of 1 MiB");
        }
        let length = self.record_header + captured;
        if bytes.len() < length {
            return Ok(Step::Need(length));
        }
        let (_, block) = (self.parse)(bytes).or(Err("unreadable record"))?;
        let record = Record {
            link: Some(self.link),
            time: self.tick.time(block.ts_sec.into(), block.ts_usec.into()),
            // Some writers omit the length on the wire.
            wire_length: (block.origlen as usize).max(captured),
            frame: block.data,
        };
        Ok(Step::Packet { length, record })
    }
}
