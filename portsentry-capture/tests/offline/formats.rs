//! Capture files written byte by byte, in either byte order.

pub(crate) const SECONDS: u32 = 1_700_000_000;

/// A byte order, with functions that write numbers and records in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn u32s(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    pub(crate) fn pcap_header(self, magic: u32, link: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(4)].concat();
        [self.u32(magic).to_vec(), version, self.u32s(&[0, 0, 262_144, link])].concat()
    }

    pub(crate) fn pcap_record(self, fraction: u32, wire_length: usize, frame: &[u8]) -> Vec<u8> {
        let header = [SECONDS, fraction, frame.len() as u32, wire_length as u32];
        [self.u32s(&header), frame.to_vec()].concat()
    }

    /// Returns a pcapng block of this kind around `body`, which is padded.
    pub(crate) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0xee);
        let length = self.u32(body.len() as u32 + 12);
        [&self.u32(kind), &length, &body[..], &length].concat()
    }

    pub(crate) fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.u32(0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat())
    }

    pub(crate) fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [&self.u16(code), &self.u16(value.len() as u16), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    pub(crate) fn interface(self, link: u16, snap_length: u32, options: &[Vec<u8>]) -> Vec<u8> {
        let head = [&self.u16(link)[..], &[0, 0], &self.u32(snap_length)].concat();
        self.block(1, &[head, options.concat()].concat())
    }

    pub(crate) fn packet(
        self,
        interface: u32,
        ticks: u64,
        wire_length: usize,
        frame: &[u8],
    ) -> Vec<u8> {
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let lengths = [frame.len() as u32, wire_length as u32];
        let head = [&[interface, high, low], &lengths[..]].concat();
        self.block(6, &[self.u32s(&head), frame.to_vec()].concat())
    }

    pub(crate) fn simple_packet(self, wire_length: usize, frame: &[u8]) -> Vec<u8> {
        self.block(3, &[&self.u32(wire_length as u32), frame].concat())
    }
}

pub(crate) const MICROS: u32 = 0xa1b2_c3d4;
pub(crate) const NANOS: u32 = 0xa1b2_3c4d;
