//! The scans of the tools and their expected results: a table for each tool. Each row is
//! tested over both address families.
//!
//! | tool | IPv4 | IPv6 |
//! |---|---|---|
//! | nmap | all | all but fragments (`-f`, `--mtu`), which it refuses |
//! | masscan | TCP and UDP | TCP and UDP |
//! | hping3 | all | none: it does not support IPv6 |
//! | ZMap | TCP and UDP | none: it does not support IPv6 |
//!
//! The tables include the scans that a tool refuses, so that a row fails when a later
//! version supports them.

use crate::expected::{FIN, Kind, NULL, SYN, UDP, XMAS, unknown_kind};

use Outcome::{Counted, Probe, ProbeWithOptions, Refused, Silent};

/// Expected result of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Each packet to a monitored port is a probe of this kind.
    Probe(Kind),
    /// The same, with options in the IP header.
    ProbeWithOptions(Kind),
    /// The packets are not probes.
    Silent,
    /// No stack accepts the packets, and the summary counts them under this name.
    Counted(&'static str),
    /// The tool does not support this scan and prints these words.
    Refused(&'static str),
}

/// Options for the ports, and the monitored ones among these ports.
pub(super) type Ports = (&'static str, &'static [u16]);

/// Options of a scan, and its expected results over IPv4 and over IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    pub(super) options: &'static str,
    pub(super) outcomes: [Outcome; 2],
    pub(super) ports: Ports,
}

/// A scanner. In options, `{target}` is the host, `{source}` the scanner, `{mac}` the host's
/// hardware address, and `{decoys}` two further hosts.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) program: &'static str,
    /// Options of every scan, over IPv4 and over IPv6.
    pub(super) common: [&'static str; 2],
    /// Whether the tool fails if it gets no reply.
    pub(super) fails_without_answer: bool,
    /// Whether the tool notices its end only when a packet arrives.
    pub(super) waits_for_a_packet: bool,
    pub(super) scans: &'static [Scan],
}

const fn scan(ports: Ports, options: &'static str, v4: Outcome, v6: Outcome) -> Scan {
    Scan { options, outcomes: [v4, v6], ports }
}

const TCP_CHECKSUM: Outcome = Counted("wrong TCP checksum");
const UDP_CHECKSUM: Outcome = Counted("wrong UDP checksum");
const DATA_OFFSET: Outcome = Counted("impossible TCP data offset");

const SYN_FIN: Kind = unknown_kind!(SYN: 1, FIN: 1, PSH: 0, URG: 0);
const SYN_PSH: Kind = unknown_kind!(SYN: 1, FIN: 0, PSH: 1, URG: 0);
const SYN_URG: Kind = unknown_kind!(SYN: 1, FIN: 0, PSH: 0, URG: 1);
const SYN_PSH_URG: Kind = unknown_kind!(SYN: 1, FIN: 0, PSH: 1, URG: 1);
const SYN_FIN_PSH: Kind = unknown_kind!(SYN: 1, FIN: 1, PSH: 1, URG: 0);
const SYN_FIN_URG: Kind = unknown_kind!(SYN: 1, FIN: 1, PSH: 0, URG: 1);
const FIN_PSH: Kind = unknown_kind!(SYN: 0, FIN: 1, PSH: 1, URG: 0);
const FIN_URG: Kind = unknown_kind!(SYN: 0, FIN: 1, PSH: 0, URG: 1);
const PSH_URG: Kind = unknown_kind!(SYN: 0, FIN: 0, PSH: 1, URG: 1);
const PSH: Kind = unknown_kind!(SYN: 0, FIN: 0, PSH: 1, URG: 0);
const URG: Kind = unknown_kind!(SYN: 0, FIN: 0, PSH: 0, URG: 1);

const NO_FRAGMENTS: Outcome = Refused("fragmentation are not supported with IPv6");

const NMAP_TCP: Ports = ("-p 19-22", &[20, 21, 22]);
const NMAP_UDP: Ports = ("-p 68-70,161", &[69, 70, 161]);
/// nmap sends two payloads to other ports. Fragmented, they have the same identification, and
/// tshark cannot distinguish them.
const NMAP_LONE_UDP: Ports = ("-p 70-71", &[70]);

pub(super) const NMAP: Tool = Tool {
    program: "nmap",
    common: [
        "-n -Pn --disable-arp-ping --max-retries 0 {target}",
        "-6 -n -Pn --disable-arp-ping --max-retries 0 {target}",
    ],
    fails_without_answer: false,
    waits_for_a_packet: false,
    scans: &[
        scan(NMAP_TCP, "-sS", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sT", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sN", Probe(NULL), Probe(NULL)),
        scan(NMAP_TCP, "-sF", Probe(FIN), Probe(FIN)),
        scan(NMAP_TCP, "-sX", Probe(XMAS), Probe(XMAS)),
        scan(NMAP_UDP, "-sU", Probe(UDP), Probe(UDP)),
        // With ACK set, a packet may belong to a connection.
        scan(NMAP_TCP, "-sA", Silent, Silent),
        scan(NMAP_TCP, "-sW", Silent, Silent),
        scan(NMAP_TCP, "-sM", Silent, Silent),
        // SCTP, INIT and COOKIE-ECHO.
        scan(NMAP_TCP, "-sY", Silent, Silent),
        scan(NMAP_TCP, "-sZ", Silent, Silent),
        // Every other combination of flags that a probe can have.
        scan(NMAP_TCP, "-sS --scanflags SYNFIN", Probe(SYN_FIN), Probe(SYN_FIN)),
        scan(NMAP_TCP, "-sS --scanflags SYNPSH", Probe(SYN_PSH), Probe(SYN_PSH)),
        scan(NMAP_TCP, "-sS --scanflags SYNURG", Probe(SYN_URG), Probe(SYN_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNPSHURG", Probe(SYN_PSH_URG), Probe(SYN_PSH_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINPSH", Probe(SYN_FIN_PSH), Probe(SYN_FIN_PSH)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINURG", Probe(SYN_FIN_URG), Probe(SYN_FIN_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINPSHURG", Probe(XMAS), Probe(XMAS)),
        scan(NMAP_TCP, "-sF --scanflags FINPSH", Probe(FIN_PSH), Probe(FIN_PSH)),
        scan(NMAP_TCP, "-sF --scanflags FINURG", Probe(FIN_URG), Probe(FIN_URG)),
        scan(NMAP_TCP, "-sF --scanflags PSHURG", Probe(PSH_URG), Probe(PSH_URG)),
        scan(NMAP_TCP, "-sF --scanflags PSH", Probe(PSH), Probe(PSH)),
        scan(NMAP_TCP, "-sF --scanflags URG", Probe(URG), Probe(URG)),
        // The flags of congestion control do not change the type (RFC 3168).
        scan(NMAP_TCP, "-sS --scanflags SYNECECWR", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sN --scanflags ECECWR", Probe(NULL), Probe(NULL)),
        scan(NMAP_TCP, "-sF --scanflags SYNRST", Silent, Silent),
        scan(NMAP_TCP, "-sF --scanflags FINPSHURGACK", Silent, Silent),
        scan(NMAP_TCP, "-sS --scanflags SYNACK", Silent, Silent),
        // Techniques of evasion.
        scan(NMAP_TCP, "-sS -f", Probe(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS -f -f", Probe(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS --mtu 24 --data-length 100", Probe(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sN -f", Probe(NULL), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sX --mtu 16", Probe(XMAS), NO_FRAGMENTS),
        scan(NMAP_LONE_UDP, "-sU -f --data-length 40", Probe(UDP), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sA -f", Silent, NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS --data-length 32", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sS -g 53", Probe(SYN), Probe(SYN)),
        scan(NMAP_UDP, "-sU -g 53", Probe(UDP), Probe(UDP)),
        scan(NMAP_TCP, "-sS --ttl 1", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sS --spoof-mac 02:00:00:00:00:09", Probe(SYN), Probe(SYN)),
        scan(NMAP_TCP, "-sS -D {decoys}", Probe(SYN), Probe(SYN)),
        scan(NMAP_UDP, "-sU -D {decoys}", Probe(UDP), Probe(UDP)),
        // Over IPv6, nmap omits the options.
        scan(NMAP_TCP, "-sS --ip-options R", ProbeWithOptions(SYN), Probe(SYN)),
        scan(NMAP_TCP, r"-sX --ip-options \x01*4", ProbeWithOptions(XMAS), Probe(XMAS)),
        scan(NMAP_TCP, "-sS --badsum", TCP_CHECKSUM, TCP_CHECKSUM),
        scan(NMAP_UDP, "-sU --badsum", UDP_CHECKSUM, UDP_CHECKSUM),
    ],
};

const MASSCAN_TCP: Ports = ("-p 19-22", &[20, 21, 22]);
/// Without port 161, for which masscan sends malformed packets over IPv6.
const MASSCAN_UDP: Ports = ("-pU:68-70", &[69, 70]);

pub(super) const MASSCAN: Tool = Tool {
    program: "masscan",
    common: [
        "--interface scan0 --adapter-ip {source} --router-mac {mac} --rate 200 --wait 0 \
         --range {target}",
        "--interface scan0 --adapter-ip {source} --router-mac-ipv6 {mac} --rate 200 --wait 0 \
         --range {target}",
    ],
    fails_without_answer: false,
    waits_for_a_packet: true,
    scans: &[
        scan(MASSCAN_TCP, "", Probe(SYN), Probe(SYN)),
        scan(MASSCAN_UDP, "", Probe(UDP), Probe(UDP)),
    ],
};

const NO_IPV6: Outcome = Refused("Unable to resolve");

const HPING3_TCP: Ports = ("--destport ++19 --count 4", &[20, 21, 22]);
const HPING3_UDP: Ports = ("--destport ++68 --count 3", &[69, 70]);

pub(super) const HPING3: Tool = Tool {
    program: "hping3",
    common: ["--numeric --quiet --interval u2000 {target}"; 2],
    fails_without_answer: true,
    waits_for_a_packet: false,
    scans: &[
        scan(HPING3_TCP, "-S", Probe(SYN), NO_IPV6),
        scan(HPING3_TCP, "", Probe(NULL), NO_IPV6),
        scan(HPING3_TCP, "-F", Probe(FIN), NO_IPV6),
        scan(HPING3_TCP, "-P", Probe(PSH), NO_IPV6),
        scan(HPING3_TCP, "-U", Probe(URG), NO_IPV6),
        // The flags that hping3 calls Xmas and Ymas are ECE and CWR.
        scan(HPING3_TCP, "-X", Probe(NULL), NO_IPV6),
        scan(HPING3_TCP, "-Y", Probe(NULL), NO_IPV6),
        scan(HPING3_TCP, "-S -X -Y", Probe(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S -F", Probe(SYN_FIN), NO_IPV6),
        scan(HPING3_TCP, "-S -F -P -U", Probe(XMAS), NO_IPV6),
        scan(HPING3_TCP, "-F -P -U", Probe(XMAS), NO_IPV6),
        scan(HPING3_TCP, "-A", Silent, NO_IPV6),
        scan(HPING3_TCP, "-R", Silent, NO_IPV6),
        scan(HPING3_TCP, "-S -A", Silent, NO_IPV6),
        scan(HPING3_UDP, "--udp", Probe(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --frag", Probe(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --frag --mtu 8 --data 40", Probe(SYN), NO_IPV6),
        scan(HPING3_UDP, "--udp --frag --data 40", Probe(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --data 100", Probe(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --rroute", ProbeWithOptions(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --baseport 53 --keep", Probe(SYN), NO_IPV6),
        scan(HPING3_UDP, "--udp --baseport 123 --keep", Probe(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --ttl 1", Probe(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --badcksum", TCP_CHECKSUM, NO_IPV6),
        scan(HPING3_TCP, "-S --tcpoff 4", DATA_OFFSET, NO_IPV6),
        scan(HPING3_TCP, "-S --tcpoff 15", DATA_OFFSET, NO_IPV6),
    ],
};

const NO_IPV6_PREFIX: Outcome = Refused("not a valid");

const ZMAP_TCP: Ports = ("-p 20", &[20]);
const ZMAP_UDP: Ports = ("-p 69", &[69]);

pub(super) const ZMAP: Tool = Tool {
    program: "zmap",
    common: ["-q -i scan0 -G {mac} -b /dev/null -r 100 -c 0 {target}"; 2],
    fails_without_answer: false,
    waits_for_a_packet: false,
    scans: &[
        scan(ZMAP_TCP, "-M tcp_synscan", Probe(SYN), NO_IPV6_PREFIX),
        scan(ZMAP_TCP, "-M tcp_synscan -P 3 -s 53", Probe(SYN), NO_IPV6_PREFIX),
        scan(ZMAP_UDP, "-M udp --probe-args=text:hello", Probe(UDP), NO_IPV6_PREFIX),
    ],
};
