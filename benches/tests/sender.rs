//! The frames of the sender are valid and varied, as tcpdump and tshark see them.

use std::collections::BTreeSet;
use std::time::Duration;

use portsentry_testbed::{Testbed, require_root};

const FRAMES: usize = 2_000;

#[test]
fn the_sender_sends_valid_syns_from_many_sources_to_many_ports() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (interface, folder) = (bed.host.interface(), tempfile::tempdir().unwrap());
    bed.host.run("ethtool", &["-K", interface, "gro", "on"]);
    let path = folder.path().join("frames.pcap");
    let path = path.to_str().unwrap();
    let count = FRAMES.to_string();
    let mut tcpdump = bed.host.spawn(
        "tcpdump",
        &["-i", interface, "-Z", "root", "-B", "8192", "-c", &count, "-w", path, "tcp"],
    );
    tcpdump.wait_for_line(Duration::from_secs(20), |line| line.contains("listening on"));

    let links = bed.host.ip(&["-o", "link", "show", "dev", interface]);
    let hardware = links.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let target = bed.host.v4().to_string();
    let output = bed.scanner.run(
        env!("CARGO_BIN_EXE_sender"),
        &[bed.scanner.interface(), hardware, &target, &count, "20000"],
    );
    assert!(output.starts_with(&format!("{count} frames in ")), "{output}");

    assert!(tcpdump.wait(Duration::from_secs(20)).success(), "{}", tcpdump.transcript());
    let mut options = vec!["-r", path, "-T", "fields"];
    for check in ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE"] {
        options.extend(["-o", check]);
    }
    for field in ["ip.checksum.status", "tcp.checksum.status", "tcp.flags", "ip.dst"] {
        options.extend(["-e", field]);
    }
    options.extend(["-e", "ip.src", "-e", "tcp.dstport"]);
    let frames = bed.host.run("tshark", &options);
    let mut sources = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for frame in frames.lines() {
        // Both checksums correct, SYN set alone.
        let rest = frame.strip_prefix(&format!("1\t1\t0x0002\t{target}\t198.18."));
        let (source, port) = rest.and_then(|rest| rest.split_once('\t')).expect(frame);
        assert_ne!(port, "0");
        sources.insert(source.to_owned());
        ports.insert(port.to_owned());
    }
    assert_eq!(frames.lines().count(), FRAMES);
    // 2,000 draws out of 65,536 values repeat a value about 30 times.
    assert!(sources.len() > 1_800 && ports.len() > 1_800, "{} {}", sources.len(), ports.len());
}
