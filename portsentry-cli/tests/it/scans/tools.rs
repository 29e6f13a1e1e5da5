//! What scanners send, and what a sentry has to make of it: a table for each
//! tool, in which every scan stands for both families.
//!
//! | tool | IPv4 | IPv6 |
//! |---|---|---|
//! | nmap | all | all but fragments (`-f`, `--mtu`), which it refuses |
//! | masscan | TCP and UDP | TCP and UDP |
//! | hping3 | all | none: it knows no IPv6 |
//! | ZMap | TCP and UDP | none: it knows no IPv6 |
//!
//! What a tool refuses stands in its table and is tried, so that the row fails
//! when a later version can do it.

use crate::expected::{FIN, Kind, NULL, SYN, UDP, XMAS, unknown_kind};

use Outcome::{Counted, Refused, Silent, Told, ToldWithOptions};

/// What becomes of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Each packet to a monitored port is a probe of this kind.
    Told(Kind),
    /// The same, and the IP header has options.
    ToldWithOptions(Kind),
    /// The packets are no probes.
    Silent,
    /// No stack takes the packets, and the summary counts them under this name.
    Counted(&'static str),
    /// The tool knows no such scan and says so in these words.
    Refused(&'static str),
}

/// Options that name ports, and which of these are monitored.
pub(super) type Ports = (&'static str, &'static [u16]);

/// A scan by its options; outcomes over IPv4 and over IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    pub(super) options: &'static str,
    pub(super) outcomes: [Outcome; 2],
    pub(super) ports: Ports,
}

/// A scanner. In options `{target}`, `{source}` and `{mac}` stand for the host,
/// the scanner, and the host's hardware address; `{decoys}` for two hosts more.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) program: &'static str,
    /// Options of every scan, over IPv4 and over IPv6.
    pub(super) common: [&'static str; 2],
    /// Whether it fails when no answer comes.
    pub(super) fails_without_answer: bool,
    /// Whether its receiver notices the end only when another packet comes in.
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
/// It sends two payloads to others, in datagrams of one identification, which
/// tshark does not tell apart when they are cut up.
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
        scan(NMAP_TCP, "-sS", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sT", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sN", Told(NULL), Told(NULL)),
        scan(NMAP_TCP, "-sF", Told(FIN), Told(FIN)),
        scan(NMAP_TCP, "-sX", Told(XMAS), Told(XMAS)),
        scan(NMAP_UDP, "-sU", Told(UDP), Told(UDP)),
        // With ACK set a packet may belong to a connection.
        scan(NMAP_TCP, "-sA", Silent, Silent),
        scan(NMAP_TCP, "-sW", Silent, Silent),
        scan(NMAP_TCP, "-sM", Silent, Silent),
        // SCTP, INIT and COOKIE-ECHO.
        scan(NMAP_TCP, "-sY", Silent, Silent),
        scan(NMAP_TCP, "-sZ", Silent, Silent),
        // Every set of flags that a probe can have and that has no scan of its own.
        scan(NMAP_TCP, "-sS --scanflags SYNFIN", Told(SYN_FIN), Told(SYN_FIN)),
        scan(NMAP_TCP, "-sS --scanflags SYNPSH", Told(SYN_PSH), Told(SYN_PSH)),
        scan(NMAP_TCP, "-sS --scanflags SYNURG", Told(SYN_URG), Told(SYN_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNPSHURG", Told(SYN_PSH_URG), Told(SYN_PSH_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINPSH", Told(SYN_FIN_PSH), Told(SYN_FIN_PSH)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINURG", Told(SYN_FIN_URG), Told(SYN_FIN_URG)),
        scan(NMAP_TCP, "-sS --scanflags SYNFINPSHURG", Told(XMAS), Told(XMAS)),
        scan(NMAP_TCP, "-sF --scanflags FINPSH", Told(FIN_PSH), Told(FIN_PSH)),
        scan(NMAP_TCP, "-sF --scanflags FINURG", Told(FIN_URG), Told(FIN_URG)),
        scan(NMAP_TCP, "-sF --scanflags PSHURG", Told(PSH_URG), Told(PSH_URG)),
        scan(NMAP_TCP, "-sF --scanflags PSH", Told(PSH), Told(PSH)),
        scan(NMAP_TCP, "-sF --scanflags URG", Told(URG), Told(URG)),
        // Those of congestion control are nobody's (RFC 3168).
        scan(NMAP_TCP, "-sS --scanflags SYNECECWR", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sN --scanflags ECECWR", Told(NULL), Told(NULL)),
        scan(NMAP_TCP, "-sF --scanflags SYNRST", Silent, Silent),
        scan(NMAP_TCP, "-sF --scanflags FINPSHURGACK", Silent, Silent),
        scan(NMAP_TCP, "-sS --scanflags SYNACK", Silent, Silent),
        // Ways past a sentry.
        scan(NMAP_TCP, "-sS -f", Told(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS -f -f", Told(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS --mtu 24 --data-length 100", Told(SYN), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sN -f", Told(NULL), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sX --mtu 16", Told(XMAS), NO_FRAGMENTS),
        scan(NMAP_LONE_UDP, "-sU -f --data-length 40", Told(UDP), NO_FRAGMENTS),
        scan(NMAP_TCP, "-sA -f", Silent, NO_FRAGMENTS),
        scan(NMAP_TCP, "-sS --data-length 32", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sS -g 53", Told(SYN), Told(SYN)),
        scan(NMAP_UDP, "-sU -g 53", Told(UDP), Told(UDP)),
        scan(NMAP_TCP, "-sS --ttl 1", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sS --spoof-mac 02:00:00:00:00:09", Told(SYN), Told(SYN)),
        scan(NMAP_TCP, "-sS -D {decoys}", Told(SYN), Told(SYN)),
        scan(NMAP_UDP, "-sU -D {decoys}", Told(UDP), Told(UDP)),
        // Over IPv6 it leaves them out.
        scan(NMAP_TCP, "-sS --ip-options R", ToldWithOptions(SYN), Told(SYN)),
        scan(NMAP_TCP, r"-sX --ip-options \x01*4", ToldWithOptions(XMAS), Told(XMAS)),
        scan(NMAP_TCP, "-sS --badsum", TCP_CHECKSUM, TCP_CHECKSUM),
        scan(NMAP_UDP, "-sU --badsum", UDP_CHECKSUM, UDP_CHECKSUM),
    ],
};

const MASSCAN_TCP: Ports = ("-p 19-22", &[20, 21, 22]);
/// Not port 161: over IPv6 it garbles what it sends there.
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
        scan(MASSCAN_TCP, "", Told(SYN), Told(SYN)),
        scan(MASSCAN_UDP, "", Told(UDP), Told(UDP)),
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
        scan(HPING3_TCP, "-S", Told(SYN), NO_IPV6),
        scan(HPING3_TCP, "", Told(NULL), NO_IPV6),
        scan(HPING3_TCP, "-F", Told(FIN), NO_IPV6),
        scan(HPING3_TCP, "-P", Told(PSH), NO_IPV6),
        scan(HPING3_TCP, "-U", Told(URG), NO_IPV6),
        // What it calls Xmas and Ymas are ECE and CWR.
        scan(HPING3_TCP, "-X", Told(NULL), NO_IPV6),
        scan(HPING3_TCP, "-Y", Told(NULL), NO_IPV6),
        scan(HPING3_TCP, "-S -X -Y", Told(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S -F", Told(SYN_FIN), NO_IPV6),
        scan(HPING3_TCP, "-S -F -P -U", Told(XMAS), NO_IPV6),
        scan(HPING3_TCP, "-F -P -U", Told(XMAS), NO_IPV6),
        scan(HPING3_TCP, "-A", Silent, NO_IPV6),
        scan(HPING3_TCP, "-R", Silent, NO_IPV6),
        scan(HPING3_TCP, "-S -A", Silent, NO_IPV6),
        scan(HPING3_UDP, "--udp", Told(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --frag", Told(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --frag --mtu 8 --data 40", Told(SYN), NO_IPV6),
        scan(HPING3_UDP, "--udp --frag --data 40", Told(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --data 100", Told(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --rroute", ToldWithOptions(SYN), NO_IPV6),
        scan(HPING3_TCP, "-S --baseport 53 --keep", Told(SYN), NO_IPV6),
        scan(HPING3_UDP, "--udp --baseport 123 --keep", Told(UDP), NO_IPV6),
        scan(HPING3_TCP, "-S --ttl 1", Told(SYN), NO_IPV6),
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
        scan(ZMAP_TCP, "-M tcp_synscan", Told(SYN), NO_IPV6_PREFIX),
        scan(ZMAP_TCP, "-M tcp_synscan -P 3 -s 53", Told(SYN), NO_IPV6_PREFIX),
        scan(ZMAP_UDP, "-M udp --probe-args=text:hello", Told(UDP), NO_IPV6_PREFIX),
    ],
};
