//! All scans of the tools that scanners use, compared with the wire packet by packet.

mod tools;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Background, SOON, Testbed, require_root};

use self::tools::{HPING3, MASSCAN, NMAP, Outcome, Scan, Tool, ZMAP};
use crate::expected::{Kind, LOGGED, UDP, event, event_with_options};
use crate::forgery::hardware;
use crate::probe::{MARKER, both_families, datagram, is_marker, port_of, settle, syn};
use crate::station::{Ended, Station};
use crate::witness::{Transport, Witness, Witnessed};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-22,25"
UDP_PORTS = "69,70,161,65000"
HISTORY_FILE = "{dir}/history"
"#;

/// One run of a tool against one address family.
struct Run<'a> {
    tool: &'a Tool,
    scan: &'a Scan,
    outcome: Outcome,
    source: IpAddr,
    target: IpAddr,
}

impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, scan, target, .. } = self;
        write!(f, "{} {} {target}", tool.program, scan.options)
    }
}

impl Run<'_> {
    /// Returns the monitored ports among those that the tool scans.
    fn ports(&self) -> &'static [u16] {
        self.scan.ports.1
    }

    /// Returns two unused addresses of the network.
    fn decoys(&self) -> [IpAddr; 2] {
        [252, 253].map(|last| match self.source {
            IpAddr::V4(scanner) => {
                let [a, b, c, _] = scanner.octets();
                Ipv4Addr::new(a, b, c, last).into()
            }
            IpAddr::V6(scanner) => {
                let network = scanner.to_bits() >> 16 << 16;
                Ipv6Addr::from_bits(network | u128::from(last)).into()
            }
        })
    }

    fn sources(&self) -> BTreeSet<IpAddr> {
        let decoys = self.decoys().into_iter().filter(|_| self.scan.options.contains("{decoys}"));
        decoys.chain([self.source]).collect()
    }

    fn options(&self, bed: &Testbed) -> Vec<String> {
        let common = self.tool.common[usize::from(self.target.is_ipv6())];
        let mac = hardware(&bed.host).map(|byte| format!("{byte:02x}")).join(":");
        let decoys = self.decoys().map(|it| it.to_string()).join(",") + ",ME";
        [self.scan.options, self.scan.ports.0, common]
            .iter()
            .flat_map(|options| options.split_whitespace())
            .map(|option| option.replace("{target}", &self.target.to_string()))
            .map(|option| option.replace("{source}", &self.source.to_string()))
            .map(|option| option.replace("{mac}", &mac).replace("{decoys}", &decoys))
            .collect()
    }

    /// Runs the tool and asserts that it scans, or refuses where the table expects it.
    #[track_caller]
    fn go(&self, bed: &Testbed) {
        let mut command = bed.scanner.command(self.tool.program);
        command.args(self.options(bed));
        let mut process = Background::spawn(command);
        let status = if self.tool.waits_for_a_packet {
            while_knocking(bed, self.source, self.target, || process.wait(2 * SOON))
        } else {
            process.wait(2 * SOON)
        };
        let printed = process.transcript();
        match (self.outcome, status.code()) {
            (Outcome::Refused(words), Some(code)) if code != 0 => {
                assert!(printed.contains(words), "{self}: {printed}");
            }
            (Outcome::Refused(_), _) => panic!("{self}: the tool now supports this: {printed}"),
            (_, Some(0)) => {}
            (_, Some(1)) if self.tool.fails_without_answer => {}
            _ => panic!("{self}: {status}\n{printed}"),
        }
    }

    /// Compares the lines of a sentry with the packets on the wire.
    #[track_caller]
    fn check(&self, wire: &[Witnessed], printed: &[&str]) {
        let packets: Vec<_> =
            wire.iter().filter(|packet| self.ports().contains(&packet.port)).collect();
        let sources: BTreeSet<_> = packets.iter().map(|it| it.source).collect();
        let ports: BTreeSet<_> = packets.iter().map(|it| it.port).collect();
        assert_eq!(sources, self.sources(), "{self}: sources of the packets");
        assert_eq!(ports, self.ports().iter().copied().collect(), "{self}: ports of the packets");

        let is_damaged =
            matches!(self.outcome, Outcome::Counted(name) if name.contains("checksum"));
        assert!(!is_damaged || packets.iter().all(|it| !it.intact), "{self}: {packets:?}");

        let line: fn(IpAddr, Kind, u16, &str) -> String = match self.outcome {
            Outcome::ProbeWithOptions(_) => event_with_options,
            _ => event,
        };
        let mut expected = match self.outcome {
            Outcome::Probe(kind) | Outcome::ProbeWithOptions(kind) => packets
                .iter()
                .filter(|packet| is_opener(packet))
                .map(|packet| line(packet.source, kind, packet.port, LOGGED))
                .collect(),
            _ => Vec::new(),
        };
        let mut printed = printed.to_vec();
        expected.sort();
        printed.sort_unstable();
        assert_eq!(printed, expected, "{self}");
    }
}

/// Runs `work` while repeated connections to an unlisted port produce replies, because some
/// tools wait for a packet.
fn while_knocking<T>(bed: &Testbed, source: IpAddr, target: IpAddr, work: impl FnOnce() -> T) -> T {
    let (working, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                syn(&bed.scanner, source, target, 9);
            }
        });
        let _working = working;
        work()
    })
}

/// Returns whether a packet can open a connection: it is neither a reply nor a reset.
fn is_opener(packet: &Witnessed) -> bool {
    const RST_OR_ACK: u16 = 0x14;
    match packet.transport {
        Transport::Tcp(flags) => flags.is_some_and(|flags| flags & RST_OR_ACK == 0),
        Transport::Udp => true,
        Transport::Sctp => false,
    }
}

/// Runs all scans of a tool against two sentries, one for each capture method.
#[track_caller]
fn check_scans_of(tool: &Tool) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let stations = [(); 2].map(|()| Station::with(&bed.host, CONFIGURATION));
    let mut witness = Witness::start(&bed.host);
    let [pcap, raw] = &stations;
    let mut sentries = [pcap.start(&["-m", "pcap"]), raw.start(&["-m", "raw"])];

    let mut runs = Vec::new();
    for (family, (source, target)) in both_families(&bed).into_iter().enumerate() {
        for scan in tool.scans {
            let run = Run { tool, scan, outcome: scan.outcomes[family], source, target };
            run.go(&bed);
            if matches!(run.outcome, Outcome::Refused(_)) {
                continue;
            }
            runs.push(run);
            let [pcap, raw] = &mut sentries;
            settle(&bed, target, pcap, Some(&mut witness));
            raw.wait_for_part(&port_of(UDP, MARKER));
        }
    }
    let wire = witness.packets(&bed.host);
    let wire: Vec<_> = wire.split(|packet| packet.port == MARKER).collect();
    for (station, sentry) in stations.iter().zip(sentries) {
        let ended = sentry.stop();
        assert_eq!(station.history(), ended.between(), "the history must equal the log");
        let printed = ended.events();
        let printed: Vec<_> = printed.split(|line| is_marker(line)).collect();
        // No packet follows the last marker.
        assert_eq!((wire.len(), printed.len()), (runs.len() + 1, runs.len() + 1));
        let mut counted = Vec::new();
        for (run, (wire, printed)) in runs.iter().zip(wire.iter().zip(printed)) {
            run.check(wire, printed);
            if let Outcome::Counted(name) = run.outcome {
                let number = wire.iter().filter(|it| run.ports().contains(&it.port)).count();
                counted.push((name, number));
            }
        }
        assert_summary_counts(&ended, &counted);
    }
}

/// Asserts that the summary counts these packets as undecodable, each under its name, and no
/// others.
#[track_caller]
fn assert_summary_counts(ended: &Ended, counted: &[(&str, usize)]) {
    let summary = ended.stderr.last().expect("summary");
    let total: usize = counted.iter().map(|(_, number)| number).sum();
    let start = format!(", 0 dropped by the kernel, {total} undecodable");
    assert!(summary.contains(&start), "{start}: {summary}");
    for (name, _) in counted {
        let number: usize = counted.iter().filter(|(it, _)| it == name).map(|(_, it)| it).sum();
        assert!(summary.contains(&format!("{number} {name}")), "{number} {name}: {summary}");
    }
}

#[test]
fn each_packet_of_nmap_is_classified() {
    check_scans_of(&NMAP);
}

#[test]
fn each_packet_of_masscan_is_classified() {
    check_scans_of(&MASSCAN);
}

#[test]
fn each_packet_of_hping3_is_classified() {
    check_scans_of(&HPING3);
}

#[test]
fn each_packet_of_zmap_is_classified() {
    check_scans_of(&ZMAP);
}

#[test]
fn the_history_contains_the_time_of_the_probe() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut command = station.command(&[]);
    // A time zone with an offset of half an hour, east of Greenwich.
    command.env("TZ", "TEST-05:30");
    let mut sentry = crate::station::Sentry::watching(command);
    let now = || {
        let output = std::process::Command::new("date")
            .env("TZ", "TEST-05:30")
            .arg("+%Y-%m-%dT%H:%M:%S.%3N%z")
            .output()
            .expect("date");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let before = now();
    datagram(&bed.scanner, bed.scanner.v4().into(), bed.host.v4().into(), MARKER);
    sentry.wait_for(&event(bed.scanner.v4().into(), UDP, MARKER, LOGGED));
    let after = now();
    sentry.stop();

    let [line] = &station.lines("history")[..] else { panic!("not exactly one line") };
    let (stamp, rest) = line.split_once(' ').expect("stamp and line");
    assert_eq!(rest, event(bed.scanner.v4().into(), UDP, MARKER, LOGGED));
    assert_eq!(stamp.len(), 28, "{stamp}");
    assert!(stamp.ends_with("+0530"), "{stamp}");
    assert!(*before <= *stamp && *stamp <= *after, "{before} {stamp} {after}");
}
