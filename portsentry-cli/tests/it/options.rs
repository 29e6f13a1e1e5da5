//! The options of the command line.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use portsentry_testbed::{Background, Namespace, SOON, Testbed, require_root};

use crate::expected::{IGNORED, LOCAL, LOGGED, UDP, event};
use crate::probe::{both_families, datagram};
use crate::station::{Ended, PROGRAM, Sentry, Station, copy_of_program, open_to_all};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
"#;

const LOOPBACK: &str = "127.0.0.1";

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

#[test]
fn only_the_requested_interfaces_are_watched() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let device = bed.host.interface();
    let check = |options: &[&str], outside: bool, loopback: bool| {
        let mut sentry = station.start(options);
        let from_loopback = event(address("127.0.0.2"), UDP, 21, LOGGED);
        let mut expected = Vec::new();
        // Packets that must not be seen are sent first.
        if !loopback {
            datagram(&bed.host, address("127.0.0.2"), address(LOOPBACK), 21);
        }
        for (source, target) in both_families(&bed) {
            datagram(&bed.scanner, source, target, 20);
            if outside {
                expected.push(event(source, UDP, 20, LOGGED));
                sentry.wait_for(expected.last().expect("line"));
            }
        }
        if loopback {
            datagram(&bed.host, address("127.0.0.2"), address(LOOPBACK), 21);
            sentry.wait_for(&from_loopback);
            expected.push(from_loopback);
        }
        assert_eq!(sentry.stop().between(), expected, "{options:?}");
    };
    check(&[], true, false);
    check(&["-i", device], true, false);
    check(&["-i", "lo"], false, true);
    check(&["-i", "lo", "-i", device, "--interface", device], true, true);
    check(&["-i", device, "-i", "nosuch0"], true, false);
    check(&["-i", "ALL"], true, true);
    check(&["--interface=ALL_NLO"], true, false);
    check(&["-i", "any", "--stealth", "-m", "pcap", "-l", "stdout"], true, true);
    check(&["-i", "ALL", "-x", "lo"], true, false);
    check(&["-i", "ALL", "-x", "nosuch0", "--exclude", "host*"], false, true);
    check(&["-m", "raw"], true, true);
    check(&["-m", "raw", "-i", device], true, false);
    check(&["-m", "raw", "-i", "lo"], false, true);
    check(&["-m", "raw", "-i", "any"], true, true);
    check(&["--method", "raw", "-i", "ALL_NLO"], true, false);
}

#[test]
fn invalid_interfaces_are_refused() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let check = |options: &[&str], status: i32, printed: &str| {
        let ended = Ended::running(station.command(options));
        assert_eq!(ended.status.code(), Some(status), "{options:?}: {ended:#?}");
        assert!(ended.stderr.join("\n").contains(printed), "{options:?}: {ended:#?}");
        assert!(!ended.stdout.join("\n").contains("active"), "{options:?}: {ended:#?}");
    };
    check(&["-i", "nosuch0"], 1, "nosuch0: no such interface; there are lo, host0");
    check(&["-i", "host"], 1, "host: no such interface; there are lo, host0");
    check(&["-i", "ALL", "-i", "host0"], 2, "ALL");
    check(&["-i", "host0", "-i", "ALL_NLO"], 2, "ALL_NLO");
    check(&["-i", "ALL", "-i", "ALL_NLO"], 2, "ALL");
    check(&["-i", "sixteen-byte-nam"], 2, "sixteen-byte-nam");
    check(&["-m", "fast"], 2, "fast");
    check(&["-m", "raw", "-i", "nosuch0"], 1, "nosuch0: no such interface; there are lo, host0");
    check(&["-i", "host0", "-x", "veth*"], 2, "veth*");
    check(&["-x", "*"], 2, "\"*\"");
    check(&["--stealth", "--stealth"], 2, "--stealth");
}

#[test]
fn a_missing_interface_is_reported_and_watched_once_it_exists() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut sentry = station.start(&["-i", "late0", "-i", bed.host.interface()]);
    // The warning is on another stream than the line that `start` waited for.
    let deadline = std::time::Instant::now() + SOON;
    while !sentry.lines().iter().any(|line| line.text.contains("late0")) {
        assert!(std::time::Instant::now() < deadline, "{sentry:?}");
        std::thread::yield_now();
    }

    let (device, late) = (bed.scanner.interface(), "late0");
    let pair = ["link", "add", late, "netns", bed.host.name(), "type", "veth", "peer", "name"];
    bed.scanner.ip(&[&pair[..], &["late1"]].concat());
    assert_ne!(device, late);
    bed.scanner.ip(&["address", "add", "192.0.2.2/24", "dev", "late1"]);
    bed.scanner.ip(&["link", "set", "late1", "up"]);
    bed.host.ip(&["link", "set", late, "up"]);
    bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", late]);
    // The sentry notices the interface after a moment, and does not see earlier packets.
    let line = event(address("192.0.2.2"), UDP, 20, LOGGED);
    let deadline = std::time::Instant::now() + SOON;
    while !sentry.lines().iter().any(|it| it.text == line) {
        assert!(std::time::Instant::now() < deadline, "{sentry:?}");
        datagram(&bed.scanner, address("192.0.2.2"), address("192.0.2.1"), 20);
        std::thread::yield_now();
    }
    sentry.wait_for(&line);
    sentry.stop();
}

#[test]
fn a_host_that_probes_itself_is_ignored_by_default() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let station = Station::with(&host, CONFIGURATION);
    let skipping =
        "debug: Source address 127.0.0.1 same as destination address 127.0.0.1, skipping";
    let check = |options: &[&str], end: &str, debug: bool| {
        let mut sentry = station.start(&[&["-i", "ALL"], options].concat());
        datagram(&host, address(LOOPBACK), address(LOOPBACK), 20);
        if debug {
            sentry.wait_for(skipping);
        }
        sentry.wait_for(&event(address(LOOPBACK), UDP, 20, end));
        let ended = sentry.stop();
        assert_eq!(ended.stdout.iter().any(|line| line == skipping), debug, "{ended:#?}");
    };
    check(&[], LOCAL, false);
    check(&["-d"], LOCAL, true);
    check(&["-L"], LOGGED, false);
    check(&["--disable-local-check", "--debug"], LOGGED, false);
}

#[test]
fn ignored_hosts_are_logged_on_request() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station =
        Station::with(&bed.host, &format!("{CONFIGURATION}IGNORE_FILE = \"{{dir}}/ignore\""));
    let v6_network = format!("{}/64", bed.scanner.v6());
    station.write("ignore", &format!("# friends\n{} # one\n{v6_network}", bed.scanner.v4()));
    for verbose in [false, true] {
        let mut sentry = station.start(if verbose { &["-v"] } else { &[] });
        let mut expected = Vec::new();
        for (source, target) in both_families(&bed) {
            datagram(&bed.scanner, source, target, 20);
            if verbose {
                expected.push(station.expand(&format!(
                    "Host: {source} found in ignore file {{dir}}/ignore, aborting actions"
                )));
            }
            expected.push(event(source, UDP, 20, IGNORED));
            sentry.wait_for(expected.last().expect("line"));
        }
        assert_eq!(sentry.stop().between(), expected);
    }
}

#[test]
fn debug_lines_are_marked_and_show_the_configuration() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let station = Station::with(&host, CONFIGURATION);
    let ended = station.start(&["-i", "lo", "-d"]).stop();
    let ordinary = ended.stdout.iter().filter(|line| !line.starts_with("debug: "));
    let ordinary: Vec<_> = ordinary.map(String::as_str).collect();
    let [version, "watching interface lo", active, "Portsentry is shutting down"] = ordinary[..]
    else {
        panic!("{ended:#?}")
    };
    assert!(version.starts_with("Portsentry ") && active.ends_with("listening."), "{ended:#?}");
    for line in ["TCP_PORTS = \"20-30\"", "BLOCK_TCP = \"0\"", "RESPONSE_TIMEOUT = \"30\""] {
        let shown = ended.stdout.iter().any(|it| {
            let it = it.strip_prefix("debug: ").unwrap_or_default();
            it.split_whitespace().eq(line.split_whitespace())
        });
        assert!(shown, "{line}: {ended:#?}");
    }
    let silent = station.start(&["-i", "lo"]).stop();
    assert_eq!(silent.stdout.len(), 3, "{silent:#?}");
}

#[test]
fn the_version_is_printed() {
    for option in ["-V", "--version"] {
        let mut command = Command::new(PROGRAM);
        command.arg(option);
        let ended = Ended::running(command);
        assert_eq!(ended.status.code(), Some(0));
        let version = format!("Portsentry {} (", env!("CARGO_PKG_VERSION"));
        assert!(ended.stdout.len() == 1 && ended.stdout[0].starts_with(&version), "{ended:?}");
        assert!(ended.stdout[0].ends_with(')') && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn the_version_is_the_first_line() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let station = Station::with(&host, CONFIGURATION);
    let ended = station.start(&["-i", "lo"]).stop();
    assert!(ended.stdout[0].starts_with("Portsentry 0."), "{ended:?}");
    assert_eq!(ended.between(), [""; 0]);
}

#[test]
fn without_a_configuration_file_the_built_in_one_is_used() {
    let Some(root) = require_root() else { return };
    let default = "/etc/portsentry/portsentry.conf";
    if Path::new(default).exists() {
        println!("skipped: this machine has a {default}");
        return;
    }
    let bed = Testbed::new(root);
    let mut sentry = Sentry::watching(bed.host.command(PROGRAM));
    let (source, target) = (bed.scanner.v4().into(), bed.host.v4().into());
    datagram(&bed.scanner, source, target, 11);
    sentry.wait_for(&event(source, UDP, 11, LOGGED));
    let ended = sentry.stop();
    let printed = format!("There is no configuration file {default}: watching TCP ports ");
    assert!(ended.stderr[0].starts_with(&printed), "{ended:#?}");
    assert!(ended.stderr[0].ends_with("and only logging"), "{ended:#?}");
}

#[test]
fn the_error_names_the_missing_privilege() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    open_to_all(&station.path(""));
    // The program itself may be in a folder that only root can enter.
    let program = copy_of_program(&station.path(""));
    let as_nobody = |capabilities: &str, method: &str| {
        let mut command = bed.host.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        command.arg(&program).arg("-c").arg(station.path("portsentry.conf")).args(["-m", method]);
        command
    };
    for method in ["pcap", "raw"] {
        let ended = Ended::of(&mut Background::spawn(as_nobody("-all", method)));
        assert_eq!(ended.status.code(), Some(77), "{ended:#?}");
        assert!(ended.stderr.join("\n").contains("CAP_NET_RAW"), "{ended:#?}");
        assert!(!ended.stdout.join("\n").contains("active"), "{ended:#?}");

        let mut sentry = Sentry::watching(as_nobody("+net_raw", method));
        let (source, target) = (bed.scanner.v4().into(), bed.host.v4().into());
        datagram(&bed.scanner, source, target, 20);
        sentry.wait_for(&event(source, UDP, 20, LOGGED));
        sentry.stop();
    }
}
