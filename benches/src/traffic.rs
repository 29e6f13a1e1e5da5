//! Frames of scanners, the same in every run.
//!
//! etherparse builds them with correct lengths and checksums, so that no reader can take
//! a short cut.

use etherparse::{IpHeaders, IpNumber, Ipv6FlowLabel, Ipv6Header, PacketBuilder, VlanId};

/// The headers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Ethernet, IPv4, TCP SYN without options.
    Ipv4Syn,
    /// Ethernet, IPv6, TCP SYN.
    Ipv6Syn,
    /// Ethernet, one VLAN tag, IPv4, TCP SYN.
    VlanSyn,
    /// Ethernet, IPv6 with hop-by-hop options, TCP SYN.
    Ipv6ExtensionSyn,
    /// Ethernet, IPv4, UDP with 8 bytes of payload.
    Ipv4Udp,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 5] =
        [Self::Ipv4Syn, Self::Ipv6Syn, Self::VlanSyn, Self::Ipv6ExtensionSyn, Self::Ipv4Udp];
}

/// Pseudo-random numbers that are the same in every run: SplitMix64 (Steele, Lea
/// and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which must be above 0, with the bias of a modulus.
    pub const fn below(&mut self, bound: u32) -> u32 {
        (self.next_u64() % bound as u64) as u32
    }
}

/// An endless scan of one host: frames of one form, from random addresses out of
/// `sources` to random ports.
#[derive(Clone, Debug)]
pub struct Scan {
    form: Form,
    sources: u32,
    /// The last port, and the distance between two ports.
    ports: (u16, u16),
    random: Random,
}

impl Scan {
    /// Scans from `sources` different sources, at least one and at most 2^24.
    #[must_use]
    pub fn new(form: Form, sources: u32, seed: u64) -> Self {
        let ports = (u16::MAX, 1);
        Self { form, sources: sources.clamp(1, 1 << 24), ports, random: Random::new(seed) }
    }

    /// Restricts the scan to the ports from 1 to `last_port`.
    #[must_use]
    pub fn of_ports(self, last_port: u16) -> Self {
        Self { ports: (last_port.max(1), 1), ..self }
    }

    /// Restricts the scan to the first `number` odd ports, at least one and at most 32,768.
    #[must_use]
    pub fn to_odd_ports(self, number: u16) -> Self {
        Self { ports: (2 * (number.clamp(1, 1 << 15) - 1) + 1, 2), ..self }
    }
}

impl Iterator for Scan {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let source = self.random.below(self.sources);
        let (last, step) = self.ports;
        let number = self.random.below(u32::from((last - 1) / step) + 1) as u16;
        let port = 1 + step * number;
        Some(frame(self.form, source, port, self.random.next_u64()))
    }
}

/// Returns the last three bytes of the address of source `number`, which is below 2^24.
/// They differ for each number. Even a few sources are spread over the whole network, so
/// that a search among networks does not always end at the same place.
pub(crate) const fn scattered(number: u32) -> [u8; 3] {
    // An odd factor is a permutation modulo a power of two.
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    [a, b, c]
}

/// Returns one frame from source `source`; `noise` fills the fields that vary.
fn frame(form: Form, source: u32, port: u16, noise: u64) -> Vec<u8> {
    let [a, b, c] = scattered(source);
    let (from4, to4) = ([10, a, b, c], [192, 0, 2, 1]);
    let from6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c];
    let to6 = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (sequence, source_port) = (noise as u32, 1024 | (noise >> 48) as u16);

    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = match form {
        Form::Ipv4Syn | Form::Ipv4Udp => ethernet.ipv4(from4, to4, 57),
        Form::VlanSyn => {
            ethernet.single_vlan(VlanId::try_new(6).unwrap_or_default()).ipv4(from4, to4, 57)
        }
        Form::Ipv6Syn => ethernet.ipv6(from6, to6, 57),
        Form::Ipv6ExtensionSyn => ethernet.ip(with_hop_by_hop(from6, to6)),
    };
    let mut frame = Vec::with_capacity(128);
    let written = match form {
        Form::Ipv4Udp => ip.udp(source_port, port).write(&mut frame, &noise.to_be_bytes()),
        _ => ip.tcp(source_port, port, sequence, 1024).syn().write(&mut frame, &[]),
    };
    debug_assert!(written.is_ok(), "a frame of this form cannot be written");
    frame
}

fn with_hop_by_hop(source: [u8; 16], destination: [u8; 16]) -> IpHeaders {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: 0,
        next_header: IpNumber::IPV6_HEADER_HOP_BY_HOP,
        hop_limit: 57,
        source,
        destination,
    };
    // PadN of four bytes makes the shortest possible header.
    let options = etherparse::Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]).ok();
    IpHeaders::Ipv6(
        header,
        etherparse::Ipv6Extensions { hop_by_hop_options: options, ..Default::default() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_form_are_valid_and_repeat() {
        for (form, length) in Form::ALL.into_iter().zip([54, 74, 58, 82, 50]) {
            let frames: Vec<_> = Scan::new(form, 100, 7).take(50).collect();
            assert!(frames.iter().all(|frame| frame.len() == length), "{form:?}");
            assert!(frames.iter().eq(Scan::new(form, 100, 7).take(50).collect::<Vec<_>>().iter()));
            assert_ne!(frames[0], frames[1], "{form:?}");
        }
    }

    #[test]
    fn a_scan_has_the_requested_number_of_sources() {
        let mut sources: Vec<_> = Scan::new(Form::Ipv4Syn, 16, 1)
            .take(1000)
            .map(|frame| frame[26..30].to_vec())
            .collect();
        sources.sort();
        sources.dedup();
        assert_eq!(sources.len(), 16);
    }

    #[test]
    fn a_scan_probes_the_requested_ports_only() {
        let ports = |scan: Scan| {
            let ports = scan.take(2000).map(|frame| u16::from_be_bytes([frame[36], frame[37]]));
            ports.collect::<std::collections::BTreeSet<_>>()
        };
        let scan = || Scan::new(Form::Ipv4Syn, 16, 1);
        assert!(ports(scan().to_odd_ports(100)).into_iter().eq((1..200).step_by(2)));
        assert!(ports(scan().to_odd_ports(1)).into_iter().eq([1]));
        let (most, all) = (ports(scan().to_odd_ports(32_768)), ports(scan()));
        assert!(most.iter().all(|port| port % 2 == 1) && most.last() > Some(&65_000));
        assert!(all.iter().any(|port| port % 2 == 0) && all.last() > Some(&65_000));
    }

    #[test]
    fn random_numbers_match_the_reference() {
        // First outputs for seed 0, from the reference implementation by Vigna.
        let mut random = Random::new(0);
        assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next_u64(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(random.next_u64(), 0x06c4_5d18_8009_454f);
    }
}
