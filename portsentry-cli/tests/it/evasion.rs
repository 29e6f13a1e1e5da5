//! Every form of packet that has hidden a probe from some sensor, or passed for
//! one: what becomes of it on a live interface.
//!
//! The forms stand in tables, by the layer that they play with. The frames are
//! written byte by byte and sent on a cable; sentries for both ways to capture,
//! on all interfaces and on `any`, have to tell of those that a host would take
//! as a probe, count those that no stack takes, and say nothing of the rest. All
//! ports are monitored, so that a port read from a wrong place shows.

mod addresses;
mod crowds;
mod extensions;
mod ip;
mod link;
mod pieces;
mod transport;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{Kind, LOCAL, LOGGED, event, event_with_options};
use crate::forgery::{Forger, hardware};
use crate::fragments::{Between, Version};
use crate::frames::{ethernet, segment, with};
use crate::probe::{MARKER, is_marker, port_of, settle};
use crate::station::{Ended, Station};

const CONFIGURATION: &str = "TCP_PORTS = \"1-65535\"\nUDP_PORTS = \"1-65535\"\n";

/// Ways to capture. For `-m raw` the interface `any` is the same as all.
const CAPTURES: [&[&str]; 3] = [&["-m", "pcap"], &["-m", "raw"], &["-m", "pcap", "-i", "any"]];

/// What becomes of the frames of a form.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// One probe, to the port that the builders of frames write.
    Probe(Kind),
    /// One probe, to this port.
    ProbeOf(Kind, u16),
    /// One probe, and the IP header has options.
    ProbeWithOptions(Kind),
    /// One probe, which claims to come from this host.
    ProbeFromHere(Kind),
    /// One packet is undecodable, and the summary counts it under this name.
    Undecodable(&'static str),
    /// No probe, and nothing wrong.
    Silent,
}

/// A form of packet: its name, what becomes of it, and its frames in order.
#[derive(Clone, Copy, Debug)]
struct Form {
    name: &'static str,
    outcome: Outcome,
    frames: fn(&Wire) -> Vec<Vec<u8>>,
}

const fn form(name: &'static str, outcome: Outcome, frames: fn(&Wire) -> Vec<Vec<u8>>) -> Form {
    Form { name, outcome, frames }
}

/// The cable as the frames of one form use it: from a source of its own.
#[derive(Clone, Copy, Debug)]
struct Wire {
    between: Between,
    /// Of the host and of the scanner.
    hardware: [[u8; 6]; 2],
}

impl Wire {
    /// A frame for the host.
    fn frame(&self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        with(&ethernet(ether_type, payload), 0, &self.hardware.concat())
    }

    /// An IPv4 packet with right checksums, without its link header.
    fn v4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.between.packet(Version::V4, protocol, payload)
    }

    /// The same over IPv6.
    fn v6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        self.between.packet(Version::V6, next, payload)
    }

    /// The frame of an IP packet.
    fn ip(&self, packet: &[u8]) -> Vec<u8> {
        self.frame(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, packet)
    }

    /// The frame of [`v4`](Self::v4), as all that is sent.
    fn send_v4(&self, protocol: u8, payload: &[u8]) -> Vec<Vec<u8>> {
        vec![self.ip(&self.v4(protocol, payload))]
    }

    /// The frame of [`v6`](Self::v6), as all that is sent.
    fn send_v6(&self, next: u8, payload: &[u8]) -> Vec<Vec<u8>> {
        vec![self.ip(&self.v6(next, payload))]
    }

    /// This segment or datagram with the right checksum.
    fn summed(&self, version: Version, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.between.packet(version, protocol, payload);
        let (_, place) = segment(&packet).expect("a transport header");
        packet[place].to_vec()
    }

    /// The same from another source, and to another target where one is named.
    fn from_to(&self, source: &str, target: Option<&str>) -> Self {
        let mut wire = *self;
        let mut put = |text: &str, end: usize| match text.parse().expect("address") {
            IpAddr::V4(address) => wire.between.v4[end] = address.octets(),
            IpAddr::V6(address) => wire.between.v6[end] = address.octets(),
        };
        put(source, 0);
        if let Some(target) = target {
            put(target, 1);
        }
        wire
    }
}

/// The source of the form in this place of its table.
fn source(place: usize, is_v6: bool) -> IpAddr {
    let number = 1 + u8::try_from(place).expect("a short table");
    if is_v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(192, 0, 2, number).into()
    }
}

/// Sends the frames of all forms past sentries for all ways to capture.
#[track_caller]
fn check(forms: &[Form]) {
    check_on(&CAPTURES, forms);
}

#[track_caller]
fn check_on(captures: &[&[&str]], forms: &[Form]) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for end in [&bed.host, &bed.scanner] {
        end.ip(&["link", "set", end.interface(), "mtu", "9000"]);
    }
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut sentries: Vec<_> =
        captures.iter().map(|options| (options, station.start(options))).collect();

    let hardware = [hardware(&bed.host), hardware(&bed.scanner)];
    let mut frames = Vec::new();
    let mut names = BTreeMap::new();
    let mut expected = Vec::new();
    let mut undecodable = BTreeMap::new();
    for (place, form) in forms.iter().enumerate() {
        let [v4, v6] = [false, true].map(|is_v6| source(place, is_v6));
        names.extend([(v4, form.name), (v6, form.name)]);
        let (IpAddr::V4(from_v4), IpAddr::V6(from_v6)) = (v4, v6) else { unreachable!() };
        let between = Between {
            v4: [from_v4.octets(), bed.host.v4().octets()],
            v6: [from_v6.octets(), bed.host.v6().octets()],
        };
        let built = (form.frames)(&Wire { between, hardware });
        let is_v6 = is_v6(built.last().expect("a frame"));
        frames.extend(built);
        let own = if is_v6 { bed.host.v6().into() } else { bed.host.v4().into() };
        let source = if is_v6 { v6 } else { v4 };
        let line = match form.outcome {
            Outcome::Probe(kind) => event(source, kind, usual_port(kind), LOGGED),
            Outcome::ProbeOf(kind, port) => event(source, kind, port, LOGGED),
            Outcome::ProbeWithOptions(kind) => {
                event_with_options(source, kind, usual_port(kind), LOGGED)
            }
            Outcome::ProbeFromHere(kind) => event(own, kind, usual_port(kind), LOCAL),
            Outcome::Undecodable(name) => {
                *undecodable.entry(name).or_insert(0) += 1;
                continue;
            }
            Outcome::Silent => continue,
        };
        expected.push((form.name, line));
    }
    names.extend([(bed.host.v4().into(), "from here"), (bed.host.v6().into(), "from here")]);

    Forger::new(&bed).send(&frames, 2_000);
    let target = bed.host.v4().into();
    let ((_, first), others) = sentries.split_first_mut().expect("a sentry");
    settle(&bed, target, first, None);
    for (_, sentry) in others {
        sentry.wait_for_part(&port_of(crate::expected::UDP, MARKER));
    }
    for (options, sentry) in sentries {
        let ended = sentry.stop();
        let said: Vec<_> = ended
            .between()
            .iter()
            .filter(|line| !is_marker(line))
            .map(|line| (form_of(line, &names), line.clone()))
            .collect();
        let wanted: Vec<_> =
            expected.iter().map(|(_, line)| (form_of(line, &names), line.clone())).collect();
        assert_eq!(said, wanted, "{options:?}: {:?}", ended.stderr);
        assert_eq!(counted(&ended), undecodable, "{options:?}: {:?}", ended.stderr);
    }
}

/// The form whose source a line names.
fn form_of<'a>(line: &str, names: &BTreeMap<IpAddr, &'a str>) -> &'a str {
    let source = line.split(['[', ']']).nth(1).and_then(|text| text.parse().ok());
    source.and_then(|source: IpAddr| names.get(&source)).copied().unwrap_or("nobody")
}

/// Whether this is a frame of IPv6, behind whatever tags.
fn is_v6(frame: &[u8]) -> bool {
    frame[12..].chunks(4).find_map(|chunk| match chunk {
        [0x81 | 0x88 | 0x91, 0 | 0xa8, ..] => None,
        [high, low, ..] => Some([*high, *low] == [0x86, 0xdd]),
        _ => None,
    }) == Some(true)
}

/// The port that [`tcp`](crate::frames::tcp) and [`udp`](crate::frames::udp)
/// write.
fn usual_port(kind: Kind) -> u16 {
    if kind.protocol == "UDP" { 53 } else { 23 }
}

/// What the summary counts as undecodable, by name.
#[track_caller]
fn counted(ended: &Ended) -> BTreeMap<&str, usize> {
    let summary = ended.stderr.last().expect("summary");
    assert!(summary.contains(", 0 dropped by the kernel, "), "{summary}");
    let (_, kinds) = summary.split_once(" undecodable").expect("a number");
    let kinds = kinds.trim_start_matches(" (").trim_end_matches(')');
    let kinds = kinds.split(", ").filter(|kind| !kind.is_empty());
    kinds
        .map(|kind| {
            let (number, name) = kind.split_once(' ').expect("number and name");
            (name, number.parse().expect("number"))
        })
        .collect()
}

#[test]
fn forms_of_link_headers() {
    check(link::FORMS);
    check_on(&CAPTURES[..2], link::ON_INTERFACES);
}

#[test]
fn forms_of_ip_headers() {
    check(ip::FORMS);
}

#[test]
fn forms_of_extension_headers() {
    check(extensions::FORMS);
}

#[test]
fn forms_of_fragments() {
    check(pieces::FORMS);
}

#[test]
fn forms_of_transport_headers() {
    check(transport::FORMS);
}

#[test]
fn forms_of_addresses() {
    check(addresses::FORMS);
}
