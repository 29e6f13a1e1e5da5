//! `portsentry replay`: capture files through the program.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use portsentry_testbed::{CAPTURES, Capture, captures_folder, require_root};
use tempfile::TempDir;

use crate::expected::{BELOW_TRIGGER, IGNORED, LOCAL, LOGGED, SYN, event};
use crate::forgery::{capture, syn_frame};
use crate::station::{Ended, PROGRAM, copy_of_program, open_to_all};

const EVERYTHING: &str = "TCP_PORTS = \"1-65535\"\nUDP_PORTS = \"1-65535\"\n";

/// A folder with a configuration and captures of the test.
struct Place(TempDir);

impl Place {
    fn with(configuration: &str) -> Self {
        let place = Self(TempDir::new().expect("folder"));
        place.write("portsentry.conf", configuration.as_bytes());
        place
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("write");
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["replay", "-c", "portsentry.conf"]).args(words).current_dir(self.0.path());
        command
    }

    fn replay(&self, words: &[&str]) -> Ended {
        Ended::running(self.command(words))
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Returns a capture with one SYN to each of `ports`.
fn knocks(from: &str, to: &str, ports: impl Iterator<Item = u16>) -> Vec<u8> {
    let (from, to) = (address(from), address(to));
    let frames: Vec<_> = ports.map(|port| syn_frame(([2; 6], [4; 6]), from, to, port)).collect();
    capture(&frames)
}

const SCANNER: &str = "192.0.2.7";
const HOST: &str = "198.51.100.1";

fn lines(from: &str, ports: impl Iterator<Item = u16>) -> Vec<String> {
    ports.map(|port| event(address(from), SYN, port, LOGGED)).collect()
}

#[test]
fn real_captures_produce_the_contract_lines() {
    let Some(folder) = captures_folder() else { return };
    let place = Place::with(EVERYTHING);
    for Capture { file, host, packets, tcp, udp } in CAPTURES {
        let path = folder.join(file);
        let mut words = vec![path.to_str().expect("path")];
        words.extend(host.iter().flat_map(|host| ["--host", host]));
        let ended = place.replay(&words);
        assert_eq!(ended.status.code(), Some(0), "{file}: {:?}", ended.stderr);
        let of = |protocol: &str| {
            let protocol = format!(" protocol: [{protocol}] ");
            ended.events().iter().filter(|line| line.contains(&protocol)).count() as u64
        };
        assert_eq!((of("TCP"), of("UDP")), (tcp, udp), "{file} to {host:?}");
        assert_eq!(ended.stdout.len() as u64, tcp + udp, "{file}: there must be no other line");
        let summary = format!("{packets} packets seen, {} probes, ", tcp + udp);
        assert!(ended.stderr[0].starts_with(&summary), "{file}: {:?}", ended.stderr);
    }
}

#[test]
fn every_combination_of_flags_has_its_type() {
    let Some(folder) = captures_folder() else { return };
    let path = folder.join("tcp-flags-all-combinations.pcap");
    let ended = Place::with(EVERYTHING).replay(&[path.to_str().expect("path")]);
    let kind = |line: &&str| {
        let (_, rest) = line.split_once(" type: [").expect("type");
        rest.split_once(']').expect("type").0.to_owned()
    };
    let mut types: Vec<String> = ended.events().iter().map(kind).collect();
    types.sort();
    // All combinations of FIN, SYN, PSH and URG, without RST and ACK.
    let mut expected: Vec<String> = (0..16)
        .map(|bits| match [bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3] {
            [0, 0, 0, 0] => "TCP NULL scan".to_owned(),
            [1, _, 1, 1] => "TCP XMAS scan".to_owned(),
            [1, 0, 0, 0] => "TCP FIN scan".to_owned(),
            [0, 1, 0, 0] => "TCP SYN/Normal scan".to_owned(),
            [fin, syn, psh, urg] => format!(
                "Unknown Type: TCP Packet Flags: \
                 SYN: {syn} FIN: {fin} ACK: 0 PSH: {psh} URG: {urg} RST: 0"
            ),
        })
        .collect();
    expected.sort();
    assert_eq!(types, expected);
}

#[test]
fn the_same_files_produce_the_same_bytes() {
    let place = Place::with(&format!("{EVERYTHING}SCAN_TRIGGER = \"3\"\n"));
    // Many sources, so that a random order of a table would become visible.
    let frames: Vec<_> = (0..20_000_u32)
        .map(|n| {
            let from = IpAddr::from((0xc612_0000 + n % 9_000).to_be_bytes());
            syn_frame(([2; 6], [4; 6]), from, address(HOST), 1 + (n % 1_000) as u16)
        })
        .collect();
    place.write("scan.pcap", &capture(&frames));
    let (first, second) = (place.replay(&["scan.pcap"]), place.replay(&["scan.pcap"]));
    assert_eq!(first.events().len(), frames.len());
    assert_eq!(first.events().iter().filter(|line| line.ends_with(LOGGED)).count(), 2_000);
    assert_eq!(first.events().iter().filter(|line| line.ends_with(BELOW_TRIGGER)).count(), 18_000);
    assert!(first.stdout == second.stdout && first.stderr == second.stderr);
}

#[test]
fn files_are_read_in_the_given_order() {
    let place = Place::with(EVERYTHING);
    place.write("one.pcap", &knocks(SCANNER, HOST, 20..25));
    place.write("two.pcap", &knocks("2001:db8::7", "2001:db8::1", 20..25));
    let ended = place.replay(&["two.pcap", "one.pcap", "one.pcap"]);
    assert_eq!(
        ended.stdout,
        [lines("2001:db8::7", 20..25), lines(SCANNER, 20..25), lines(SCANNER, 20..25)].concat()
    );
    assert_eq!(ended.stderr, ["15 packets seen, 15 probes, 0 undecodable"]);
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn only_probes_of_the_given_hosts_are_reported() {
    let place = Place::with(EVERYTHING);
    place.write("one.pcap", &knocks(SCANNER, HOST, 20..22));
    place.write("two.pcap", &knocks("2001:db8::7", "2001:db8::1", 20..22));
    let check = |hosts: &[&str], expected: &[&[String]]| {
        let mut words = vec!["one.pcap", "two.pcap"];
        words.extend(hosts.iter().flat_map(|host| ["--host", host]));
        assert_eq!(place.replay(&words).stdout, expected.concat(), "{hosts:?}");
    };
    let (v4, v6) = (lines(SCANNER, 20..22), lines("2001:db8::7", 20..22));
    check(&[], &[&v4, &v6]);
    check(&[HOST], &[&v4]);
    check(&["2001:db8::/120"], &[&v6]);
    check(&[HOST, "2001:db8::1"], &[&v4, &v6]);
    check(&["198.51.100.2", SCANNER], &[]);
}

#[test]
fn a_replay_applies_the_configuration_but_never_responds() {
    let place = Place::with(&format!(
        "{EVERYTHING}IGNORE_FILE = \"ignore\"\nHISTORY_FILE = \"history\"\n\
         BLOCKED_FILE = \"blocked\"\nBLOCK_TCP = \"2\"\nKILL_RUN_CMD = \"touch did\"\n"
    ));
    place.write("ignore", b"192.0.2.8");
    place.write("one.pcap", &knocks("192.0.2.8", HOST, 20..21));
    place.write("two.pcap", &knocks(SCANNER, HOST, 20..21));
    place.write("self.pcap", &knocks(HOST, HOST, 20..21));
    let expected = |local| {
        [
            event(address("192.0.2.8"), SYN, 20, IGNORED),
            event(address(SCANNER), SYN, 20, LOGGED),
            event(address(HOST), SYN, 20, local),
        ]
    };
    let files = ["one.pcap", "two.pcap", "self.pcap"];
    assert_eq!(place.replay(&files).stdout, expected(LOCAL));
    assert_eq!(place.replay(&[&files[..], &["-L"]].concat()).stdout, expected(LOGGED));
    for name in ["history", "blocked", "did"] {
        assert!(!place.0.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_broken_file_is_reported_and_the_others_are_read() {
    let place = Place::with(EVERYTHING);
    let whole = knocks(SCANNER, HOST, 20..25);
    // Each record has a header of 16 bytes and 54 bytes of data; the cut is in the fourth.
    let cut = 24 + 3 * 70 + 30;
    place.write("cut.pcap", &whole[..cut]);
    place.write("text.pcap", b"This is no capture at all, but a text.");
    place.write("whole.pcap", &whole);
    let check = |files: &[&str], expected: &[&[String]], printed: &[&str]| {
        let ended = place.replay(files);
        assert_eq!(ended.stdout, expected.concat(), "{files:?}");
        assert_eq!(ended.status.code(), Some(1), "{files:?}: {ended:#?}");
        for printed in printed {
            assert!(
                ended.stderr.iter().any(|line| line.contains(printed)),
                "{printed}: {ended:#?}"
            );
        }
    };
    let truncated = "cut.pcap: cut off after 3 packets, at byte 234";
    let foreign = "text.pcap: not a capture file (expected pcap or pcapng)";
    let (three, five) = (lines(SCANNER, 20..23), lines(SCANNER, 20..25));
    check(&["cut.pcap"], &[&three], &[truncated]);
    check(&["text.pcap"], &[], &[foreign]);
    check(
        &["cut.pcap", "text.pcap", "whole.pcap"],
        &[&three, &five],
        &[truncated, foreign, "8 packets seen, 8 probes"],
    );
    check(&["missing.pcap", "whole.pcap"], &[&five], &["missing.pcap: "]);
}

#[test]
fn a_reader_that_closes_early_is_not_an_error() {
    let place = Place::with(EVERYTHING);
    place.write("scan.pcap", &knocks(SCANNER, HOST, 1..=65_535));
    let mut command = place.command(&["scan.pcap"]);
    let mut replay = command.stdout(Stdio::piped()).spawn().expect("start");
    let mut stdout = replay.stdout.take().expect("stdout");
    std::io::Read::read_exact(&mut stdout, &mut [0; 100]).expect("read");
    drop(stdout);
    assert_eq!(replay.wait().expect("wait").code(), Some(0));
}

#[test]
fn a_replay_needs_no_privileges() {
    let Some(_root) = require_root() else { return };
    let place = Place::with(EVERYTHING);
    open_to_all(place.0.path());
    let program = copy_of_program(place.0.path());
    place.write("scan.pcap", &knocks(SCANNER, HOST, 20..25));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", "-all", "--bounding-set", "-all"]).arg(&program);
    command.args(["replay", "-c", "portsentry.conf", "scan.pcap"]).current_dir(place.0.path());
    let ended = Ended::running(command);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(ended.stdout, lines(SCANNER, 20..25));
}
