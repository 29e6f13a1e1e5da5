//! The word `ALL` for a list of ports.

use portsentry_testbed::{Signal, Testbed, require_root};

use crate::expected::{LOGGED, SYN, UDP, event};
use crate::probe::{both_families, datagram, is_marker, settle, syn};
use crate::station::{Ended, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "ALL"
UDP_PORTS = "ALL"
HISTORY_FILE = "{dir}/history"
"#;

/// Ports inside and outside of both ranges of the test.
const PROBED: [u16; 5] = [1, 30_000, 40_000, 50_000, 65_535];

#[test]
fn all_ports_are_those_without_outgoing_connections() {
    let Some(root) = require_root() else { return };
    for method in ["raw", "pcap"] {
        let bed = Testbed::new(root);
        let set_range = |range: &str| {
            let setting = format!("net.ipv4.ip_local_port_range={range}");
            bed.host.run("sysctl", &["-q", "-w", &setting]);
        };
        let station = Station::with(&bed.host, CONFIGURATION);
        set_range("40000 49999");
        let mut sentry = station.start(&["-m", method]);
        let mut expected = Vec::new();
        for (range, watched) in
            [("", [1, 30_000, 50_000, 65_535]), ("20000 30000", { [1, 40_000, 50_000, 65_535] })]
        {
            if !range.is_empty() {
                set_range(range);
                sentry.signal(Signal::HUP);
                sentry
                    .wait_for("Configuration reloaded; changed: the ports of outgoing connections");
            }
            for (source, target) in both_families(&bed) {
                for port in PROBED {
                    syn(&bed.scanner, source, target, port);
                    datagram(&bed.scanner, source, target, port);
                }
                settle(&bed, target, &mut sentry, None);
                let both = |port| [SYN, UDP].map(|kind| event(source, kind, port, LOGGED));
                expected.extend(watched.into_iter().flat_map(both));
            }
        }
        let ended = sentry.stop();
        let events: Vec<_> = ended.events().into_iter().filter(|line| !is_marker(line)).collect();
        assert_eq!(events, expected, "{method}");
    }
}

#[test]
fn connect_mode_refuses_all_ports() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let ended = Ended::running(station.command(&["--connect"]));
    let file = station.path("portsentry.conf").display().to_string();
    let error = "--connect binds each port, and cannot bind all of them; write `1-1023`";
    assert!(ended.stderr.contains(&format!("{file}:1:14: error: {error}")), "{ended:#?}");
    assert!(ended.stderr.contains(&format!("{file}:2:14: error: {error}")), "{ended:#?}");
    assert_eq!(ended.status.code(), Some(78), "{ended:#?}");
}
