//! Several rings with a thread for each: the output is the same as with one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portsentry_testbed::{SOON, Signal, Testbed, require_root};

use crate::expected::{LOGGED, SYN, UDP, event};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, syn};
use crate::station::{Ended, Sentry, Station};

const RAW: &[&str] = &["-m", "raw"];

/// Adds addresses of both families to the scanner, and returns them.
fn sources(bed: &Testbed) -> Vec<IpAddr> {
    let v4 = |n: u8| {
        let [a, b, c, _] = bed.scanner.v4().octets();
        let taken = [bed.host.v4(), bed.scanner.v4()];
        let free =
            (1..250).map(|last| Ipv4Addr::new(a, b, c, last)).filter(|it| !taken.contains(it));
        IpAddr::from(free.into_iter().nth(usize::from(n) * 7).expect("an address"))
    };
    let v6 = |n: u8| {
        let network = bed.scanner.v6().to_bits() >> 64 << 64;
        IpAddr::from(Ipv6Addr::from_bits(network | 0xbeef_0000 | u128::from(n)))
    };
    let sources: Vec<IpAddr> = (0..6).map(v4).chain((0..4).map(v6)).collect();
    for source in &sources {
        let bits = if source.is_ipv4() { 24 } else { 64 };
        let (address, device) = (format!("{source}/{bits}"), bed.scanner.interface());
        let late = if source.is_ipv4() { &[][..] } else { &["nodad"] };
        bed.scanner.ip(&[&["address", "add", &address, "dev", device], late].concat());
    }
    sources
}

/// Runs one scan from each source, over all ports in order.
fn scan(bed: &Testbed, sources: &[IpAddr]) {
    const SCANS: [&str; 10] =
        ["-sS", "-sX", "-f -sS", "-sU", "hping3", "--mtu 16 -sN", "-sS", "-sF", "-sU", "-sN"];
    for (source, scan) in sources.iter().zip(SCANS) {
        let (source, device) = (source.to_string(), bed.scanner.interface());
        if scan == "hping3" {
            let target = bed.host.v4().to_string();
            let options = ["-q", "-S", "-p", "++20", "-c", "8", "-i", "u2000", "-a", &source];
            // Its exit status depends on replies, which go to another address.
            let mut hping3 = bed.scanner.spawn("hping3", &[&options[..], &[&target]].concat());
            hping3.wait(SOON);
            continue;
        }
        let mut options = vec!["-n", "-Pn", "-r", "-p", "20-29", "--max-retries", "0"];
        options.extend(scan.split(' ').chain(["-S", &source, "-e", device]));
        let target: IpAddr = match source.contains(':') {
            true => bed.host.v6().into(),
            false => bed.host.v4().into(),
        };
        let target = target.to_string();
        options.extend(target.starts_with("fd").then_some("-6"));
        options.push(&target);
        bed.scanner.run("nmap", &options);
    }
}

/// Returns the lines in order, by source; lines without a source have the key "".
fn by_source(ended: &Ended, sources: &[IpAddr]) -> BTreeMap<String, Vec<String>> {
    let mut printed = BTreeMap::<String, Vec<String>>::new();
    for line in ended.stdout.iter().chain(&ended.stderr) {
        let is_of = |source: &&IpAddr| {
            let source = source.to_string();
            line.split([' ', '[', ']', '/']).any(|word| word == source)
        };
        let source = sources.iter().find(is_of).map(ToString::to_string).unwrap_or_default();
        printed.entry(source).or_default().push(line.clone());
    }
    printed
}

const BLOCKING: &str = r#"
TCP_PORTS = "20-29"
UDP_PORTS = "20-29"
SCAN_TRIGGER = "2"
BLOCKED_FILE = "{dir}/blocked"
HISTORY_FILE = "{dir}/history"
BLOCK_TCP = "1"
BLOCK_UDP = "1"
KILL_ROUTE = "echo block $TARGET$"
"#;

#[test]
fn several_rings_log_the_same_lines_as_one() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sources = sources(&bed);
    let run = |rings: &str| {
        let station = Station::with(&bed.host, &format!("{BLOCKING}CAPTURE_RINGS = \"{rings}\""));
        // In the second run, all sources are known as blocked.
        let logged = [(); 2].map(|()| {
            let sentry = station.start(RAW);
            scan(&bed, &sources);
            let ended = sentry.stop();
            assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
            by_source(&ended, &sources)
        });
        let blocked = fs::read(station.path("blocked")).expect("read").len();
        (logged, blocked, station.history().len())
    };
    let (one, four) = (run("1"), run("4"));
    assert_eq!(one, four);
    let ([first, second], ..) = one;
    for source in &sources {
        let source = source.to_string();
        let known = format!("Host: {source}/{source} is already blocked Ignoring");
        let printed = |lines: &[String]| lines.iter().filter(|line| line.contains(&known)).count();
        let events =
            |lines: &[String]| lines.iter().filter(|line| line.starts_with("Scan from: ")).count();
        let (first, second) = (&first[&source], &second[&source]);
        assert!(events(first) >= 8, "{first:#?}");
        // In the first run, one probe is below the trigger and one triggers the response. In
        // the second run, one probe is below the trigger.
        assert_eq!(printed(first), events(first) - 2, "{first:#?}");
        assert_eq!(printed(second), events(second) - 1, "{second:#?}");
    }
}

/// Returns the packet threads by name, with the number of times that each has slept.
fn threads(sentry: &Sentry) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{}/task", sentry.pid())).expect("tasks").flatten();
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim_start_matches(':').trim().to_owned()
    };
    tasks
        .map(|task| fs::read_to_string(task.path().join("status")).expect("status"))
        .map(|it| (field(&it, "Name"), field(&it, "voluntary_ctxt_switches")))
        .filter(|(name, _)| name.starts_with("ring-"))
        .map(|(name, slept)| (name, slept.parse().expect("a number")))
        .collect()
}

#[test]
fn each_source_of_a_flood_is_logged_once_and_all_rings_work() {
    const SOURCES: u32 = 20_000;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(
        &bed.host,
        "TCP_PORTS = \"23\"\nCAPTURE_RINGS = \"4\"\nCAPTURE_BUFFER = \"64\"\n",
    );
    let sentry = station.start(RAW);
    let before = threads(&sentry);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["ring-0", "ring-1", "ring-2", "ring-3"]);
    let forger = Forger::new(&bed);
    let target = bed.host.v4().into();
    let forged: BTreeSet<IpAddr> =
        (0..SOURCES).map(|n| Ipv4Addr::from_bits((11 << 24) + n * 4_099).into()).collect();
    let frames: Vec<_> = forged.iter().map(|it| forger.syn(*it, target, 23)).collect();
    forger.send(&frames, 10_000);
    sentry.wait_until("every ring", || {
        let now = threads(&sentry);
        before.iter().all(|(name, slept)| now[name] > slept + 5)
    });
    let ended = sentry.stop();
    let mut expected: Vec<_> = forged.iter().map(|it| event(*it, SYN, 23, LOGGED)).collect();
    let mut logged = ended.events();
    logged.sort_unstable();
    expected.sort_unstable();
    assert_eq!(logged.len(), expected.len());
    assert!(logged == expected, "each source once");
    let summary = ended.stderr.last().expect("a summary");
    assert!(summary.starts_with("20000 packets seen, 20000 probes, 0 dropped"), "{summary}");
    assert!(!summary.contains("lost between rings"), "{summary}");
}

#[test]
fn a_reload_reaches_every_ring() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sources = sources(&bed);
    let rings = "CAPTURE_RINGS = \"4\"\n";
    let station = Station::with(&bed.host, &format!("UDP_PORTS = \"20\"\n{rings}"));
    let mut sentry = station.start(RAW);
    let probe = |port| {
        for source in &sources {
            let (_, target) = both_families(&bed)[usize::from(source.is_ipv6())];
            datagram(&bed.scanner, *source, target, port);
        }
    };
    let mut expected = Vec::new();
    for port in [20, 21, 20, 21] {
        station.configure(&format!("UDP_PORTS = \"{port}\"\n{rings}"));
        sentry.signal(Signal::HUP);
        sentry.wait_for_part("Configuration reloaded; changed: ");
        probe(20);
        probe(21);
        let lines: Vec<_> = sources.iter().map(|it| event(*it, UDP, port, LOGGED)).collect();
        sentry.wait_until("all sources", || {
            let printed = sentry.lines();
            lines.iter().all(|line| {
                let count = printed.iter().filter(|it| it.text == *line).count();
                count == expected.iter().filter(|it| *it == line).count() + 1
            })
        });
        expected.extend(lines);
    }
    // A new number of rings takes effect at the next start.
    station.configure("UDP_PORTS = \"21\"\nCAPTURE_RINGS = \"2\"");
    sentry.signal(Signal::HUP);
    // The two messages are on different streams, so their order is undefined.
    for line in [
        "Configuration reloaded; changed: CAPTURE_RINGS",
        "CAPTURE_RINGS takes effect at the next start",
    ] {
        sentry.wait_until(line, || sentry.lines().iter().any(|it| it.text == line));
    }
    assert_eq!(threads(&sentry).len(), 4);
    let ended = sentry.stop();
    let mut logged = ended.events();
    logged.sort_unstable();
    expected.sort_unstable();
    assert_eq!(logged, expected);
}

#[test]
fn counters_and_blocked_hosts_of_every_ring_survive_a_reload() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sources = sources(&bed);
    let station = Station::with(&bed.host, &format!("{BLOCKING}CAPTURE_RINGS = \"4\""));
    let mut sentry = station.start(RAW);
    let probe = |port| {
        for source in &sources {
            let (_, target) = both_families(&bed)[usize::from(source.is_ipv6())];
            syn(&bed.scanner, *source, target, port);
        }
    };
    let count = |sentry: &Sentry, part: &str| {
        sentry.lines().iter().filter(|line| line.text.contains(part)).count()
    };
    for (port, part) in [(20, "triggered: [false]"), (21, "blocked: [true]"), (22, "is already")] {
        probe(port);
        sentry.wait_until(part, || count(&sentry, part) >= sources.len());
        sentry.signal(Signal::HUP);
        sentry.wait_for("Configuration reloaded; changed: nothing");
    }
    let ended = sentry.stop();
    assert_eq!(ended.events().len(), 3 * sources.len(), "{ended:#?}");
}

#[test]
fn an_interface_that_returns_has_all_its_rings() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "UDP_PORTS = \"20-29\"\nCAPTURE_RINGS = \"4\"\n");
    let mut sentry = station.start(&["-m", "raw", "-v"]);
    for port in 20..23 {
        let far_end = ["peer", "name", "late1", "netns", bed.scanner.name()];
        bed.host.ip(&[&["link", "add", "late0", "type", "veth"][..], &far_end].concat());
        let sources: Vec<IpAddr> = (2..10).map(|last| [192, 0, 2, last].into()).collect();
        for source in &sources {
            bed.scanner.ip(&["address", "add", &format!("{source}/24"), "dev", "late1"]);
        }
        bed.scanner.ip(&["link", "set", "late1", "up"]);
        bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", "late0"]);
        bed.host.ip(&["link", "set", "late0", "up"]);
        sentry.wait_for("watching interface late0");
        for source in &sources {
            datagram(&bed.scanner, *source, [192, 0, 2, 1].into(), port);
            sentry.wait_for(&event(*source, UDP, port, LOGGED));
        }
        bed.host.ip(&["link", "delete", "late0"]);
        sentry.wait_for_part("is gone");
    }
    // Each ring has one packet socket for each remaining interface, and one that sees the
    // queries.
    let sockets = || bed.host.run("ss", &["-H", "-0", "-a"]).lines().count();
    let interfaces = bed.host.ip(&["-oneline", "link", "show", "up"]).lines().count();
    sentry.wait_until("closed sockets", || sockets() == 4 * interfaces + 4);
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.events().len(), 3 * 8, "{ended:#?}");
}

/// The kernel still holds most of the packets when the sentry is stopped.
#[test]
fn every_ring_logs_the_packets_before_the_end() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sources = sources(&bed);
    let station = Station::with(
        &bed.host,
        "UDP_PORTS = \"20\"\nCAPTURE_RINGS = \"4\"\nCAPTURE_LATENCY = \"10\"\n",
    );
    for _ in 0..5 {
        let sentry = station.start(RAW);
        for source in &sources {
            let (_, target) = both_families(&bed)[usize::from(source.is_ipv6())];
            datagram(&bed.scanner, *source, target, 20);
        }
        let ended = sentry.stop();
        let mut logged = ended.events();
        let mut expected: Vec<_> = sources.iter().map(|it| event(*it, UDP, 20, LOGGED)).collect();
        logged.sort_unstable();
        expected.sort_unstable();
        assert_eq!(logged, expected);
    }
}

#[test]
fn rings_need_the_method_raw() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"23\"\nCAPTURE_RINGS = \"4\"\n");
    let ended = Ended::running(station.command(&["-m", "pcap"]));
    assert_eq!(ended.status.code(), Some(78), "{ended:#?}");
    let error = ":18: error: 4 rings need the method raw; start with `-m raw`, or remove \
                 `CAPTURE_RINGS`";
    assert!(ended.stderr[0].ends_with(error), "{ended:#?}");

    // A reload is refused as a whole; connect mode ignores the key.
    station.configure("TCP_PORTS = \"23\"\n");
    let mut sentry = station.start(&["-m", "pcap"]);
    station.configure("TCP_PORTS = \"24\"\nCAPTURE_RINGS = \"4\"\n");
    sentry.signal(Signal::HUP);
    sentry.wait_for_part(error);
    sentry.wait_for("The new configuration was rejected; the previous one remains in effect.");
    sentry.stop();
    assert_eq!(station.start(&["--connect"]).stop().status.code(), Some(0));
}
