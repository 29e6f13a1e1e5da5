//! Every form of packet that hid a probe from some sensor, or that some sensor took for a
//! probe, and its treatment on a live interface.
//!
//! Tables list the forms by the layer that they use. The frames are written byte by byte
//! and sent over a veth pair. Sentries with both capture methods, on all interfaces and on
//! `any`, must log the packets that a host would accept as a probe, count those that no
//! stack accepts, and ignore the others. All ports are monitored, so that a port read from a
//! wrong place is detected.

mod addresses;
mod answered;
mod crowds;
mod extensions;
mod ip;
mod link;
mod pieces;
mod transport;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{Kind, LOCAL, LOGGED, UDP, event, event_with_options};
use crate::forgery::{Forger, hardware};
use crate::fragments::{Between, Version};
use crate::frames::{ethernet, segment, with};
use crate::probe::{MARKER, is_marker, port_of, settle};
use crate::station::{Ended, Station};

const CONFIGURATION: &str = "TCP_PORTS = \"1-65535\"\nUDP_PORTS = \"1-65535\"\n";

/// The capture methods. For `-m raw` the interface `any` is the same as all.
const CAPTURES: [&[&str]; 3] = [&["-m", "pcap"], &["-m", "raw"], &["-m", "pcap", "-i", "any"]];

/// Expected treatment of the frames of a form.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// One probe, to the port that the builders of frames use.
    Probe(Kind),
    /// One probe, to this port.
    ProbeOf(Kind, u16),
    /// One probe, and the IP header has options.
    ProbeWithOptions(Kind),
    /// One probe, whose source is an address of this host.
    ProbeFromHere(Kind),
    /// One undecodable packet, which the summary counts under this name.
    Undecodable(&'static str),
    /// No probe and no error.
    Silent,
}

/// A form of packet: its name, its expected treatment, and its frames in order.
#[derive(Clone, Copy, Debug)]
struct Form {
    name: &'static str,
    outcome: Outcome,
    frames: fn(&Wire) -> Vec<Vec<u8>>,
}

const fn form(name: &'static str, outcome: Outcome, frames: fn(&Wire) -> Vec<Vec<u8>>) -> Form {
    Form { name, outcome, frames }
}

/// The addresses for the frames of one form: each form has a different source.
#[derive(Clone, Copy, Debug)]
struct Wire {
    between: Between,
    /// Hardware addresses of the host and of the scanner.
    hardware: [[u8; 6]; 2],
}

impl Wire {
    /// Returns a frame for the host.
    fn frame(&self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        with(&ethernet(ether_type, payload), 0, &self.hardware.concat())
    }

    /// Returns an IPv4 packet with correct checksums, without a link header.
    fn v4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.between.packet(Version::V4, protocol, payload)
    }

    /// Returns an IPv6 packet with correct checksums, without a link header.
    fn v6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        self.between.packet(Version::V6, next, payload)
    }

    /// Returns the frame of an IP packet.
    fn ip(&self, packet: &[u8]) -> Vec<u8> {
        self.frame(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, packet)
    }

    /// Returns the frame of [`v4`](Self::v4), as the only one of a form.
    fn send_v4(&self, protocol: u8, payload: &[u8]) -> Vec<Vec<u8>> {
        vec![self.ip(&self.v4(protocol, payload))]
    }

    /// Returns the frame of [`v6`](Self::v6), as the only one of a form.
    fn send_v6(&self, next: u8, payload: &[u8]) -> Vec<Vec<u8>> {
        vec![self.ip(&self.v6(next, payload))]
    }

    /// Returns this segment or datagram with the correct checksum.
    fn summed(&self, version: Version, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.between.packet(version, protocol, payload);
        let (_, place) = segment(&packet).expect("a transport header");
        packet[place].to_vec()
    }

    /// Returns the same addresses with another source.
    fn with_source(&self, source: &str) -> Self {
        let mut wire = *self;
        match source.parse().expect("address") {
            IpAddr::V4(address) => wire.between.v4[0] = address.octets(),
            IpAddr::V6(address) => wire.between.v6[0] = address.octets(),
        }
        wire
    }
}

impl Form {
    /// Returns the line of the probe, or `None` if the form is not a probe.
    fn line(&self, source: IpAddr, own: IpAddr) -> Option<String> {
        Some(match self.outcome {
            Outcome::Probe(kind) => event(source, kind, usual_port(kind), LOGGED),
            Outcome::ProbeOf(kind, port) => event(source, kind, port, LOGGED),
            Outcome::ProbeWithOptions(kind) => {
                event_with_options(source, kind, usual_port(kind), LOGGED)
            }
            Outcome::ProbeFromHere(kind) => event(own, kind, usual_port(kind), LOCAL),
            Outcome::Undecodable(_) | Outcome::Silent => return None,
        })
    }
}

/// Sends the frames of all forms to sentries with all capture methods, and compares.
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
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    let (mut names, mut undecodable) = (BTreeMap::new(), BTreeMap::new());
    for (number, form) in (1..).zip(forms) {
        // Each form has its own source address, so that a line can be assigned to it.
        let v4 = Ipv4Addr::new(192, 0, 2, number);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into());
        names.extend([(IpAddr::V4(v4), form.name), (IpAddr::V6(v6), form.name)]);
        let between = Between {
            v4: [v4.octets(), bed.host.v4().octets()],
            v6: [v6.octets(), bed.host.v6().octets()],
        };
        let built = (form.frames)(&Wire { between, hardware });
        let (source, own) = match is_v6(built.last().expect("a frame")) {
            true => (IpAddr::V6(v6), IpAddr::V6(bed.host.v6())),
            false => (IpAddr::V4(v4), IpAddr::V4(bed.host.v4())),
        };
        frames.extend(built);
        expected.extend(form.line(source, own));
        if let Outcome::Undecodable(name) = form.outcome {
            *undecodable.entry(name).or_insert(0) += 1;
        }
    }

    Forger::new(&bed).send(&frames, 2_000);
    let ((_, first), others) = sentries.split_first_mut().expect("a sentry");
    settle(&bed, bed.host.v4().into(), first, None);
    for (_, sentry) in others {
        sentry.wait_for_part(&port_of(UDP, MARKER));
    }
    for (options, sentry) in sentries {
        let ended = sentry.stop();
        let printed = ended.between().iter().filter(|line| !is_marker(line));
        let [printed, expected] = [printed.collect(), expected.iter().collect()]
            .map(|lines: Vec<&String>| named(&lines, &names));
        assert_eq!(printed, expected, "{options:?}: {:?}", ended.stderr);
        assert_eq!(counted(&ended), undecodable, "{options:?}: {:?}", ended.stderr);
    }
}

/// Returns each line with the name of the form whose source it contains.
fn named<'a>(
    lines: &[&'a String],
    names: &BTreeMap<IpAddr, &'a str>,
) -> Vec<(Option<&'a str>, &'a str)> {
    let name = |line: &str| names.get(&line.split(['[', ']']).nth(1)?.parse().ok()?).copied();
    lines.iter().map(|line| (name(line), line.as_str())).collect()
}

/// Returns whether this is a frame of IPv6, with or without tags.
fn is_v6(frame: &[u8]) -> bool {
    frame[12..].chunks(4).find_map(|chunk| match chunk {
        [0x81 | 0x88 | 0x91, 0 | 0xa8, ..] => None,
        [high, low, ..] => Some([*high, *low] == [0x86, 0xdd]),
        _ => None,
    }) == Some(true)
}

/// Returns the port that [`tcp`](crate::frames::tcp) and [`udp`](crate::frames::udp) use.
fn usual_port(kind: Kind) -> u16 {
    if kind.protocol == "UDP" { 53 } else { 23 }
}

/// Returns the numbers of undecodable packets in the summary, by name.
#[track_caller]
fn counted(ended: &Ended) -> BTreeMap<&str, usize> {
    let summary = ended.stderr.last().expect("summary");
    assert!(summary.contains(", 0 dropped by the kernel, "), "{summary}");
    let (_, kinds) = summary.split_once(" undecodable").expect("a number");
    let kinds = kinds.strip_prefix(" (").and_then(|kinds| kinds.split(')').next());
    let kinds = kinds.into_iter().flat_map(|kinds| kinds.split(", "));
    kinds
        .map(|kind| {
            let (number, name) = kind.split_once(' ').expect("number and name");
            (name, number.parse().expect("number"))
        })
        .collect()
}

#[test]
fn no_form_of_link_header_evades_the_sentry() {
    check(link::FORMS);
    check_on(&CAPTURES[..2], link::ON_INTERFACES);
}

#[test]
fn no_form_of_ip_header_evades_the_sentry() {
    check(ip::FORMS);
}

#[test]
fn no_form_of_extension_header_evades_the_sentry() {
    check(extensions::FORMS);
}

#[test]
fn no_form_of_fragmentation_evades_the_sentry() {
    check(pieces::FORMS);
}

#[test]
fn no_form_of_transport_header_evades_the_sentry() {
    check(transport::FORMS);
}

#[test]
fn no_form_of_address_evades_the_sentry() {
    check(addresses::FORMS);
}
